"""PURE  Production's prober from a rollback's order on: when a write was acknowledged, and how long none was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from client.gaps import longest_gap_ms
from prober.samples import Sample


@dataclass(frozen=True)
class Serving:
    """Seconds since the order, by the prober's clock. `first_s`: the first acknowledgement, None without any.

    `longest_s`: the longest time without one until the latest sample; what was before the order does not count.
    """

    first_s: float | None
    longest_s: float

    def __str__(self) -> str:
        if self.first_s is None:
            return f"no write was acknowledged for {self.longest_s:.1f} s since the order"
        return (
            f"a write was acknowledged {self.first_s:.1f} s after the order, "
            f"none for {self.longest_s:.1f} s at the longest since then"
        )

    @property
    def figures(self) -> dict[str, float]:
        first = {} if self.first_s is None else {"rollback.first-write, s": round(self.first_s, 3)}
        return {**first, "rollback.longest-gap, s": round(self.longest_s, 3)}


def serving_since(ordered: datetime, samples: Sequence[Sample]) -> Serving | None:
    """None without a sample since the order. `samples`: oldest first."""
    since = [each for each in samples if each.wall >= ordered]
    if not since:
        return None
    # One look at the wall clock, and from there on by the one that nobody sets.
    zero = since[0].monotonic_s - (since[0].wall - ordered).total_seconds()
    here = [each for each in samples if each.boot_id == since[0].boot_id]
    acks = sorted(
        each.monotonic_s + each.latency_ms / 1000 - zero
        for each in here
        if each.ok and each.operation == "write" and each.latency_ms is not None
    )
    acks = [at for at in acks if at >= 0]
    end = max(here[-1].monotonic_s - zero, *acks, 0.0)
    return Serving(acks[0] if acks else None, longest_gap_ms(acks, end) / 1000)
