"""The tests of significance find what is there and do not find what is not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.statistics import above_rate, larger, more_often, quantile, smaller


def noise(seed: int, count: int = 400, scale: float = 1.0) -> list[float]:
    chance = random.Random(seed)  # noqa: S311
    return [scale * chance.lognormvariate(0, 0.3) for _ in range(count)]


def test_a_shift_is_found_in_its_own_direction_only() -> None:
    before, after = noise(1), noise(2, scale=1.2)
    assert larger(after, before) < 0.001
    assert smaller(after, before) > 0.99
    assert smaller(before, after) < 0.001


def test_noise_alone_is_seldom_a_difference() -> None:
    found = sum(larger(noise(2 * seed), noise(2 * seed + 1)) < 0.01 for seed in range(100))
    assert found <= 5


def test_proportions() -> None:
    assert more_often(51, 1000, 0, 1000) < 1e-6
    assert more_often(0, 1000, 0, 1000) == 1
    assert more_often(1, 1000, 0, 1000) > 0.4
    assert above_rate(100, 100, 0.001) < 1e-9
    assert above_rate(1, 1000, 0.001) > 0.5


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0, 1))
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(values: list[float], fraction: float) -> None:
    found = quantile(values, fraction)
    assert found in values
    assert sum(value <= found for value in values) >= fraction * len(values) - 1e-9


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
