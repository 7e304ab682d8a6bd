"""Which seconds count, by a clock that the test makes up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prober.samples import Sample
from rollout.soak import Credit
from tests.rollout.fakes import sample

NEW = Credit(release="r1", max_gap_s=2.0)


def at(*moments: float, first: int = 0, **changes: object) -> list[Sample]:
    return [sample(first + number, moment, **changes) for number, moment in enumerate(moments)]


def test_seconds_between_passing_samples_count() -> None:
    assert NEW.add(at(100, 101, 102.5)).credited_s == pytest.approx(2.5)
    assert NEW.add([]).credited_s == NEW.add(at(100)).credited_s == 0


def test_a_sample_gap_pauses_the_clock() -> None:
    credit = NEW.add(at(100, 101, 104, 105))
    assert (credit.credited_s, credit.pauses, credit.resets) == (2.0, 1, ())
    assert NEW.add(at(100, 102)).credited_s == 2.0


def test_a_failed_sample_takes_the_seconds_on_both_sides() -> None:
    samples = [*at(100, 101), *at(102, first=2, ok=False, latency_ms=None), *at(103, 104, first=3)]
    assert (NEW.add(samples).credited_s, NEW.add(samples).failed) == (2.0, 1)
    assert NEW.add([*at(100), *at(101, first=1, lost_acks=1), *at(102, first=2)]).credited_s == 0


def test_a_restart_pauses_it_whatever_the_new_clock_says() -> None:
    assert NEW.add([*at(100, 101), *at(101.5, 102.5, first=2, boot_id="next")]).credited_s == 2.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"master": "10.0.0.2:6379"}, "role flap, master"),
        ({"epoch": 2}, "role flap, configuration epoch"),
        ({"release": "r2"}, "release r2, not r1"),
    ],
)
def test_what_sets_it_back(changes: dict[str, object], why: str) -> None:
    credit = NEW.add([*at(100, 101, 102), *at(103, first=3, **changes)])
    assert credit.credited_s == 0 and why in credit.resets[0]


def test_another_release_earns_nothing_and_is_said_once() -> None:
    credit = NEW.add([*at(100, 101), *at(102, 103, 104, first=2, release="r2")])
    assert (credit.credited_s, len(credit.resets)) == (0.0, 1)
    assert credit.add(at(105, 106, 107, first=5)).credited_s == 2.0


def test_a_deploy_or_drift_sets_it_back_and_it_earns_anew() -> None:
    credit = NEW.add(at(100, 101, 102)).reset("drift: redis.conf")
    assert credit.credited_s == 0
    assert credit.add(at(103, 104, first=3, master="10.0.0.2:6379", epoch=5)).credited_s == 1.0


@given(st.lists(st.integers(-(10**6), 10**6), min_size=5, max_size=5))
def test_steps_of_the_wall_clock_count_neither_way(steps: list[int]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    samples = [sample(n, 100.0 + n, wall=start + timedelta(seconds=n + step)) for n, step in enumerate(steps)]
    assert NEW.add(samples).credited_s == 4.0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=30), st.integers(0, 30))
def test_it_never_exceeds_the_time_that_passed_and_looking_twice_adds_nothing(
    parts: list[tuple[float, bool]], cut: int
) -> None:
    moment, samples = 0.0, []
    for number, (step, ok) in enumerate(parts):
        moment += step
        samples.append(sample(number, moment, ok=ok))
    whole = NEW.add(samples)
    assert 0 <= whole.credited_s <= moment + 1e-9
    in_two = NEW.add(samples[:cut]).add(samples)  # the second look sees the first part again
    assert in_two == whole


def test_a_clock_that_goes_back_within_a_boot_earns_nothing() -> None:
    assert NEW.add(at(100, 50, 51)).credited_s == 1.0
