"""PURE  Which acknowledged writes are still to be read back, and which of them are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ack:
    """One acknowledged write. Its key holds `value`; the server keeps it at least until `expires_s`."""

    key: str
    value: str
    at_s: float
    expires_s: float


class PendingAcks:
    """Acknowledged writes in the order of time; times by one monotonic clock, in seconds.

    Each is read back once it is `settle_s` old: later than the longest time in which a master that has been replaced
    still answers, else a write that only the old master has would be found. One that expires before any server could
    be asked is dropped: nobody can say whether it was lost. So no more are kept than are written within a time to live.

    Everything takes the same time however many there are: it goes on between operations that are being measured.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float]) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._acks: dict[str, Ack] = {}

    def __len__(self) -> int:
        return len(self._acks)

    def add(self, ack: Ack) -> None:
        self._drop_expired()
        self._acks[ack.key] = ack

    def next(self) -> Ack | None:
        """What to read now: the oldest if it is due, else the newest, which shows that reading works."""
        oldest = self.oldest()
        if oldest is None or self._is_due(oldest):
            return oldest
        return next(reversed(self._acks.values()))

    def oldest(self) -> Ack | None:
        """The oldest one, due or not."""
        self._drop_expired()
        return next(iter(self._acks.values()), None)

    def answered(self, ack: Ack, value: str | bytes | None, *, last: bool = False) -> bool:
        """Note what a server said about `ack`; `last`: it is not asked for again. Returns whether the write is lost."""
        self._drop_expired()
        if ack.key not in self._acks:
            return False  # it expired while it was asked for
        if value != ack.value or last or self._is_due(ack):
            del self._acks[ack.key]
        return value != ack.value

    def _is_due(self, ack: Ack) -> bool:
        return self._clock() - ack.at_s >= self._settle_s

    def _drop_expired(self) -> None:
        while (oldest := next(iter(self._acks.values()), None)) and oldest.expires_s <= self._clock():
            del self._acks[oldest.key]
