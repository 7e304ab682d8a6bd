"""How production served from a rollback's order on, by its prober."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prober.samples import Sample
from rollout.serving import Serving, serving_since
from tests.rollout.fakes import sample

ORDERED = datetime(2026, 1, 1, tzinfo=UTC)


def writes(*at_s: float, **changes: Any) -> list[Sample]:
    """Writes that begin so many seconds after the order; each is acknowledged after 100 ms."""
    return [
        sample(2 * n + 1, at=1000 + at, wall=ORDERED + timedelta(seconds=at), **{"latency_ms": 100.0} | changes)
        for n, at in enumerate(at_s)
    ]


def failed(*at_s: float) -> list[Sample]:
    return writes(*at_s, ok=False, latency_ms=None)


def seen(samples: list[Sample]) -> tuple[float | None, float]:
    found = serving_since(ORDERED, samples)
    assert found is not None
    return found.first_s and round(found.first_s, 3), round(found.longest_s, 3)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (writes(0.0, 0.5, 1.0), (0.1, 0.5)),
        (writes(-20.0, 3.0, 4.0), (3.1, 3.1)),  # what it lasted before the order is not the rollback's
        (writes(-0.05, 1.0), (0.05, 1.05)),  # begun before, acknowledged after it
        (writes(0.0) + failed(7.0), (0.1, 6.9)),  # no end of it yet
        (failed(0.2, 5.0), (None, 5.0)),
        ([*writes(0.0, 9.0), sample(2, at=1004.0, wall=ORDERED + timedelta(seconds=4))], (0.1, 9.0)),  # a read
        (writes(0.0, 9.0) + writes(4.0, boot_id="another"), (0.1, 9.0)),
        # The wall clock is set back after the first sample.
        ([*writes(0.0), *(replace(each, wall=ORDERED) for each in writes(2.0))], (0.1, 2.0)),
    ],
)
def test_gaps_count_from_the_order_on(samples: list[Sample], wanted: tuple[float | None, float]) -> None:
    assert seen(samples) == wanted


def test_without_a_sample_since_the_order_nothing_is_known() -> None:
    assert serving_since(ORDERED, writes(-3.0, -1.0)) is None
    assert serving_since(ORDERED, []) is None


def test_it_says_and_counts_what_it_knows() -> None:
    assert str(Serving(0.25, 1.5)) == (
        "a write was acknowledged 0.2 s after the order, none for 1.5 s at the longest since then"
    )
    assert Serving(0.25, 1.5).figures == {"rollback.first-write, s": 0.25, "rollback.longest-gap, s": 1.5}
    assert str(Serving(None, 4.0)) == "no write was acknowledged for 4.0 s since the order"
    assert Serving(None, 4.0).figures == {"rollback.longest-gap, s": 4.0}
