"""Ten minutes of random outages: `make torture SEED= MINUTES=` does the same for longer. And that it sees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.__main__ import closing_line, torture
from tests.torture.plan import NODES, Round, Step
from tests.torture.torture import Torture

SEED = int(os.environ.get("TORTURE_SEED", "15"))
MINUTES = float(os.environ.get("TORTURE_MINUTES", "10"))


@pytest.mark.torture
@pytest.mark.deployment
@pytest.mark.timeout(60 * (MINUTES + 10))
def test_no_outage_takes_a_confirmed_key_or_leaves_no_master(binaries: None, tmp_path: Path) -> None:
    (sums,) = torture([SEED], MINUTES, tmp_path)
    print(closing_line([sums]))
    assert not sums.failure


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
