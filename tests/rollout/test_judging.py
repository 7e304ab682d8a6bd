"""What a soak rests on, judged by triggers and gate; and the failover, by its own checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prober.samples import Sample
from rollout.engine import Code, Engine
from rollout.evidence import RawFile
from rollout.judging import Seen, checks_of, judge, judge_drill
from rollout.plan import read
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import PLAN, UNATTENDED, FolderStacks, drill, sample, steady

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


def slower(factor: float, count: int = 3000) -> list[Sample]:
    return [replace(each, latency_ms=(each.latency_ms or 0.0) * factor) for each in steady(count)]


def test_production_is_held_against_itself_under_the_release_before() -> None:
    before = steady(3000, release="r0")
    outcome = judge(replace(GOOD, before=before, since=slower(1.3)))
    assert outcome.verdict is Verdict.FAIL
    assert "trigger.latency-median-read" in outcome.reason and "trigger.latency-median-write" in outcome.reason
    assert judge(replace(GOOD, before=before, since=slower(1.19))).verdict is Verdict.PASS
    # By itself no error rate that is too high: five points more than before, of too few to know the rate.
    more = judge(replace(GOOD, before=before, since=[sample(n, ok=n % 10 != 0) for n in range(1500)]))
    assert more.verdict is Verdict.FAIL and "trigger.more-errors" in more.reason
    fewer = judge(replace(GOOD, before=before, since=[sample(n, n / 5) for n in range(3000)]))
    assert fewer.verdict is Verdict.FAIL and "trigger.throughput" in fewer.reason
    assert judge(replace(GOOD, before=before, since=[sample(n, n / 20) for n in range(3000)])).verdict is Verdict.PASS


def test_what_could_be_chance_does_not_hold_production_back() -> None:
    few = judge(replace(GOOD, before=steady(300, release="r0"), since=slower(1.3, 300)))
    assert few.verdict is Verdict.PASS
    assert few.figures["trigger.latency-median-read, % worse"] == pytest.approx(30)


def judged_in_production(home: Path, before: list[Sample], after: list[Sample]) -> tuple[Engine, Code]:
    """A rollout up to its look at production's soak; `before` is there when the `up` begins."""
    plan = PLAN.replace("approval, ", "", 1)
    stacks = FolderStacks(home / "stacks", plan=plan)
    engine = Engine(FolderStore(home / "journal"), stacks, lambda _line: None)
    engine.start(read(plan), "r1")
    assert engine.advance().code is Code.WAITING  # the canary is done
    stacks.feeds["prod"] = list(before)
    engine.approve("ann", "a test")
    assert engine.advance().code is Code.SOAKING
    stacks.feeds["prod"] += after
    return engine, engine.advance().code


def test_the_engine_compares_with_before_the_up_only_and_keeps_what_it_compared(tmp_path: Path) -> None:
    ran_before = [sample(n, release="r0", latency_ms=1.0) for n in range(3000)]
    # After the clock of the `up`: its own doing, whatever it names.
    during = [
        sample(3000 + n, release="r0", latency_ms=9.0, wall=datetime(2100, 1, 1, tzinfo=UTC)) for n in range(3000)
    ]
    after = [sample(6000 + n, latency_ms=2.0) for n in range(3000)]
    engine, code = judged_in_production(tmp_path, [*ran_before, *during], after)
    assert code is Code.FAILED
    assert "1.000 ms -> 2.000 ms" in engine.current().end_reason, engine.current().end_reason
    kept = [piece["name"] for step, piece in engine.current().evidence if step.startswith("prod/")]
    assert kept.count("before.jsonl") == 1


def test_what_else_ran_on_the_machine_long_before_the_up_is_no_measure(tmp_path: Path) -> None:
    alone = [sample(n, release="r0", latency_ms=1.0) for n in range(20_000)]
    with_others = [sample(20_000 + n, release="r0", latency_ms=1.9) for n in range(3000)]
    after = [sample(23_000 + n, latency_ms=2.0) for n in range(3000)]
    engine, code = judged_in_production(tmp_path, [*alone, *with_others], after)
    assert code is Code.DONE, engine.current().end_reason


def test_the_engine_counts_the_failovers_of_the_journal_by_their_epoch(tmp_path: Path) -> None:
    plan = UNATTENDED.replace("{soak: 30s}]}", "failover, {soak: 30s}]}")
    stacks = FolderStacks(tmp_path / "stacks", plan=plan)
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
