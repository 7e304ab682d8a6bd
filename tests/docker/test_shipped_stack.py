"""Pulumi.staging.yaml as it is shipped, with nothing but image names and addresses of the test's own laid over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docker import images
from tests.docker.stack import DockerStack, shipped
from tests.engine.stack import findings_of

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

NODES = {"data-0", "data-1", "data-2", "sentinel-0", "sentinel-1", "sentinel-2"}


def test_the_shipped_staging_stack_takes_a_new_image_as_previewed_and_is_protected(
    secured: DockerStack, engine: Any
) -> None:
    stack = secured
    assert (stack.settings["protect"], stack.settings["tls"]) == ("true", "true")
    before = stack.ids()
    stack.set(image=images.next_redis_image(engine))
    preview = stack.previewed(stack.make("preview"))
    output, report = stack.up_under_load()
    assert report.lost == ()
    assert stack.operations(output) == preview
    after = stack.ids()
    assert {name for name, id_ in after.items() if before[name] != id_} == {
        f"redis-{stack.name}-{each}" for each in NODES
    }
    assert findings_of(stack.contract()) == ()
    assert "protect: false" in stack.make("down", f"CONFIRM={stack.name}", fails=True)
    assert stack.ids() == after


@pytest.mark.nightly
def test_the_shipped_staging_stack_goes_only_when_it_is_told_to(
    tmp_path: Path, engine: Any, plugin: None, helper_images: dict[str, str], binaries: None
) -> None:
    made = DockerStack(tmp_path, engine, image=images.redis_image(engine), **helper_images)
    made.configure(shipped("staging") | made.settings)
    with made.brought_up() as stack:
        before = stack.ids()
        assert "protect: false" in stack.make("down", f"CONFIRM={stack.name}", fails=True)
        assert stack.ids() == before
        stack.set(protect="false")
        stack.make("up")
        assert stack.ids() == before
        stack.make("down", f"CONFIRM={stack.name}")
        assert stack.ids() == {}
        # What somebody brings back is seen, though no state knows it.
        stray = engine.volumes.create(f"redis-{stack.name}-data-1-data")
        assert f"docker volume rm {stray.name}" in stack.make("down", f"CONFIRM={stack.name}", fails=True)
        stray.remove()
        assert "nothing to do" in stack.make("down", f"CONFIRM={stack.name}")
