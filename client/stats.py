"""How often get() found its key, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock


@dataclass(frozen=True)
class Stats:
    """Counts since the client was made. A lookup is exactly one of the three."""

    hits: int = 0  # found in Redis
    misses: int = 0  # found nowhere
    fallback_hits: int = 0  # found in memory while Redis was away

    @property
    def hit_rate(self) -> float | None:
        """Found / looked up (0-1), None before the first lookup."""
        lookups = self.hits + self.misses + self.fallback_hits
        return (self.hits + self.fallback_hits) / lookups if lookups else None


class Counter:
    """Thread-safe counting into a Stats value."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stats = Stats()

    @property
    def stats(self) -> Stats:
        return self._stats

    def looked_up(self, found: bool, *, in_memory: bool) -> None:
        with self._lock:
            now = self._stats
            if not found:
                self._stats = replace(now, misses=now.misses + 1)
            elif in_memory:
                self._stats = replace(now, fallback_hits=now.fallback_hits + 1)
            else:
                self._stats = replace(now, hits=now.hits + 1)
