"""Two writers beside the outages: one whose every key WAIT is asked to confirm, one that takes the master's word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Event, Thread
from typing import Self

from client.connect import connect
from client.links import open_node
from client.options import Options
from client.writer import WriteOptions, Writer
from infra.contract import NodeAddress, OperatorContract

INTERVAL_S = 0.02
_BATCH = 1000


class Keys:
    """Every key is written once and never again: who misses one has lost it."""

    def __init__(self, contract: OperatorContract) -> None:
        self._contract = contract
        self._client = connect(contract)
        self._confirming = Writer(self._client, "confirmed:", WriteOptions(INTERVAL_S, wait_replicas=1))
        self._plain = Writer(self._client, "plain:", WriteOptions(INTERVAL_S))
        self._stop = Event()
        self._started = time.monotonic()
        self._threads = [
            Thread(target=writer.run, args=(self._started, self._stop, lambda: None), daemon=True)
            for writer in (self._confirming, self._plain)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)  # a write under way may use up the client's deadline
        self._client.close()

    @property
    def acknowledged(self) -> int:
        """By the plain writer, so far."""
        return len(self._plain)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def confirmed(self) -> dict[str, float]:
        """Every key that WAIT has confirmed so far, and when that was."""
        writer = self._confirming
        acks = (writer[index] for index in range(len(writer)))
        return {writer.key(ack.seq): ack.at_s for ack in acks if ack.confirmed}

    def lost_plain(self, node: NodeAddress, first: int, end: int) -> int:
        """How many of the plain writer's acknowledgements from `first` to `end` are of keys that this node lacks."""
        return len(self.missing([self._plain.key(self._plain[index].seq) for index in range(first, end)], node))

    def missing(self, keys: list[str], node: NodeAddress) -> list[str]:
        """Those of these keys that this node does not have."""
        with closing(open_node(self._contract, Options(timeout_s=5), node.endpoint)) as link:
            found = (value for batch in _batches(keys) for value in link.mget(batch))
            return [key for key, value in zip(keys, found, strict=True) if value != key.rpartition(":")[2]]


def _batches(keys: list[str]) -> Iterator[list[str]]:
    return (keys[first : first + _BATCH] for first in range(0, len(keys), _BATCH))
