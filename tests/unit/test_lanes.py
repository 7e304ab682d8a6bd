"""What `make test` makes of its lanes' output: sums, progress, and what it shows of a lane that failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lanes import BY_DAY, BY_NIGHT, ROOT, SIDE_BY_SIDE, TIMED_IN, Sums, end_of, progress_of, sums_of

JUNIT = """<testsuites><testsuite>
<testcase name="a"/>
<testcase name="b"><failure message="no">...</failure></testcase>
<testcase name="c"><error message="set-up">...</error></testcase>
<testcase name="d"><skipped message="no engine">...</skipped></testcase>
<testcase name="e"><skipped message="no engine">...</skipped></testcase>
</testsuite></testsuites>"""

LOG = """\
============================= test session starts ==============================
tests/docker/test_stack.py::test_first PASSED                            [ 1/61]
tests/docker/test_stack.py::test_who[a b] FAILED                         [ 2/61]
tests/docker/test_tls.py::test_that_runs_now"""


def test_errors_are_failures_and_equal_skips_are_one_reason(tmp_path: Path) -> None:
    (tmp_path / "lane.xml").write_text(JUNIT)
    found = sums_of(tmp_path / "lane.xml")
    assert found == Sums(passed=1, failed=2, skipped={"no engine": 2})  # type: ignore[arg-type]
    assert str(found + found) == "2 passed, 4 failed, 4 skipped"


def test_a_lane_without_a_result_has_failed(tmp_path: Path) -> None:
    assert sums_of(tmp_path / "none.xml").failed == 1


def test_progress_names_how_many_and_which_one_runs() -> None:
    assert progress_of(LOG) == "2/61 test_tls.py::test_that_runs_now"
    assert progress_of("") == "0"


@pytest.mark.parametrize("title", ["ERRORS", "FAILURES"])
def test_a_failed_lane_is_shown_from_its_first_failure_on(title: str) -> None:
    assert end_of(f"{LOG}\n=== {title} ===\nE  assert 1 == 2\n").splitlines() == [
        f"=== {title} ===",
        "E  assert 1 == 2",
    ]


def test_a_lane_that_broke_off_is_shown_by_its_last_lines() -> None:
    shown = end_of("\n".join(f"line {number}" for number in range(1000))).splitlines()
    assert shown[-1] == "line 999"
    assert len(shown) < 200


def looks_in(places: str, folder: str) -> bool:
    """Whether a lane reads a folder's tests. The lanes of a target have all of theirs, as the test below shows."""
    named = places.split()
    return f"--ignore={folder}" not in named and (folder in named or named != ["tests/conformance"])


def lanes_of(marked: dict[str, bool], folder: str, beside_others: str, alone: str) -> list[str]:
    """Where a test with these markers runs."""
    expressions = {
        lane: f"({markers}) and {beside_others}"
        for lane, (markers, places) in SIDE_BY_SIDE.items()
        if looks_in(places, folder)
    }
    expressions["timed"] = alone
    return [lane for lane, each in expressions.items() if eval(each, {}, dict(marked))]  # noqa: S307


@pytest.mark.parametrize("folder", ["tests/conformance", "tests/client"])
def test_every_test_is_in_one_lane(folder: str) -> None:
    """Whatever its markers, by day or by night; and alone by night if it measures times beside others by day."""
    told = " ".join([*(markers for markers, _ in SIDE_BY_SIDE.values()), *BY_DAY, *BY_NIGHT])
    names = sorted({*re.findall(r"[a-z]+", told)} - {"not", "and", "or"})
    for number in range(2 ** len(names)):
        marked = {name: bool(number >> at & 1) for at, name in enumerate(names)}
        if marked["docker"] and marked["kubernetes"]:
            continue  # a test's nodes run in one place
        by_day, by_night = lanes_of(marked, folder, *BY_DAY), lanes_of(marked, folder, *BY_NIGHT)
        assert len(by_day) == (not marked["nightly"]), (marked, by_day)
        again = marked["timed"] and (marked["docker"] or marked["kubernetes"])
        assert len(by_night) == (marked["nightly"] or again), (marked, by_night)
        assert by_night == ["timed"] or not marked["timed"] or not by_night
        assert by_day != ["timed"] or marked["timed"]


@pytest.mark.parametrize("marker", ["docker", "kubernetes", "engine", "torture", "timed"])
def test_a_lane_that_looks_in_some_folders_misses_no_test(marker: str) -> None:
    tests = ROOT / "tests"
    places = [ROOT / place for place in (TIMED_IN if marker == "timed" else SIDE_BY_SIDE[marker][1]).split()]
    marked = [path for path in tests.rglob("test_*.py") if f"pytest.mark.{marker}" in path.read_text()]
    assert marked
    assert [str(path) for path in marked if path.parent not in places and path.name != Path(__file__).name] == []
