"""What a soak rests on, judged by triggers and gate; and the failover, by its own checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.engine import Code, Engine
from rollout.evidence import RawFile
from rollout.judging import Seen, checks_of, judge, judge_drill
from rollout.plan import read
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import UNATTENDED, FolderStacks, drill, sample, steady

pytestmark = pytest.mark.usefixtures("no_power_cut")

GOOD = Seen(
    steady(),
    quorum=[True, True],
    raw=(RawFile(path="evidence/a", sha256="0" * 64),),
    when=datetime(2026, 1, 1, tzinfo=UTC),
)
MOVED = [
    *steady(1500),
    *(sample(1500 + number, epoch=2, master="10.0.0.2:6379") for number in range(1500)),
]


def test_all_quiet_on_evidence() -> None:
    assert judge(GOOD).verdict is Verdict.PASS


@pytest.mark.parametrize("absent", [{"raw": ()}, {"when": None}, {"quorum": ()}, {"samples": []}, {"drill": []}])
def test_green_needs_evidence(absent: dict[str, object]) -> None:
    assert judge(replace(GOOD, **absent)).verdict is Verdict.INCONCLUSIVE  # type: ignore[arg-type]


def test_a_lost_quorum_fires() -> None:
    outcome = judge(replace(GOOD, quorum=[True, False]))
    assert outcome.verdict is Verdict.FAIL and "trigger.quorum" in outcome.reason


def test_a_failover_that_the_journal_has_is_no_unrest() -> None:
    assert judge(replace(GOOD, samples=MOVED)).verdict is Verdict.FAIL
    assert judge(replace(GOOD, samples=MOVED, planned_failovers=1)).verdict is Verdict.PASS


def test_a_drill_that_lost_writes_fires() -> None:
    outcome = judge(replace(GOOD, drill=checks_of({"drill.json": drill(lost=3)})))
    assert outcome.verdict is Verdict.FAIL and "trigger.failover" in outcome.reason
    assert judge_drill(Outcome(Verdict.PASS, "", files={"drill.json": drill(lost=3)})).verdict is Verdict.FAIL
    assert judge_drill(Outcome(Verdict.PASS, "", files={"drill.json": b"{}"})).verdict is Verdict.INCONCLUSIVE


def test_the_engine_counts_the_failovers_of_the_journal_by_their_epoch(tmp_path: Path) -> None:
    plan = UNATTENDED.replace("{soak: 30s}]}", "failover, {soak: 30s}]}")
    stacks = FolderStacks(tmp_path / "stacks")
    # The first sample of the soak still names the epoch before the failover.
    stacks.feeds["staging"] = [sample(0)]
    engine = Engine(FolderStore(tmp_path / "journal"), stacks, lambda _line: None)
    engine.start(read(plan), "r1")
    assert engine.advance().code is Code.SOAKING
    stacks.feeds["staging"] = [sample(0), *(sample(1 + n) for n in range(5))]
    stacks.feeds["staging"] += [sample(6 + n, epoch=2, master="10.0.0.2:6379") for n in range(1500)]
    engine.advance()
    run = engine.current()
    assert run.planned_failovers("staging", 1) == 1 and run.planned_failovers("staging", 2) == 0
    assert "staging" in run.phases_done, run.end_reason


def test_the_engine_asks_for_the_quorum_while_soaking(tmp_path: Path) -> None:
    stacks = FolderStacks(tmp_path / "stacks")
    stacks.has_quorum = False
    engine = Engine(FolderStore(tmp_path / "journal"), stacks, lambda _line: None)
    engine.start(read(UNATTENDED), "r1")
    assert engine.advance().code is Code.FAILED
    assert "trigger.quorum" in engine.current().end_reason
