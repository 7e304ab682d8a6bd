"""The boundaries of every trigger, and that nothing fires on noise or passes on nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout import triggers
from rollout.triggers import Finding
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import sample
from tests.rollout.report_sample import samples, smoke


def by_id(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.id.removeprefix("trigger."): finding for finding in findings}


def spread(scale: float, count: int = 1000) -> list[float]:
    """Around 1 ms, a little apart: the same shape at every scale, so that each quantile moves by the scale. Mixed."""
    return [scale * (1 + number * 617 % count / count / 100) for number in range(count)]


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.05, 500), st.sampled_from([(19.9, False), (20.0, False), (20.1, True), (35.0, True), (-50.0, False)])
)
def test_latency_fires_above_20_percent_only(base: float, case: tuple[float, bool]) -> None:
    worse, fires = case
    found = triggers.latency("write", spread(base), spread(base * (1 + worse / 100)))
    assert [finding.fired for finding in found] == [fires, fires]
    assert all(finding.verdict is (Verdict.FAIL if fires else Verdict.PASS) for finding in found)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5000), st.sampled_from([(49, False), (50, False), (51, True)]))
def test_errors_fire_above_5_points_only(extra: int, case: tuple[int, bool]) -> None:
    """Whatever the size of the baseline, which has no error: 4.9, 5.0 and 5.1 per cent of 1000."""
    failed, fires = case
    found = triggers.more_errors((0, 1000 + extra), (failed, 1000))
    assert (found.fired, found.verdict is Verdict.PASS) == (fires, not fires)


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 20), st.integers(0, 1600))
def test_errors_count_from_the_baselines_rate(thousands: int, failing: int) -> None:
    """Exactly 5 points more is no trigger, at any rate of the baseline; with 4000 operations one more error is."""
    tried = 1000 * thousands
    found = triggers.more_errors((failing, tried), (failing + tried // 20, tried))
    assert found.verdict is Verdict.PASS
    one_more = triggers.more_errors((failing, tried), (failing + tried // 20 + 1, tried))
    assert one_more.fired


@settings(deadline=None)
@given(st.integers(1, 50))
def test_the_error_rate_fires_above_one_in_a_thousand_only(thousands: int) -> None:
    tried = 1000 * thousands
    assert triggers.error_rate((0, tried)).verdict is Verdict.PASS
    assert triggers.error_rate((thousands, tried)).verdict is Verdict.PASS
    assert triggers.error_rate((thousands + 1, tried)).fired


@pytest.mark.parametrize(("failed", "tried"), [(0, 0), (0, 99), (99, 99), (0, 999), (1, 999)])
def test_too_few_operations_show_no_error_rate(failed: int, tried: int) -> None:
    assert triggers.error_rate((failed, tried)).verdict is Verdict.INCONCLUSIVE


def test_every_sample_an_error_fires_before_there_are_a_thousand() -> None:
    assert triggers.error_rate((100, 100)).fired
    found = by_id(triggers.compare(samples("a", 300), samples("b", 300, failed=lambda _: True)))
    assert found["more-errors"].fired
    assert found["throughput"].fired
    assert not any(finding.verdict is Verdict.PASS for finding in found.values())


def test_no_samples_show_nothing() -> None:
    findings = (*triggers.compare([], []), *triggers.watch([]), triggers.quorum([]), triggers.failover([]))
    assert {finding.verdict for finding in findings} == {Verdict.INCONCLUSIVE}
    assert len({finding.id for finding in findings}) == len(findings)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_too_few_samples_are_inconclusive(before: int, after: int) -> None:
    found = triggers.latency("read", spread(1, before), spread(9, after))
    assert {finding.verdict for finding in found} == {Verdict.INCONCLUSIVE}
    assert triggers.more_errors((0, before), (after, after)).verdict is Verdict.INCONCLUSIVE


def test_a_tail_fires_that_a_median_cannot_see_but_not_a_single_bad_moment() -> None:
    before = spread(1, 2000)
    thin = [50.0 if number % 50 == 7 else value for number, value in enumerate(before)]
    median, p99 = triggers.latency("write", before, thin)
    assert (median.verdict, p99.fired) == (Verdict.PASS, True)
    # As many slow ones, but all in the same second.
    moment = [50.0 if 700 <= number < 740 else value for number, value in enumerate(before)]
    _, p99 = triggers.latency("write", before, moment)
    assert p99.measured is not None and p99.measured.value > 1000
    assert p99.verdict is Verdict.INCONCLUSIVE


def test_a_difference_that_is_certain_fires_only_when_it_is_certainly_too_large() -> None:
    """Idle and busy stacks differ, always: that they do is no proof that they differ by more than a fifth."""
    rocking = [1 + 0.1 * (number // 50 % 5 - 2) for number in range(2000)]
    median, _ = triggers.latency("write", rocking, [value * 1.21 for value in rocking])
    assert median.measured is not None and 20 < median.measured.value < 22
    assert median.verdict is Verdict.INCONCLUSIVE
    median, _ = triggers.latency("write", rocking, [value * 1.5 for value in rocking])
    assert median.fired


def test_a_change_that_could_be_chance_is_inconclusive() -> None:
    """Two shapes with medians 50 % apart, each value as likely to be above as below the other side's."""
    baseline = [1.0] * 60 + [9.0] * 45
    canary = [0.5] * 52 + [1.5] * 20 + [9.0] * 33
    median, _ = triggers.latency("write", baseline, canary)
    assert median.measured is not None
    assert median.measured.value > 20
    assert median.verdict is Verdict.INCONCLUSIVE
    assert "chance" in median.reason


def test_a_slow_stretch_of_seconds_is_no_trigger_and_one_that_stays_is() -> None:
    """700 reads, 30 % slower, were seen within 7 s of two equal stacks on one busy machine."""
    baseline = spread(1, 3000)
    verdicts = [triggers.latency("read", baseline, spread(1.3, count))[0].verdict for count in (700, 3000)]
    assert verdicts == [Verdict.INCONCLUSIVE, Verdict.FAIL]


@pytest.mark.parametrize(("keep", "verdict"), [(8.01, "pass"), (8.0, "pass"), (7.99, "fail")])
def test_throughput_fires_above_20_percent_only(keep: float, verdict: str) -> None:
    """10 operations a second against `keep` of them: 19.9, 20.0 and 20.1 % less."""
    count = 1020  # 100 whole windows and the two cut ones
    dropped = round((10 - keep) * 100)
    gone = {10 + round(number * 1000 / dropped) for number in range(dropped)}
    found = triggers.throughput(samples("a", count), samples("b", count, failed=gone.__contains__))
    assert found.measured is not None
    assert found.measured.value == pytest.approx(100 - 10 * keep, abs=1e-6)
    assert str(found.verdict) == verdict


def test_what_a_prober_reads_back_at_its_end_is_no_throughput() -> None:
    steadily = [sample(number) for number in range(600)]
    burst = [sample(600 + number, at=30 + number / 1000, latency_ms=None) for number in range(900)]
    assert triggers.completed_per_window([*steadily, *burst]) == [10] * 58


def test_the_same_release_twice_fires_nothing() -> None:
    for seed in range(3):
        found = triggers.compare(samples("a", seed=2 * seed), samples("b", seed=2 * seed + 1))
        assert not any(finding.fired for finding in found)


def moving(*views: tuple[str | None, int | None]) -> Finding:
    taken = samples("a", len(views))
    changed = [replace(s, master=m, epoch=e) for s, (m, e) in zip(taken, views, strict=True)]
    return triggers.sentinels(changed, planned_failovers=1)


def test_unrest_among_the_sentinels() -> None:
    assert moving(("a", 4), ("a", 4)).verdict is Verdict.PASS
    assert moving(("a", 4), ("b", 5)).verdict is Verdict.PASS
    assert moving(("a", 4), ("b", 5), ("a", 5)).fired
    assert moving(("a", 4), ("a", 6)).fired
    assert moving(("a", 5), ("a", 3)).fired
    assert moving(("a", None), ("b", None)).verdict is Verdict.INCONCLUSIVE


def test_a_quorum_that_was_lost_once_fires() -> None:
    assert triggers.quorum([True, True]).verdict is Verdict.PASS
    assert triggers.quorum([True, False, True]).fired


def test_one_lost_write_fires() -> None:
    taken = samples("a", 20)
    assert triggers.lost_acks(taken).verdict is Verdict.PASS
    assert triggers.lost_acks([*taken, replace(taken[-1], lost_acks=1)]).fired


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_failover_is_as_good_as_its_worst_check(verdict: Verdict) -> None:
    drill = smoke(["failover.gap", "failover.no-lost-acks"], verdict).checks
    assert triggers.failover(drill).verdict is verdict
    assert triggers.failover(smoke(["quorum.value"]).checks).verdict is Verdict.INCONCLUSIVE
