"""What the report says of plausible raw files, and that it is never green without evidence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from rollout.report.build import build
from rollout.report.catalogue import LINES, RISKS, SECTIONS, WEIGHTS
from rollout.report.model import Report
from rollout.report.write import write
from smoke_tests.verdict import Verdict
from tests.rollout.report_sample import CHECKS, Rollout, good_rollout, junit, lines, samples, smoke

SMOKE = "prod/smoke/20260302T080000.000000Z.json"
CANARY = "canary/samples/canary.jsonl"


@pytest.fixture
def rollout(tmp_path: Path) -> Rollout:
    return good_rollout(tmp_path)


def report(rollout: Rollout) -> Report:
    return build(rollout.manifest, rollout.folder)


def test_everything_measured_and_good_passes(rollout: Rollout) -> None:
    made = report(rollout)
    assert (made.verdict, made.reasons) == (Verdict.PASS, ())
    assert all(claim.has_evidence for claim in made.claims if claim.verdict is Verdict.PASS)


def test_what_nobody_measured_says_so_and_scores_nothing(rollout: Rollout) -> None:
    made = report(rollout)
    assert made.claim("docs.training").reason == "not measured"
    documentation = next(area for area in made.areas if area.area == "documentation")
    assert (documentation.proven, documentation.lines, documentation.points) == (2, 4, 5)
    assert made.score < 100


def nothing(rollout: Rollout) -> Rollout:
    return Rollout(rollout.folder)


def no_samples(rollout: Rollout) -> Rollout:
    rollout.put(CANARY, "canary", "", phase="canary")
    return rollout


def only_errors(rollout: Rollout) -> Rollout:
    bad = samples(rollout.manifest.release, failed=lambda _: True)
    rollout.put(CANARY, "canary", lines(bad), phase="canary")
    return rollout


def another_releases_samples(rollout: Rollout) -> Rollout:
    rollout.put(CANARY, "canary", lines(samples("r0")), phase="canary")
    return rollout


def no_checks(rollout: Rollout) -> Rollout:
    rollout.put(SMOKE, "smoke", smoke([]).model_dump_json())
    return rollout


def skipped_checks(rollout: Rollout) -> Rollout:
    rollout.put(SMOKE, "smoke", smoke(CHECKS, Verdict.INCONCLUSIVE).model_dump_json())
    return rollout


def no_tests(rollout: Rollout) -> Rollout:
    rollout.put("tests/unit.xml", "junit", junit(0), name="unit")
    return rollout


def skipped_tests(rollout: Rollout) -> Rollout:
    rollout.put("tests/unit.xml", "junit", junit(140, skipped=140), name="unit")
    return rollout


def failed_test(rollout: Rollout) -> Rollout:
    rollout.put("tests/unit.xml", "junit", junit(40, failed=1), name="unit")
    return rollout


def missing_file(rollout: Rollout) -> Rollout:
    (rollout.folder / CANARY).unlink()
    return rollout


def edited_file(rollout: Rollout) -> Rollout:
    path = rollout.folder / SMOKE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return rollout


def no_teeth(rollout: Rollout) -> Rollout:
    rollout.drop("teeth.json")
    return rollout


def not_json(rollout: Rollout) -> Rollout:
    rollout.put("phases.jsonl", "phases", "{\n")
    return rollout


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (nothing, Verdict.INCONCLUSIVE),
        (no_samples, Verdict.INCONCLUSIVE),
        (only_errors, Verdict.FAIL),
        (another_releases_samples, Verdict.FAIL),
        (no_checks, Verdict.INCONCLUSIVE),
        (skipped_checks, Verdict.INCONCLUSIVE),
        (no_tests, Verdict.INCONCLUSIVE),
        (skipped_tests, Verdict.INCONCLUSIVE),
        (failed_test, Verdict.FAIL),
        (missing_file, Verdict.INCONCLUSIVE),
        (edited_file, Verdict.FAIL),
        (no_teeth, Verdict.INCONCLUSIVE),
        (not_json, Verdict.ERROR),
    ],
)
def test_green_without_evidence_is_impossible(
    spoil: Callable[[Rollout], Rollout], verdict: Verdict, rollout: Rollout
) -> None:
    made = report(spoil(rollout))
    assert made.verdict is verdict
    assert made.reasons


def test_a_planned_failover_is_no_unrest_and_an_unplanned_one_is(rollout: Rollout) -> None:
    taken = samples(rollout.manifest.release, seed=2)
    moved = [replace(s, epoch=5, master="b:1") if s.sequence > 1200 else s for s in taken]
    rollout.put(CANARY, "canary", lines(moved), phase="canary")
    assert report(rollout).claim("trigger.sentinels").verdict is Verdict.FAIL


def test_a_change_that_could_be_chance_does_not_become_a_failure(rollout: Rollout) -> None:
    """6 failures of 100 against none: 6 points more, and p = 0.014."""
    rollout.put("prod/samples/baseline.jsonl", "baseline", lines(samples(rollout.manifest.baseline_release, 100)))
    few = samples(rollout.manifest.release, 100, failed=lambda number: number < 6)
    rollout.put(CANARY, "canary", lines(few), phase="canary")
    found = report(rollout).claim("trigger.more-errors")
    assert found.measured is not None
    assert (found.measured.value, found.verdict) == (6, Verdict.INCONCLUSIVE)


def test_the_catalogue_hangs_together() -> None:
    ids = [line.id for line in LINES]
    assert len(set(ids)) == len(ids)
    assert {line.section for line in LINES} == set(SECTIONS)
    assert {line.area for line in LINES} == set(WEIGHTS)
    assert sum(WEIGHTS.values()) == 100
    assert {id for _, _, shown in RISKS for id in shown} <= set(ids)


def test_every_smoke_check_that_a_line_asks_for_exists() -> None:
    from smoke_tests.catalogue import catalogue

    assert set(CHECKS) <= {spec.id for spec in catalogue()}


def test_the_files_for_people(rollout: Rollout) -> None:
    made = write(rollout.manifest, rollout.folder)
    page = (rollout.folder / "report.html").read_text()
    text = (rollout.folder / "report.md").read_text()
    for each in (unescape(page), unescape(text)):
        assert "went red on: a replica hangs" in each
        assert all(claim.statement in each for claim in made.claims)
        assert all(raw.sha256 in each for claim in made.claims for raw in claim.raw)
    assert page.count("<svg") == 4
    # One file: nothing is fetched, nothing runs.
    assert not re.search(r"<script|<link|src=|@import|url\((?!#)", page)


def test_texts_from_outside_are_not_html(rollout: Rollout) -> None:
    rollout.put("facts.json", "facts", '{"image": "<script>alert(1)</script> | x"}')
    write(rollout.manifest, rollout.folder)
    assert "<script>" not in (rollout.folder / "report.html").read_text()
    assert "<script>" not in (rollout.folder / "report.md").read_text()
