"""Watches, ten times a second, who says role:master: two of them at once must be the exception of a moment."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from threading import Event, Lock, Thread
from typing import Self

from redis.exceptions import RedisError

from client.links import open_as
from infra.contract import NodeAddress, OperatorContract

LOOK_EVERY_S = 0.1
PATIENCE_S = 0.3  # a node that takes longer hangs: it serves nobody as a master


class Watch:
    """`blind`: no majority of Sentinels runs, so nobody can demote anybody. What lasts then is not counted."""

    def __init__(self, contract: OperatorContract) -> None:
        self._contract = contract
        self._stop = Event()
        self._threads = [Thread(target=self._look, args=(node,), daemon=True) for node in contract.nodes]
        self._lock = Lock()
        self._masters: set[str] = set()
        self._since = 0.0
        self._excused_until = 0.0
        self._blind = False
        self._longest = 0.0
        self._who = ""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)

    @property
    def blind(self) -> bool:
        return self._blind

    @blind.setter
    def blind(self, value: bool) -> None:
        with self._lock:
            self._blind = value
            if value:
                self._since = time.monotonic()

    def disturbed(self, seconds: float) -> None:
        """For so long from now the Sentinels may be busy with what was done to them."""
        with self._lock:
            self._excused_until = max(self._excused_until, time.monotonic() + seconds)

    def longest(self) -> tuple[float, str]:
        """For how long two said role:master since the last call, in seconds; and who."""
        with self._lock:
            longest, self._longest = self._longest, 0.0
            return longest, self._who

    def _look(self, node: NodeAddress) -> None:
        with closing(open_as(self._contract, "monitor", node.endpoint, PATIENCE_S)) as link:
            while not self._stop.wait(LOOK_EVERY_S):
                is_master = False
                with suppress(RedisError, OSError):
                    is_master = link.execute_command("ROLE")[0] == "master"  # type: ignore[no-untyped-call]
                self._saw(node.name, is_master)

    def _saw(self, name: str, is_master: bool) -> None:
        now = time.monotonic()
        with self._lock:
            before = len(self._masters)
            (self._masters.add if is_master else self._masters.discard)(name)
            if len(self._masters) < 2:
                return
            if before < 2 or self._blind:
                self._since = now
            lasted = now - max(self._since, self._excused_until)
            if lasted > self._longest:
                self._longest, self._who = lasted, ", ".join(sorted(self._masters))
