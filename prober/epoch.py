"""The Sentinels' configuration epoch, asked beside the probing so that a silent Sentinel holds up no sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread

from client.discovery import ask_all
from client.options import Options
from client.probes import Probes
from infra.contract import Contract

_INTERVAL_S = 1.0
_PATIENCE_S = 1.0
_FRESH_S = 5.0


class EpochWatch:
    """`epoch` is the latest one that any Sentinel knows; None in standalone mode, or when none answered for 5 s."""

    def __init__(self, contract: Contract, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._contract = contract
        self._probes = Probes(contract, options)
        self._clock = clock
        self._seen: tuple[float, int] | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    @property
    def epoch(self) -> int | None:
        seen = self._seen
        return seen[1] if seen and self._clock() - seen[0] <= _FRESH_S else None

    def start(self) -> None:
        if self._contract.sentinel_enabled:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while True:
            views = ask_all(self._probes.sentinel, self._contract.sentinels, patience_s=_PATIENCE_S).values()
            epochs = [view.epoch for view in views if not view.error]
            if epochs:
                self._seen = self._clock(), max(epochs)
            if self._stop.wait(_INTERVAL_S):
                return
