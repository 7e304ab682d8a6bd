"""The acked-write ledger: does every acknowledged write survive, and for how long was none acknowledged?

    with Ledger(contract) as ledger:
        ledger.wait_for_acks(200)
        fail_over()
        ledger.wait_for_acks(200)
    report = ledger.verify()
    ledger.cleanup()

A write is acknowledged when the server's OK has reached this process. A lost connection before the reply is no
acknowledgement: the same key and value are written again, which is safe. The writers use the contract's client with
its own retries, so a gap is what an application that uses this client sees.
"""

from __future__ import annotations

import heapq
import json
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Self

from client.connect import connect
from client.gaps import find_gaps, longest_gap_ms
from client.ledger_report import LedgerReport
from client.options import Options
from client.writer import PATIENCE_S, WriteOptions, Writer
from infra.contract import Contract

_BATCH = 500
_GAP_THRESHOLD_MS = 100.0


class Ledger:
    """Writers in threads of this process; a context manager that runs them. Keys: `prefix:<run>:<writer>:<seq>`.

    `ttl_s` lets the keys vanish by themselves; verify() must come before that. `wait_replicas` sends WAIT after each
    write and counts separately what it confirmed; its time then counts into latencies and gaps.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        writers: int = 4,
        prefix: str = "ledger",
        interval_s: float = 0.002,
        ttl_s: int | None = None,
        wait_replicas: int = 0,
        options: Options | None = None,
    ) -> None:
        self._contract = contract
        self._options = options or Options()
        self._ttl_s = ttl_s
        self._client = connect(contract, options=self._options)
        self.run = secrets.token_hex(4)
        how = WriteOptions(interval_s, ttl_s, wait_replicas)
        self._writers = [Writer(self._client, f"{prefix}:{self.run}:{n}:", how) for n in range(writers)]
        self._threads: list[Thread] = []
        self._stop = Event()
        self._acked = Condition()
        self._started = 0.0
        self._stopped: float | None = None
        self._started_at = datetime.now(UTC)

    def __enter__(self) -> Self:
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self._threads = [Thread(target=self._run, args=(writer,), daemon=True) for writer in self._writers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = self.elapsed_s()
        self._stop.set()
        # A write is tried for PATIENCE_S. Its last attempt may then use up the client's deadline and its time-outs.
        slack_s = PATIENCE_S + self._options.retry.deadline_s + 10
        for thread in self._threads:
            thread.join(slack_s)
        self._client.close()
        if any(thread.is_alive() for thread in self._threads):
            raise TimeoutError(f"a writer has not stopped within {slack_s:.0f} s; {self._last_seen()}")

    @property
    def acknowledged(self) -> int:
        """Acknowledged writes so far."""
        return sum(map(len, self._writers))

    def elapsed_s(self) -> float:
        """Seconds since the writers started: the clock of the report's gaps."""
        return time.monotonic() - self._started

    def wait_for_acks(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait until `count` more writes are acknowledged. Raises TimeoutError with what was last seen."""
        wanted = self.acknowledged + count
        with self._acked:
            if not self._acked.wait_for(lambda: self.acknowledged >= wanted, timeout_s):
                missing = wanted - self.acknowledged
                raise TimeoutError(f"{missing} of {count} writes missing after {timeout_s:.0f} s; {self._last_seen()}")

    def verify(self) -> LedgerReport:
        """Read every acknowledged key back from the master of now, and report. Call it after the `with` block."""
        if self._stopped is None:
            raise RuntimeError("the ledger is still running (or never ran): verify it after its `with` block")
        # Before the oldest key can have expired; afterwards every key would look lost.
        if self._ttl_s is not None and self.elapsed_s() > self._ttl_s:
            raise RuntimeError(f"verify came {self.elapsed_s():.0f} s after the start, the keys live {self._ttl_s} s")
        lost, lost_confirmed = self._read_back()
        times = [writer.times_s() for writer in self._writers]
        # The last acks arrive after the stop when a writer was in an outage then.
        end = max(self._stopped, *(at[-1] for at in times if at), 0.0)
        latencies = sorted(ms for writer in self._writers for ms in writer.latencies_ms())
        errors = sum((writer.errors for writer in self._writers), Counter[str]())
        return LedgerReport(
            started_at=self._started_at,
            duration_s=end,
            writers=len(self._writers),
            acknowledged=self.acknowledged,
            confirmed=sum(writer.confirmed for writer in self._writers),
            lost=lost,
            lost_confirmed=lost_confirmed,
            attempts=sum(writer.attempts for writer in self._writers),
            abandoned=sum(writer.abandoned for writer in self._writers),
            errors=tuple(errors.most_common()),
            gaps=find_gaps(heapq.merge(*times), end, _GAP_THRESHOLD_MS),
            longest_gap_ms=longest_gap_ms(heapq.merge(*times), end),
            longest_writer_gap_ms=max(longest_gap_ms(at, end) for at in times),
            median_latency_ms=statistics.median(latencies) if latencies else None,
            p99_latency_ms=latencies[int(len(latencies) * 0.99)] if latencies else None,
        )

    def dump(self, path: Path) -> Path:
        """Write the raw samples, one JSON line for each acknowledgement in order of time. Returns `path`."""
        with path.open("w", encoding="ascii") as file:
            for at_s, number, index in heapq.merge(*map(self._timeline, range(len(self._writers)))):
                ack = self._writers[number][index]
                sample = {
                    "t_ms": round(at_s * 1000, 3),
                    "writer": number,
                    "seq": ack.seq,
                    "latency_ms": round(ack.latency_ms, 3),
                    "confirmed": ack.confirmed,
                }
                file.write(json.dumps(sample) + "\n")
        return path

    def cleanup(self) -> None:
        """Remove every key this ledger may have written, the unacknowledged ones too."""
        with connect(self._contract, options=self._options) as client:
            for writer in self._writers:
                for first in range(0, writer.next_seq, _BATCH):
                    keys = [writer.key(seq) for seq in range(first, min(first + _BATCH, writer.next_seq))]
                    client.call(lambda master, keys=keys: master.unlink(*keys))  # type: ignore[misc]

    def _run(self, writer: Writer) -> None:
        writer.run(self._started, self._stop, self._notify)

    def _notify(self) -> None:
        with self._acked:
            self._acked.notify_all()

    def _read_back(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        lost: list[str] = []
        lost_confirmed: list[str] = []
        # A new client: it finds the master of now, whatever the writers were connected to.
        with connect(self._contract, options=self._options) as client:
            for writer in self._writers:
                for first in range(0, len(writer), _BATCH):
                    acks = [writer[index] for index in range(first, min(first + _BATCH, len(writer)))]
                    keys = [writer.key(ack.seq) for ack in acks]
                    values = client.call(lambda master, keys=keys: master.mget(keys))  # type: ignore[misc]
                    for ack, key, value in zip(acks, keys, values, strict=True):
                        if value != str(ack.seq):
                            lost.append(key)
                            lost_confirmed.extend([key] if ack.confirmed else [])
        return tuple(lost), tuple(lost_confirmed)

    def _timeline(self, number: int) -> Iterator[tuple[float, int, int]]:
        return ((at, number, index) for index, at in enumerate(self._writers[number].times_s()))

    def _last_seen(self) -> str:
        errors = sum((writer.errors for writer in self._writers), Counter[str]())
        abandoned = next((writer.last_error for writer in self._writers if writer.last_error), "")
        return f"failed attempts: {dict(errors)}; last write given up: {abandoned or 'none'}"
