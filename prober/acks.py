"""PURE  Which acknowledged writes are still to be read back, and which of them are lost."""

from __future__ import annotations

from collections import deque
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
    """

    def __init__(self, settle_s: float, clock: Callable[[], float]) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._acks: deque[Ack] = deque()

    def __len__(self) -> int:
        return len(self._acks)

    def add(self, ack: Ack) -> None:
        self._drop_expired()
        self._acks.append(ack)

    def next(self) -> Ack | None:
        """What to read now: the oldest if it is due, else the newest, which shows that reading works."""
        self._drop_expired()
        if not self._acks:
            return None
        return self._acks[0] if self._is_due(self._acks[0]) else self._acks[-1]

    def oldest(self) -> Ack | None:
        """The oldest one, due or not."""
        self._drop_expired()
        return self._acks[0] if self._acks else None

    def answered(self, ack: Ack, value: str | bytes | None, *, last: bool = False) -> bool:
        """Note what a server said about `ack`; `last`: it is not asked for again. Returns whether the write is lost."""
        self._drop_expired()
        if ack not in self._acks:
            return False  # it expired while it was asked for
        if value != ack.value or last or self._is_due(ack):
            self._acks.remove(ack)
        return value != ack.value

    def _is_due(self, ack: Ack) -> bool:
        return self._clock() - ack.at_s >= self._settle_s

    def _drop_expired(self) -> None:
        while self._acks and self._acks[0].expires_s <= self._clock():
            self._acks.popleft()
