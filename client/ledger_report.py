"""What a ledger found, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from client.gaps import Gap


@dataclass(frozen=True)
class LedgerReport:
    """Figures of one run. Times within the run are seconds since `started_at`, by a monotonic clock."""

    started_at: datetime
    duration_s: float
    writers: int
    acknowledged: int
    confirmed: int  # acknowledged, and WAIT saw enough replicas have it; 0 when WAIT was not asked for
    lost: tuple[str, ...]  # acknowledged keys that are missing or hold another value
    lost_confirmed: tuple[str, ...]  # those of them that WAIT had confirmed
    attempts: int  # commands sent, repeats included
    abandoned: int  # writes given up after the client's deadline: never acknowledged, so never lost
    errors: tuple[tuple[str, int], ...]  # failed attempts by kind, most frequent first
    gaps: tuple[Gap, ...]  # of all writers together, from the threshold on
    longest_gap_ms: float  # of all writers together
    longest_writer_gap_ms: float  # the worst that any single writer saw
    median_latency_ms: float | None  # of an acknowledged write, repeats included; None without any
    p99_latency_ms: float | None

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.errors) or "none"
        return (
            f"{self.acknowledged} acknowledged in {self.duration_s:.1f} s, {len(self.lost)} lost, "
            f"longest gap {self.longest_gap_ms:.0f} ms, failed attempts: {kinds}"
        )
