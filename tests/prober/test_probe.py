"""The prober's own part in what it measures: none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from prober import probe
from prober.__main__ import main
from prober.acks import Ack, PendingAcks
from prober.probe import Prober, Trickle
from prober.samples import Sample, read_samples
from tests.prober.running import contract_file
from tests.smoke.samples import CONTRACT

BOOKS_S = 0.03


class Server:
    """A client whose server answers at once."""

    master = None

    def __init__(self, *_: object, **__: object) -> None:
        self._values: dict[str, str] = {}

    def call(self, command: Callable[[Any], Any]) -> Any:
        return command(self)

    def set(self, key: str, value: str, ex: int) -> bool:
        self._values[key] = value
        return bool(ex)

    def get(self, key: str) -> str:
        return self._values[key]

    def close(self) -> None: ...


class SlowBooks(PendingAcks):
    """Keeping them takes a while."""

    def add(self, ack: Ack) -> None:
        time.sleep(BOOKS_S)
        super().add(ack)

    def answered(self, ack: Ack, value: str | bytes | None, *, last: bool = False) -> bool:
        time.sleep(BOOKS_S)
        return super().answered(ack, value, last=last)


def probed(rate: float, for_s: float) -> list[Sample]:
    seen: list[Sample] = []
    contract, stop = CONTRACT.application().model_copy(update={"sentinel_enabled": False}), Event()
    Timer(for_s, stop.set).start()
    Prober(contract, Trickle("r", rate=rate), seen.append).run(stop)
    return seen


def test_it_is_in_step_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "connect", Server)
    # What is read back at the end is in no turn.
    turns = [each.monotonic_s * 25 for each in probed(rate=25, for_s=6)][:130]
    assert turns[-1] - turns[0] > 120, "no faster than it was told"
    quarters = [int(4 * turn) % 4 for turn in turns]
    assert min(quarters.count(quarter) for quarter in range(4)) >= 12, "32 are expected in each"
    assert max(Counter(map(int, turns)).values()) <= 3, "no bursts"


def test_what_is_read_back_at_the_end_is_nobodys_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "connect", Server)
    seen = probed(rate=100, for_s=0.5)
    untimed = [each for each in seen if each.latency_ms is None]
    assert untimed and untimed == seen[-len(untimed) :], "nothing else is without one"
    assert all(each.ok and each.operation == "read" for each in untimed)


def test_its_own_books_are_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "connect", Server)
    monkeypatch.setattr(probe, "PendingAcks", SlowBooks)
    seen = probed(rate=100, for_s=0.5)
    assert {each.operation for each in seen} == {"write", "read"}
    assert all(each.ok and not each.lost_acks for each in seen)
    latencies = sorted(each.latency_ms for each in seen if each.latency_ms is not None)
    assert latencies[len(latencies) // 2] < 1000 * BOOKS_S / 2


def test_samples_name_the_stack_whose_contract_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's file tells, the application's does not."""
    monkeypatch.setattr(probe, "connect", Server)
    operators = CONTRACT.model_copy(update={"sentinel_enabled": False})
    for name, contract, stack in (("ours", operators, CONTRACT.stack), ("theirs", operators.application(), None)):
        folder = tmp_path / name
        folder.mkdir()
        arguments = ["--contract", str(contract_file(contract, folder)), "--out", str(folder / "out")]
        assert main([*arguments, "--release", "r", "--for", "0.3s", "--rate", "50"]) == 0
        assert {each.stack for each in read_samples(folder / "out")} == {stack}
