"""The smoke suite on a healthy deployment of each target, as `make smoke` runs it there.

Its figures are wanted only where it has the machine to itself: beside other tests they would be those tests' doing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoke_tests.catalogue import catalogue
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict
from tests.conformance.targets import DOCKER, KUBERNETES
from tests.docker.stack import OwnStack
from tests.kubernetes.lab import load_images
from tests.waiting import SLACK
from tools.images import build

pytestmark = [pytest.mark.timed, pytest.mark.everywhere, pytest.mark.timeout(600)]


@pytest.fixture
def smoke_image(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Builds the suite's image and puts it on every node of the cluster; its id."""

    def ready() -> str:
        image = build("smoke")
        engine: Any = request.getfixturevalue("engine")
        load_images([str(engine.images.get(image).tags[0])])
        return image

    return ready


@pytest.mark.parametrize("target", [DOCKER, KUBERNETES])
def test_the_suite_is_green_and_its_evidence_is_whole(
    request: pytest.FixtureRequest, target: str, smoke_image: Callable[[], str], tmp_path: Path
) -> None:
    nodes: Any = request.getfixturevalue(target)
    nodes.heal()
    stack: OwnStack = nodes.stack
    if target == "kubernetes_nodes":
        stack.configure(stack.settings | {"smokeImage": smoke_image()})
    stack.smoke(tmp_path)
    (file,) = tmp_path.glob("*/*.json")
    assert file.with_suffix(".xml").is_file()
    evidence = Evidence.model_validate_json(file.read_text())
    assert evidence.verdict is Verdict.PASS or SLACK > 1
    assert {check.check for check in evidence.checks} == {spec.id for spec in catalogue()}
    named = [check.samples.path for check in evidence.checks if check.samples]
    assert named
    assert all((file.parent / path).is_file() for path in named)
