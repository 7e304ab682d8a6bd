"""take_lock in infra/node/lib.sh: of those who find what a dead process left, one at most gets it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.waiting import await_that

LIB = Path(__file__).parents[2] / "infra" / "node" / "lib.sh"
CONTENDERS = 8
CONTENDER = """\
. "$1"
lock=$2 held=$3 tries=$4 late=$5 where=$6
linger() { # linger WHERE: there, for each of them another while
    if [ "$1" = "$where" ]; then sleep "$late"; fi
}
kill() {
    linger "before it looks whether the holder lives"
    command kill "$@"
}
rm() {
    if [ "$*" = "-f $lock" ]; then linger "before it removes the lock"; fi
    command rm "$@"
}
while [ "$tries" -gt 0 ]; do
    tries=$((tries - 1))
    if take_lock "$lock"; then
        : >"$held/$$"
        for _ in $(seq 200); do
            if [ -e "$held.over" ]; then break; fi
            sleep 0.05
        done
        exit 0
    fi
    sleep 0.05
done
exit 1
"""


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A lock that a process took which has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = tmp_path / "forget.lock"
    lock.symlink_to(str(ended.pid))
    return lock


def contend(lock: Path, held: Path, tries: int, late_s: float, where: str = "") -> subprocess.Popen[bytes]:
    """Who gets it leaves a file named by its pid in `held`, and lives until there is a file `held`.over."""
    held.mkdir(exist_ok=True)
    arguments = [str(LIB), str(lock), str(held), str(tries), f"{late_s:.2f}", where]
    return subprocess.Popen(["sh", "-euc", CONTENDER, "contender", *arguments])


def holders(held: Path) -> set[int]:
    return {int(path.name) for path in held.iterdir()}


@pytest.mark.parametrize("where", ["before it looks whether the holder lives", "before it removes the lock"])
def test_of_many_that_find_a_dead_ones_lock_one_at_most_gets_it(stale: Path, tmp_path: Path, where: str) -> None:
    held, over = tmp_path / "held", tmp_path / "held.over"
    contenders = [contend(stale, held, 3, 0.03 * number, where) for number in range(CONTENDERS)]
    await_that(lambda: all(each.poll() is not None or each.pid in holders(held) for each in contenders), 20, "all")
    over.touch()
    codes = [each.wait() for each in contenders]
    assert len(holders(held)) <= 1, f"{len(holders(held))} held it at once"
    assert codes.count(0) == len(holders(held))


def test_a_dead_ones_lock_holds_up_nobody_and_a_living_ones_everybody(stale: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    first = contend(stale, held, 1, 0)
    await_that(lambda: holders(held) or first.poll() is not None, 10, "its end or the lock")
    assert holders(held) == {first.pid}, "it did not get what a dead one left"
    assert contend(stale, held, 1, 0).wait() == 1
    assert stale.readlink() == Path(str(first.pid))
    (tmp_path / "held.over").touch()
    first.wait()
    assert holders(held) == {first.pid}
    assert [path.name for path in tmp_path.glob("forget.lock*")] == ["forget.lock"], "nothing of its own is left"
