"""Evidence that contradicts itself cannot be made, and JUnit says the same as the JSON."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from smoke_tests.evidence import Check, Evidence, Measured, NotApplicable, Threshold, at_most, exactly, junit, save
from smoke_tests.verdict import Verdict

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def check(verdict: Verdict = Verdict.PASS, figure: float | None = 2, reason: str = "", id: str = "quorum.x") -> Check:
    return Check(
        check=id,
        claim="two of them",
        threshold=exactly(2, "Sentinels"),
        measured=None if figure is None else Measured(value=figure, unit="Sentinels"),
        verdict=verdict,
        reason=reason,
        started=STARTED,
        seconds=0.25,
        command="python -m smoke_tests",
        samples=None,
    )


def evidence(*checks: Check, verdict: Verdict = Verdict.PASS, **changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "stack": "dev",
        "mode": "sentinel",
        "server": "valkey 8.1.8",
        "started": STARTED,
        "seconds": 1.5,
        "command": "python -m smoke_tests",
        "verdict": verdict,
        "checks": checks,
        "not_applicable": (),
        "not_run": (),
        "interrupted": False,
        "trouble": "",
    }
    return Evidence(**(fields | changes))


@pytest.mark.parametrize(
    ("threshold", "figure", "holds"),
    [
        (at_most(300, "ms"), 300, True),
        (at_most(300, "ms"), 300.001, False),
        (exactly(0, "lost"), 0, True),
        (exactly(0, "lost"), 1, False),
        (exactly(3, "nodes"), 2, False),
        (at_most(300, "ms"), math.nan, False),
    ],
)
def test_a_threshold_holds_or_not(threshold: Threshold, figure: float, holds: bool) -> None:
    assert threshold.holds(figure) is holds


@pytest.mark.parametrize("figure", [None, 1])
def test_a_pass_without_a_figure_that_meets_the_threshold_is_refused(figure: float | None) -> None:
    with pytest.raises(ValidationError, match="a pass needs a figure"):
        check(Verdict.PASS, figure)


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_a_figure_is_a_number(figure: float) -> None:
    with pytest.raises(ValidationError):
        Measured(value=figure, unit="ms")


@pytest.mark.parametrize(
    "changes",
    [
        {"checks": (check(Verdict.FAIL, 1),)},
        {"checks": ()},
        {"checks": (), "not_applicable": (NotApplicable(check="a.b", claim="c", reason="r"),)},
        {"interrupted": True},
        {"trouble": "pytest broke"},
    ],
)
def test_a_run_better_than_its_checks_is_refused(changes: dict[str, Any]) -> None:
    assert evidence(check()).verdict is Verdict.PASS
    with pytest.raises(ValidationError, match="the verdict is pass"):
        evidence(**({"checks": (check(),)} | changes))


def test_what_is_saved_reads_back(tmp_path: Path) -> None:
    wanted = evidence(check(), check(Verdict.FAIL, 1, "one is gone"), verdict=Verdict.FAIL)
    path = tmp_path / "e.json"
    save(wanted, path)
    assert Evidence.model_validate_json(path.read_text()) == wanted
    assert path.with_suffix(".xml").read_text() == junit(wanted)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["e.json", "e.xml"]


def test_junit_counts_what_the_evidence_says() -> None:
    suite = ElementTree.fromstring(  # noqa: S314 - our own text
        junit(
            evidence(
                check(),
                check(Verdict.FAIL, 1, 'one <is> & "gone" \x00\x1b'),
                check(Verdict.INCONCLUSIVE, None, "nothing"),
                check(Verdict.ERROR, None, "a defect"),
                verdict=Verdict.ERROR,
                not_applicable=(NotApplicable(check="failover.gap", claim="c", reason="standalone"),),
            )
        )
    )
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "2", "skipped": "1"}
    failures = [case.find("failure") for case in suite]
    assert [each.get("message") for each in failures if each is not None] == ['one <is> & "gone" ??']


@pytest.mark.parametrize("changes", [{"interrupted": True}, {"trouble": "pytest broke"}, {"checks": ()}])
def test_junit_shows_that_a_run_was_not_whole(changes: dict[str, Any]) -> None:
    verdict = Verdict.ERROR if "trouble" in changes else Verdict.INCONCLUSIVE
    partial = evidence(verdict=verdict, **({"checks": (check(),)} | changes))
    suite = ElementTree.fromstring(junit(partial))  # noqa: S314
    assert suite.get("errors") == "1"
    assert suite.findall("testcase")[-1].find("error") is not None
