"""PURE  Write gaps: the times in which no write was acknowledged.

What an application sees of an outage is the time in which none of its writes is acknowledged. So a gap lies between
two consecutive acknowledgements, those of all writers taken together. The start of the run and its end count as
boundaries too: an outage that never ended would otherwise show no gap at all. A gap counts from a threshold on, since
every pair of acknowledgements has some time between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise


@dataclass(frozen=True)
class Gap:
    """Seconds since the start of the run, and the length in milliseconds."""

    start_s: float
    end_s: float

    @property
    def ms(self) -> float:
        return (self.end_s - self.start_s) * 1000


def find_gaps(acks_s: Iterable[float], end_s: float, threshold_ms: float) -> tuple[Gap, ...]:
    """Gaps of at least `threshold_ms` among ascending `acks_s`, within a run from 0 to `end_s`."""
    return tuple(gap for gap in _all(acks_s, end_s) if gap.ms >= threshold_ms)


def longest_gap_ms(acks_s: Iterable[float], end_s: float) -> float:
    """The longest gap of the run from 0 to `end_s`, however short it is."""
    return max(gap.ms for gap in _all(acks_s, end_s))


def _all(acks_s: Iterable[float], end_s: float) -> Iterator[Gap]:
    return (Gap(start, max(start, end)) for start, end in pairwise(chain((0.0,), acks_s, (end_s,))))
