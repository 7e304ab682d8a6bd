"""One writer of the ledger: a thread that writes unique keys and records each acknowledgement."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

import redis
from redis.exceptions import RedisError

from client.connect import Client
from client.errors import kind_of
from client.retry import until_answered

# After a write is given up: an error that no repeat cures must not turn the writer into a busy loop.
_PAUSE_AFTER_FAILURE_S = 0.1
# How long a slow machine may leave a write without an answer before it counts as given up.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class WriteOptions:
    """How a ledger writes. `interval_s` is each writer's pause between two writes."""

    interval_s: float = 0.002
    ttl_s: int | None = None
    wait_replicas: int = 0
    wait_timeout_ms: int = 500


@dataclass(frozen=True)
class Ack:
    """One acknowledged write: seconds since the start, milliseconds from the first attempt to the reply."""

    at_s: float
    latency_ms: float
    seq: int
    confirmed: bool


class Writer:
    """Keys are `prefix + seq`, values are the seq. Samples are kept in arrays: 17 bytes for each acknowledgement."""

    def __init__(
        self, client: Client, prefix: str, options: WriteOptions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._options = options
        self._clock = clock
        self.prefix = prefix
        self.next_seq = 0
        self.attempts = 0
        self.abandoned = 0
        self.last_error = ""
        self.errors: Counter[str] = Counter()
        self._at = array("d")
        self._latency = array("f")
        self._seq = array("L")
        self._confirmed = bytearray()

    def __len__(self) -> int:
        return len(self._confirmed)  # appended last, so every array has this many

    def __getitem__(self, index: int) -> Ack:
        return Ack(self._at[index], self._latency[index], self._seq[index], bool(self._confirmed[index]))

    @property
    def confirmed(self) -> int:
        """Acknowledged writes that WAIT confirmed."""
        return sum(self._confirmed)

    def times_s(self) -> array[float]:
        """When each write was acknowledged, in seconds since the start."""
        return self._at

    def latencies_ms(self) -> array[float]:
        return self._latency

    def key(self, seq: int) -> str:
        return f"{self.prefix}{seq}"

    def run(self, started: float, stop: Event, on_ack: Callable[[], None]) -> None:
        """Write until `stop`. The write under way is finished first; PATIENCE_S and the client's deadline bound it."""
        while not stop.is_set():
            seq = self.next_seq
            self.next_seq += 1
            before = self._clock()
            try:
                confirmed = until_answered(
                    lambda seq=seq: self._client.call(lambda master: self._write(master, seq)),  # type: ignore[misc]
                    PATIENCE_S,
                    self._clock,
                )
            except RedisError as error:
                self.abandoned += 1
                self.last_error = str(error)
                stop.wait(_PAUSE_AFTER_FAILURE_S)
                continue
            now = self._clock()
            self._at.append(now - started)
            self._latency.append((now - before) * 1000)
            self._seq.append(seq)
            self._confirmed.append(confirmed)
            on_ack()
            stop.wait(self._options.interval_s)

    def _write(self, master: redis.Redis, seq: int) -> bool:
        """One attempt. Returning means the server said OK; the value says whether WAIT confirmed it too."""
        options = self._options
        self.attempts += 1
        try:
            if not options.wait_replicas:
                master.set(self.key(seq), seq, ex=options.ttl_s)
                return False
            # One pipeline, so one connection: WAIT covers the writes of its own connection only.
            pipeline = master.pipeline(transaction=False)
            pipeline.set(self.key(seq), seq, ex=options.ttl_s)
            pipeline.wait(options.wait_replicas, options.wait_timeout_ms)
            _, replicas = pipeline.execute()
            return int(replicas) >= options.wait_replicas
        except RedisError as error:
            self.errors[kind_of(error)] += 1
            raise
