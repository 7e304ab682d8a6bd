"""A bounded in-memory copy of what the application used lately, for the time in which Redis is away.

A cache, not a database: what is written to it while Redis is away never reaches Redis, and other processes do not see
it. An entry never outlives its time to live in Redis, as far as this process knows it, nor `max_ttl_s`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from client.options import FallbackOptions

Value = str | bytes


class Fallback:
    """Least recently used entries go first. Thread-safe. Also remembers whether Redis was away a moment ago."""

    def __init__(self, options: FallbackOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._entries: OrderedDict[str, tuple[Value, float]] = OrderedDict()
        self._lock = Lock()
        self._away_until = float("-inf")

    def put(self, key: str, value: Value, ttl_s: float | None) -> None:
        """Remember `value` for `ttl_s` seconds, None meaning for as long as the options allow."""
        longest = self._options.max_ttl_s
        expires = self._clock() + (longest if ttl_s is None else min(ttl_s, longest))
        with self._lock:
            self._entries[key] = (value, expires)
            self._entries.move_to_end(key)
            while len(self._entries) > self._options.max_entries:
                self._entries.popitem(last=False)

    def get(self, key: str) -> Value | None:
        with self._lock:
            value, expires = self._entries.get(key, (None, 0.0))
            if value is None:
                return None
            if expires <= self._clock():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def forget(self, key: str) -> None:
        with self._lock:
            self._entries.pop(key, None)

    @property
    def patience_s(self) -> float:
        """How long one operation may try Redis before memory answers instead."""
        return self._options.patience_s

    @property
    def is_away(self) -> bool:
        """Whether Redis failed so recently that asking it again would only make the application wait."""
        return self._clock() < self._away_until

    def mark_away(self) -> None:
        self._away_until = self._clock() + self._options.pause_s

    def __len__(self) -> int:
        return len(self._entries)
