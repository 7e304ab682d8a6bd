"""One controlled failover (the fenced handover) under four writers: its cost, and whether all is as declared after."""

from __future__ import annotations

import pytest

from infra.contract import OperatorContract
from smoke_tests.catalogue import Question, check
from smoke_tests.drill import Drill, fail_over
from smoke_tests.evidence import Threshold, at_most, exactly
from smoke_tests.result import Result, SampleFolder

GOAL_MS = 300.0
BACK_S = 10.0
AGREED_S = 15.0


@pytest.fixture(scope="module")
def drill(contract: OperatorContract, prefix: str, samples: SampleFolder) -> Drill:
    return fail_over(contract, prefix, samples)


def longest_gap(question: Question) -> Threshold:
    return at_most(question.max_gap_ms, "ms")


@check("failover.gap", "the longest time in which no write was acknowledged", longest_gap, sentinel_only=True)
def test_gap(drill: Drill, result: Result) -> None:
    result.samples = drill.samples
    gap = drill.report.longest_gap_ms
    met = "met" if gap <= GOAL_MS else "missed"
    worst = drill.report.longest_writer_gap_ms
    result.measure(
        gap,
        f"goal {GOAL_MS:.0f} ms {met}; worst of any one writer {worst:.0f} ms; writes paused for "
        f"{drill.handover.fenced_ms} ms; master {drill.handover.old} -> {drill.handover.new}",
    )


@check("failover.no-lost-acks", "every acknowledged write is present", exactly(0, "lost"), sentinel_only=True)
def test_no_lost_acks(drill: Drill, result: Result) -> None:
    result.samples = drill.samples
    report = drill.report
    assert report.acknowledged > 0, "no write was acknowledged at all"
    lost = f"; the first: {report.lost[0]}" if report.lost else ""
    result.measure(len(report.lost), f"{report.acknowledged} acknowledged by {report.writers} writers{lost}")


@check("failover.epoch", "the config-epoch moved by exactly one", exactly(1, "epochs"), sentinel_only=True)
def test_epoch(drill: Drill, result: Result) -> None:
    assert len(drill.epochs) == 1, f"the Sentinels are at epochs {sorted(drill.epochs)}, before at {drill.epoch_before}"
    (now,) = drill.epochs
    result.measure(now - drill.epoch_before, f"{drill.epoch_before} -> {now}")


@check("failover.old-master", "the old master is a replica in sync", at_most(BACK_S, "s"), sentinel_only=True)
def test_old_master(drill: Drill, result: Result) -> None:
    assert drill.old_master_back_s is not None, f"{drill.old_master} is not: {'; '.join(drill.findings)}"
    result.measure(drill.old_master_back_s, drill.old_master)


@check(
    "failover.agreement", "every node and Sentinel agrees on the new master", at_most(AGREED_S, "s"), sentinel_only=True
)
def test_agreement(drill: Drill, result: Result) -> None:
    assert drill.agreed_s is not None, "; ".join(drill.findings)
    result.measure(drill.agreed_s)
