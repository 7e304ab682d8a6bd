"""The trickle: a write, a read, a write, ... through the contract's client, each of them one sample."""

from __future__ import annotations

import random
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Literal

import redis
from redis.exceptions import RedisError

from client.connect import Client, connect
from client.errors import describe
from client.options import Options, RetryOptions
from infra.contract import Contract
from prober.acks import Ack, PendingAcks
from prober.epoch import EpochWatch
from prober.samples import Sample
from smoke_tests.scrub import Scrubber

PREFIX = "prober"
TTL_S = 600
# A master that Sentinel has replaced without a fence goes on accepting writes for about 11 s.
SETTLE_S = 15.0
# An operation that takes longer is an error: an application's users would say the same.
DEADLINE_S = 1.0
# Longer messages repeat what every Sentinel and node said; the beginning tells which error it is.
_LONGEST_ERROR = 300
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Trickle:
    """What to do: `rate` operations a second for `duration_s` (None: until stopped), labelled with these names."""

    release: str
    rate: float = 10.0
    duration_s: float | None = None
    stack: str | None = None


@dataclass(frozen=True)
class _Asked:
    """One call and what came of it; `began` by the monotonic clock, s."""

    wall: datetime
    began: float
    latency_ms: float
    answer: str | bytes | None
    error: str | None


class Prober:
    """Runs in one thread. Keys are `prober:<run>:<n>` and vanish by themselves."""

    def __init__(
        self,
        contract: Contract,
        trickle: Trickle,
        record: Callable[[Sample], None],
        *,
        first_sequence: int = 0,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._contract = contract
        self._trickle = trickle
        self._record = record
        self._sequence = first_sequence
        self._scrub = Scrubber(contract)
        self._boot_id = boot_id()
        self._prefix = f"{PREFIX}:{secrets.token_hex(4)}:"
        self._written = 0
        self._pending = PendingAcks(settle_s, time.monotonic)
        options = Options(retry=RetryOptions(deadline_s=DEADLINE_S))
        self._client: Client = connect(contract, options=options)
        self._epochs = EpochWatch(contract, options)

    def run(self, stop: Event) -> None:
        """Probe until `stop` or the duration's end, then read back what is left. Raises only what `record` raises.

        Each operation begins at a random moment of its turn: what begins in step with something else on the machine,
        another prober above all, meets it always or never. One that took longer than its turn leaves the turns that it
        covered empty, so that an outage is not followed by a burst.
        """
        self._epochs.start()
        try:
            self._trickle_until(stop)
            self._read_back_the_rest()
        finally:
            self._epochs.stop()
            self._client.close()

    def _trickle_until(self, stop: Event) -> None:
        started, turn, rate = time.monotonic(), -1, self._trickle.rate
        end = started + (self._trickle.duration_s if self._trickle.duration_s is not None else float("inf"))
        reads = False
        while True:
            turn = max(turn + 1, int((time.monotonic() - started) * rate))
            begins = started + (turn + random.random()) / rate  # noqa: S311 - no secret
            if stop.wait(max(0.0, min(begins, end) - time.monotonic())) or time.monotonic() >= end:
                return
            ack = self._pending.next() if reads else None
            if ack:
                self._read(ack)
            else:
                self._write()
            reads = not reads

    def _read_back_the_rest(self) -> None:
        """Every acknowledged write is asked for once, so the last ones too; gives up at the first error."""
        while ack := self._pending.oldest():
            if not self._read(ack, last=True):
                return

    def _write(self) -> None:
        key, value = f"{self._prefix}{self._written}", str(self._written)
        self._written += 1
        asked = self._ask(lambda master: master.set(key, value, ex=TTL_S))
        if asked.error is None:
            # From before the write: the server began to count later, so the key lives longer than this says.
            self._pending.add(Ack(key, value, time.monotonic(), asked.began + TTL_S))
        self._keep("write", asked)

    def _read(self, ack: Ack, *, last: bool = False) -> bool:
        asked = self._ask(lambda master: master.get(ack.key))
        lost = asked.error is None and self._pending.answered(ack, asked.answer, last=last)
        self._keep("read", asked, int(lost), timed=not last)
        return asked.error is None

    def _ask(self, command: Callable[[redis.Redis], Any]) -> _Asked:
        """The clock runs for the client's call alone: what we keep books of is no latency of the server's."""
        wall, began = datetime.now(UTC), time.monotonic()
        answer, error = None, None
        try:
            answer = self._client.call(command)
        except RedisError as problem:
            error = problem
        latency_ms = (time.monotonic() - began) * 1000
        return _Asked(wall, began, latency_ms, answer, self._scrub(describe(error))[:_LONGEST_ERROR] if error else None)

    def _keep(self, operation: Literal["write", "read"], asked: _Asked, lost: int = 0, *, timed: bool = True) -> None:
        self._record(
            Sample(
                sequence=self._sequence,
                boot_id=self._boot_id,
                monotonic_s=round(asked.began, 6),
                wall=asked.wall,
                operation=operation,
                ok=asked.error is None,
                latency_ms=round(asked.latency_ms, 3) if timed and asked.error is None else None,
                error=asked.error,
                lost_acks=lost,
                master=str(self._client.master) if self._client.master else None,
                epoch=self._epochs.epoch,
                release=self._trickle.release,
                stack=self._trickle.stack,
            )
        )
        self._sequence += 1


def boot_id() -> str:
    """Names this boot of the machine; where the system does not say, this process."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())
