"""PURE  The rollback triggers: samples of baseline and canary -> what was measured, held against its threshold.

A trigger has fired when its finding is a fail. A change that is too large but could be chance, or that rests on too
few samples, is inconclusive: it rolls nothing back and promotes nothing. Percentages are rounded to six digits, so
that 20 % as computed from binary fractions is 20 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prober.samples import Sample
from rollout.evidence import held_against
from rollout.statistics import above_rate, larger, more_often, quantile, smaller
from smoke_tests.evidence import Check, Measured, Threshold, at_most, exactly
from smoke_tests.verdict import Verdict, worst

WORSE_PERCENT = 20.0
MORE_ERRORS_POINTS = 5.0
ERROR_RATE_PERCENT = 0.1
# The chance of a false alarm that we accept, for each comparison. There are six, and every `advance` of a soak makes
# them again.
ALPHA = 0.001
# A p99 of fewer has less than ten values above it, and one error in fewer is already more than 0.1 %.
MIN_MEDIAN, MIN_P99, MIN_ERRORS, MIN_ERROR_RATE = 100, 1000, 100, 1000
MIN_WINDOWS, WINDOW_S = 20, 1.0
# Operations in a row share the machine's moment: what a slow second does to a hundred of them is one piece of evidence.
BATCH, MIN_BATCHES = 50, 20

OPERATIONS = ("write", "read")


@dataclass(frozen=True)
class Finding:
    """One trigger's answer. `measured` is None when there was nothing to measure."""

    id: str
    statement: str
    threshold: Threshold
    measured: Measured | None
    verdict: Verdict
    reason: str

    @property
    def fired(self) -> bool:
        return self.verdict is Verdict.FAIL


def compare(baseline: Sequence[Sample], canary: Sequence[Sample]) -> tuple[Finding, ...]:
    """What only two sides can show: latency, throughput and errors of the canary against the baseline's."""
    latencies = [
        finding
        for operation in OPERATIONS
        for finding in latency(operation, _latencies(baseline, operation), _latencies(canary, operation))
    ]
    return (*latencies, throughput(baseline, canary), more_errors(_errors(baseline), _errors(canary)))


def against_before(before: Sequence[Sample], now: Sequence[Sample]) -> tuple[Finding, ...]:
    """The same stack under the release before and under this one. No p99: a tail is another one at another hour."""
    medians = [
        _worse_latency(operation, "median", 0.5, MIN_MEDIAN, _latencies(before, operation), _latencies(now, operation))
        for operation in OPERATIONS
    ]
    return (*medians, throughput(before, now), more_errors(_errors(before), _errors(now)))


def watch(samples: Sequence[Sample], planned_failovers: int = 0) -> tuple[Finding, ...]:
    """What one side shows by itself: errors, lost writes, unrest among the Sentinels."""
    return error_rate(_errors(samples)), lost_acks(samples), sentinels(samples, planned_failovers)


def latency(operation: str, baseline: Sequence[float], canary: Sequence[float]) -> tuple[Finding, ...]:
    """Median and p99 (latencies in ms) of one operation against the baseline's."""
    return (
        _worse_latency(operation, "median", 0.5, MIN_MEDIAN, baseline, canary),
        _worse_latency(operation, "p99", 0.99, MIN_P99, baseline, canary),
    )


def _worse_latency(
    operation: str, name: str, fraction: float, least: int, baseline: Sequence[float], canary: Sequence[float]
) -> Finding:
    id = f"trigger.latency-{name}-{operation}"
    statement = f"the {name} latency of a {operation} is at most {WORSE_PERCENT:g} % worse than the baseline's"
    threshold = at_most(WORSE_PERCENT, "% worse")
    if few := _too_few(least, "successful operations", len(baseline), len(canary)):
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, few)
    before, now = quantile(baseline, fraction), quantile(canary, fraction)
    if before <= 0:
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, f"the baseline's {name} is {before} ms")
    change = _percent(now - before, before)
    p = _larger(canary, baseline, fraction)
    return _significant(id, statement, threshold, change, p, f"{before:.3f} ms -> {now:.3f} ms")


def _larger(canary: Sequence[float], baseline: Sequence[float], fraction: float) -> float:
    """Whether chance explains latencies that are worse by more than is allowed; 1 while there are too few batches.

    Two stacks are never alike to the last per cent: the baseline's are taken for as much worse as they may be. Compared
    is the median of each batch; for a tail, which a batch is too small to have, how many of it lie in the tail of both
    sides together.
    """
    allowed = [value * (1 + WORSE_PERCENT / 100) for value in baseline]
    if fraction == 0.5:
        figures = [[quantile(batch, 0.5) for batch in _batches(side)] for side in (canary, allowed)]
    else:
        tail = quantile([*canary, *allowed], fraction)
        figures = [[sum(value > tail for value in batch) for batch in _batches(side)] for side in (canary, allowed)]
    return larger(*figures) if min(map(len, figures)) >= MIN_BATCHES else 1.0


def _batches(side: Sequence[float]) -> list[Sequence[float]]:
    return [side[first : first + BATCH] for first in range(0, len(side) - BATCH + 1, BATCH)]


def throughput(baseline: Sequence[Sample], canary: Sequence[Sample]) -> Finding:
    """Successful operations a second, over all windows in which the prober asked for any."""
    id, threshold = "trigger.throughput", at_most(WORSE_PERCENT, "% worse")
    statement = f"the throughput is at most {WORSE_PERCENT:g} % worse than the baseline's"
    before, now = completed_per_window(baseline), completed_per_window(canary)
    if few := _too_few(MIN_WINDOWS, f"windows of {WINDOW_S:g} s", len(before), len(now)):
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, few)
    rate_before, rate_now = (sum(counts) / len(counts) / WINDOW_S for counts in (before, now))
    if rate_before == 0:
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, "the baseline completed nothing")
    change = _percent(rate_before - rate_now, rate_before)
    text = f"{rate_before:.1f}/s -> {rate_now:.1f}/s"
    return _significant(id, statement, threshold, change, smaller(now, before), text)


def completed_per_window(samples: Iterable[Sample]) -> list[int]:
    """Successful operations in each window of one boot's clock; the first and the last, cut short, are left out.

    Not those without a latency, which a prober asked at its end as fast as it could.
    """
    counts: defaultdict[tuple[str, int], int] = defaultdict(int)
    for sample in samples:
        counts[sample.boot_id, int(sample.monotonic_s // WINDOW_S)] += sample.ok and sample.latency_ms is not None
    by_boot: defaultdict[str, list[int]] = defaultdict(list)
    for (boot, _), count in sorted(counts.items()):
        by_boot[boot].append(count)
    return [count for windows in by_boot.values() for count in windows[1:-1]]


def more_errors(baseline: tuple[int, int], canary: tuple[int, int]) -> Finding:
    """Errors (failed, tried) of the canary against the baseline's, in percentage points."""
    id, threshold = "trigger.more-errors", at_most(MORE_ERRORS_POINTS, "points")
    statement = f"the error rate is at most {MORE_ERRORS_POINTS:g} percentage points above the baseline's"
    if few := _too_few(MIN_ERRORS, "operations", baseline[1], canary[1]):
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, few)
    rise = round(_percent(*canary) - _percent(*baseline), 6)
    text = f"{baseline[0]} of {baseline[1]} -> {canary[0]} of {canary[1]} failed"
    return _significant(id, statement, threshold, rise, more_often(*canary, *baseline), text)


def error_rate(errors: tuple[int, int]) -> Finding:
    """The rate (failed, tried) at which the alert fires, whatever the baseline does."""
    failed, tried = errors
    id, threshold = "trigger.error-rate", at_most(ERROR_RATE_PERCENT, "%")
    statement = f"at most {ERROR_RATE_PERCENT:g} % of the operations fail"
    text = f"{failed} of {tried} failed"
    # Many of few are known to be too many; none of few says nothing.
    known_bad = tried >= MIN_ERRORS and above_rate(failed, tried, ERROR_RATE_PERCENT / 100) < ALPHA
    if tried < MIN_ERROR_RATE and not known_bad:
        reason = f"{text}: at least {MIN_ERROR_RATE} operations are needed"
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, reason)
    rate = _percent(failed, tried)
    return Finding(id, statement, threshold, Measured(value=rate, unit="%"), held_against(threshold, rate), text)


def lost_acks(samples: Sequence[Sample]) -> Finding:
    """Acknowledged writes that were not found again."""
    id, statement, threshold = "trigger.lost-acks", "no acknowledged write is lost", exactly(0, "lost")
    written = sum(sample.ok and sample.operation == "write" for sample in samples)
    lost = sum(sample.lost_acks for sample in samples)
    if not written and not lost:
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, "no write was acknowledged")
    measured = Measured(value=lost, unit="lost")
    return Finding(id, statement, threshold, measured, held_against(threshold, lost), f"{written} acknowledged")


def sentinels(samples: Sequence[Sample], planned_failovers: int = 0) -> Finding:
    """Moves of the master or of the config-epoch beyond the planned ones; an epoch that goes back is one too."""
    id, threshold = "trigger.sentinels", at_most(planned_failovers, "moves")
    statement = f"master and config-epoch moved no more often than planned ({planned_failovers})"
    seen = [sample for sample in samples if sample.epoch is not None]
    if not seen:
        reason = "no sample has the Sentinels' config-epoch"
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, reason)
    epochs = [sample.epoch for sample in seen if sample.epoch is not None]
    masters = [sample.master for sample in seen if sample.master is not None]
    elections = sum(abs(now - before) for before, now in pairwise(epochs))
    flaps = sum(before != now for before, now in pairwise(masters))
    moves = max(elections, flaps)
    reason = f"epoch {epochs[0]} -> {epochs[-1]}, {flaps} changes of the master"
    measured = Measured(value=moves, unit="moves")
    return Finding(id, statement, threshold, measured, held_against(threshold, moves), reason)


def quorum(answers: Sequence[bool]) -> Finding:
    """CKQUORUM as it was asked while watching: each answer is whether it was OK."""
    id, statement, threshold = "trigger.quorum", "the Sentinels never lost their quorum", exactly(0, "times")
    if not answers:
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, "CKQUORUM was never asked")
    lost = answers.count(False)
    measured = Measured(value=lost, unit="times")
    return Finding(id, statement, threshold, measured, held_against(threshold, lost), f"asked {len(answers)} times")


def failover(checks: Sequence[Check]) -> Finding:
    """The controlled failover's checks, by the smoke suite's evidence."""
    id, statement, threshold = "trigger.failover", "the controlled failover works", exactly(0, "failed checks")
    drills = [check for check in checks if check.check.startswith("failover.")]
    if not drills:
        return Finding(id, statement, threshold, None, Verdict.INCONCLUSIVE, "no failover was tried")
    bad = [check for check in drills if check.verdict is not Verdict.PASS]
    reason = "; ".join(f"{check.check}: {check.reason}" for check in bad) or f"{len(drills)} checks passed"
    measured = Measured(value=len(bad), unit="failed checks")
    return Finding(id, statement, threshold, measured, worst(check.verdict for check in drills), reason)


def _significant(id: str, statement: str, threshold: Threshold, change: float, p: float, text: str) -> Finding:
    """Within the threshold: a pass. Beyond it: a fail if chance does not explain it, else nobody knows yet."""
    measured = Measured(value=change, unit=threshold.unit)
    if threshold.holds(change):
        return Finding(id, statement, threshold, measured, Verdict.PASS, text)
    if p < ALPHA:
        return Finding(id, statement, threshold, measured, Verdict.FAIL, f"{text}, p = {p:.2g}")
    reason = f"{text}; p = {p:.2g}: could be chance, more samples are needed"
    return Finding(id, statement, threshold, measured, Verdict.INCONCLUSIVE, reason)


def _latencies(samples: Iterable[Sample], operation: str) -> list[float]:
    return [s.latency_ms for s in samples if s.ok and s.operation == operation and s.latency_ms is not None]


def _errors(samples: Sequence[Sample]) -> tuple[int, int]:
    """Failed and tried."""
    return sum(not sample.ok for sample in samples), len(samples)


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 6)


def _too_few(least: int, what: str, baseline: int, canary: int) -> str:
    if min(baseline, canary) >= least:
        return ""
    return f"baseline {baseline}, canary {canary} {what}: at least {least} of each are needed"
