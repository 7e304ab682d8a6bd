"""The rehearsal's stage: its plans are plans, and the crowd's sides are reckoned as the gateway does."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.place import Place
from rehearsal.stage import Stage, bucket, docker, processes
from rollout.plan import read

IMAGES = dict.fromkeys(("image", "gatewayImage", "firewallImage", "smokeImage"), f"sha256:{'0' * 64}")


@pytest.mark.parametrize("stage", [processes(), docker(IMAGES)], ids=["process", "docker"])
@pytest.mark.parametrize("short", [True, False])
def test_its_plans_are_valid(stage: Stage, short: bool, tmp_path: Path) -> None:
    plan = read(stage.plan(Place(tmp_path), short=short))
    shares = [step.percent for _, _, step in plan.steps() if step.kind == "share"]
    assert bool(shares) is stage.shares and plan.rehearses is stage.shares


def test_ten_percent_of_neighbouring_addresses_are_on_the_canary() -> None:
    """The figures that docs/gateway.md has from a real HAProxy, for the same addresses."""
    sources = [f"127.1.{number // 200}.{number % 200 + 1}" for number in range(400)]
    shares = {share: 100 * sum(bucket(each) < share for each in sources) / 400 for share in (1, 5, 10, 50, 100)}
    assert shares == {1: 1.25, 5: 5.25, 10: 10.25, 50: 49.5, 100: 100.0}
