"""The torture sees what it is there to see; the torture itself is `make torture SEED= MINUTES=`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.plan import NODES, Round, Step
from tests.torture.torture import Torture

CUT = Round(
    number=1,
    kind="all at once",
    steps=(
        Step("pause", seconds=3),
        Step("kill", NODES),
        Step("damage", ("master",), "incr-emptied"),
        Step("start", NODES),
    ),
    away=(),
    last=(),
)


@pytest.mark.deployment
def test_a_guard_that_does_not_compare_is_seen(binaries: None, tmp_path: Path) -> None:
    """Whoever finds no one fuller than himself serves what a cut has left."""
    torture = Torture(1, tmp_path, print)
    for properties in torture.deployment.properties.values():
        scripts = properties["scripts"]
        assert "\ncompare() {" in scripts["reach.sh"]
        properties["scripts"] = scripts | {"reach.sh": scripts["reach.sh"] + "compare() { echo same; }\n"}
    sums = torture.do([CUT], minutes=1)
    assert "lacks" in sums.failure.splitlines()[0]
