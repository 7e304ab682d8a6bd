"""infra/node/reach.sh: how two data sets compare, and what files still hold of what was noted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.targets.base import SCRIPTS

ID = "8f80fa0014d68c61be0a7ad3b33c5d17fbeeffde"


def word(
    epoch: object, generation: int, offset: int, state: str = "whole", begun_from: str = "x.0.0", start: int = 0
) -> str:
    return f"{epoch}.{generation}.{offset}.{state}.{begun_from}.{start}.{ID}"


def as_of(role: str, offset: int) -> str:
    """The word of a node that was started."""
    return word(1, 0, offset).replace(ID, role)


NONE = "0.0.0.none.x.0.0.0.-"
UNKNOWN = "x.0.0.whole.x.0.0.0.-"


def sh(line: str, data: Path = Path("/nonexistent")) -> str:
    script = f"DATA_DIR='{data}' ME=here:1; . '{SCRIPTS / 'reach.sh'}'; {line}"
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("own", "other", "keys", "expected"),
    [
        (word(1, 0, 500), word(1, 0, 900), "", "same"),  # within what a note may lag behind
        (word(1, 0, 500), word(1, 0, 9000), "", "more"),
        (word(1, 0, 9000), word(1, 0, 500), "", "less"),
        (word(2, 0, 10), word(1, 7, 10**12), "", "less"),  # a failover later
        (word(1, 1, 10), word(1, 2, 0), "", "more"),  # the master was restarted since
        (word(10, 0, 0), word(9, 0, 0), "", "less"),  # numbers, not text
        (word(1, 0, 500, "cut"), word(1, 0, 500), "", "more"),
        (word(1, 0, 500), word(1, 0, 900, "cut"), "", "less"),
        (word(1, 0, 90000, "cut"), word(0, 0, 500), "", "less"),  # a few bytes of today against all of last week
        (NONE, word(1, 0, 5, "cut"), "", "more"),
        (NONE, UNKNOWN, "", "more"),
        (NONE, NONE, "", "same"),
        (word(1, 0, 5), NONE, "", "less"),
        (NONE.replace("none", "broken"), word(1, 0, 5), "", "more"),
        (UNKNOWN, word(9, 9, 10**9), "", "same"),
        (word(9, 9, 10**9), UNKNOWN, "", "same"),
        (word(9, 9, 10**9, "cut"), UNKNOWN, "", "more"),
        (word(1, 0, 500), word(1, 0, 900), "7/9 8/9", "more"),
        (word(1, 0, 900), word(1, 0, 500), "7/9 8/9", "more"),
        (word(1, 0, 900), word(1, 0, 500), "7/9 8/8", "more"),  # keys that expire count less
        (word(1, 0, 900), word(1, 0, 500), "7/8 7/9", "more"),
        (word(1, 0, 900), word(1, 0, 500), "7/9 7/9", "less"),
        (word(1, 0, 500), word(1, 0, 500), "7/9 7/9", "same"),
        (as_of("newer", 500), as_of("master", 9000), "7/7 9/9", "less"),  # the master before it: nobody confirmed that
        (as_of("master", 9000), as_of("newer", 500), "9/9 7/7", "more"),
        (as_of("newer", 500), as_of("slave", 500), "7/7 8/8", "more"),  # it may have confirmed what the newer one wrote
        (as_of("newer", 500), as_of("slave", 9000), "", "more"),
        (as_of("slave", 500), as_of("newer", 500), "8/8 7/7", "less"),
        (as_of("newer", 500), as_of("newer", 500), "7/7 8/8", "more"),
    ],
)
def test_two_data_sets_are_compared(own: str, other: str, keys: str, expected: str) -> None:
    assert sh(f"compare {own} {other} 1024 {keys}") == expected


@pytest.mark.parametrize(
    ("own", "master", "expected"),
    [
        (word(1, 0, 9000), word(1, 1, 0, begun_from="1.0.5000"), "yes"),  # it began with less than is here
        (word(1, 0, 5500), word(1, 1, 0, begun_from="1.0.5000"), "no"),
        (word(1, 0, 9000), word(2, 0, 9500, begun_from="1.0.5000"), "yes"),  # replaced while it had written more
        (word(1, 0, 9000), word(1, 0, 20000), "no"),
        (word(1, 0, 9000), word(3, 0, 0, begun_from="2.0.7"), "no"),
        (word(4, 0, 0), word(3, 0, 10**9), "yes"),
        (word(4, 0, 0, "none"), word(3, 0, 0), "no"),
        (UNKNOWN, word(3, 0, 0), "no"),
        (word(3, 0, 0), UNKNOWN, "no"),
    ],
)
def test_a_sync_would_replace_what_the_master_never_had(own: str, master: str, expected: str) -> None:
    assert sh(f"if exceeds {own} {master}; then echo yes; else echo no; fi") == expected


class Files:
    """An append-only folder as a server leaves it: a base of 100 bytes and 1000 bytes since."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.folder = data / "appendonlydir"
        self.folder.mkdir()
        self.write(1)

    def write(self, sequence: int, base: int = 100, incr: int = 1000, mark: str = "b") -> None:
        for old in self.folder.iterdir():
            old.unlink()
        self.base, self.incr = (self.folder / f"appendonly.aof.{sequence}.{kind}" for kind in ("base.rdb", "incr.aof"))
        self.manifest = self.folder / "appendonly.aof.manifest"
        self.base.write_text(mark * base)
        self.incr.write_text("i" * incr)
        lines = (f"file {self.base.name} seq {sequence} type b", f"file {self.incr.name} seq {sequence} type i")
        self.manifest.write_text("\n".join(lines) + "\n")

    def note(self, reach: str, seen: int = 1100) -> None:
        sh(f'read_manifest; write_note {reach} 1100 {seen} 0 "$(identity)" "$top"', self.data)

    def reach(self) -> str:
        return sh("disk_reach; echo $reach", self.data).rpartition(f".{ID}")[0]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.note(word(3, 1, 50000, begun_from="3.0.800000", start=49800))
    return made


def test_as_noted(files: Files) -> None:
    assert files.reach() == "3.1.50000.whole.3.0.800000.49800"


def test_what_was_written_since_counts(files: Files) -> None:
    files.incr.write_text("i" * 1500)
    assert files.reach() == "3.1.50500.whole.3.0.800000.49800"


def test_a_cut_tail_is_seen_and_measured(files: Files) -> None:
    files.incr.write_text("i" * 991)
    assert files.reach() == "3.1.49991.cut.3.0.800000.49800"


def test_a_cut_of_what_came_after_the_note_is_seen_too(files: Files) -> None:
    files.note(word(3, 1, 50000), seen=1700)
    files.incr.write_text("i" * 1500)
    assert files.reach() == "3.1.50500.cut.x.0.0.0"


def test_a_cut_that_goes_back_before_the_time_of_the_note(files: Files) -> None:
    files.incr.write_text("")  # 1000 bytes less: 200 of this time, 800 of the one before
    assert files.reach() == "3.0.799200.cut.x.0.800000.49800"


@pytest.mark.parametrize(
    "damage", ["base.unlink()", "incr.unlink()", "manifest.write_text('garbage')", "base.write_text('b')"]
)
def test_what_no_server_loads(files: Files, damage: str) -> None:
    exec(f"files.{damage}")  # noqa: S102
    assert sh("disk_reach; state_of $reach", files.data) == "broken"


def test_the_dump_alone_is_nothing(files: Files) -> None:
    (files.data / "dump.rdb").write_text("full")
    files.manifest.unlink()
    assert sh("disk_reach; echo $reach", files.data) == NONE


def test_files_written_anew_since_the_note_hold_at_least_what_was_noted(files: Files) -> None:
    files.write(2, base=700, incr=3)
    assert files.reach() == "3.1.50000.whole.3.0.800000.49800"


@pytest.mark.parametrize("sequence", [1, 0])
def test_files_of_another_time_are_not_those_that_were_noted(files: Files, sequence: int) -> None:
    files.write(sequence, base=5000, incr=9000, mark="c")
    assert files.reach() == "0.0.0.cut.3.0.800000.49800"


def test_without_a_note_nothing_is_known(files: Files) -> None:
    (files.data / "reach").unlink()
    assert sh("disk_reach; echo $reach", files.data) == UNKNOWN


@pytest.mark.parametrize("end", ["3.1.5000", ""])
def test_a_note_that_was_cut_is_none(files: Files, end: str) -> None:
    (files.data / "reach").write_text(end)
    assert sh("disk_reach; echo $reach", files.data) == UNKNOWN


@pytest.mark.parametrize(("sequence", "expected"), [(1, NONE), (2, UNKNOWN)])
def test_a_node_born_empty_has_no_data_until_its_first_sync_is_on_disk(
    files: Files, sequence: int, expected: str
) -> None:
    sh(f"write_note {NONE} 0 0 0 - 0", files.data)
    files.write(sequence)
    assert sh("disk_reach; echo $reach", files.data) == expected


@pytest.mark.parametrize("name", ["my space", "plain"])
def test_paths_with_spaces(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    files = Files(tmp_path / name)
    files.note(word(1, 1, 7))
    assert files.reach() == "1.1.7.whole.x.0.0.0"
