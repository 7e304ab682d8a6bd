"""Convergence waits for agreement, bounded, and an error says what it last saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.crosscheck import NodeView, Observation
from infra.contract import OperatorContract
from infra.targets import convergence
from infra.targets.process_control import NodeError
from tests.unit.test_contract import ENV

ENDPOINT = OperatorContract.from_env(ENV).nodes[0].endpoint
UP = Observation((NodeView("data-0", ENDPOINT, role="master"),), ())
DOWN = Observation((NodeView("data-0", ENDPOINT, error="connection refused"),), ())


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No real waiting. The deployment answers, but does not agree yet."""
    clock = Clock()
    monkeypatch.setattr(convergence, "time", clock)
    monkeypatch.setattr(convergence, "observe", lambda _contract: UP)
    return clock


def agree_at(clock: Clock, second: float) -> Callable[..., tuple[str, ...]]:
    """A cross-check that finds something until that second."""

    def findings(_contract: object, _seen: object, *, undeclared_too: bool) -> tuple[str, ...]:
        return () if clock.now >= second else (f"at {clock.now:.0f} s data-1 follows nobody",)

    return findings


def all_alive() -> None:
    """What `check_alive` does as long as every node runs."""


def test_converge_returns_as_soon_as_all_agree(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 3))
    convergence.converge(ENV, all_alive)
    assert 3 <= clock.now < 3.2


def test_converge_gives_up_and_says_what_it_last_saw(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1000))
    with pytest.raises(TimeoutError, match=r"not converged within 90 s:\n- at 90 s data-1 follows nobody") as caught:
        convergence.converge(ENV, all_alive)
    assert 90 <= clock.now < 91
    assert "MaRkEr" not in str(caught.value)


def test_converge_gives_up_at_once_when_a_node_died(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1000))

    def check_alive() -> None:
        if clock.now >= 2:
            raise NodeError(Path("/nowhere/data-1"), "does not run")

    with pytest.raises(NodeError, match="data-1: does not run"):
        convergence.converge(ENV, check_alive)
    assert 2 <= clock.now < 2.2


@pytest.mark.parametrize(("second", "converged"), [(0, True), (4, True), (6, False)])
def test_a_look_waits_for_the_end_of_a_change_that_is_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, second: float, converged: bool
) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, second))
    assert convergence.is_converged(ENV) is converged
    assert clock.now < 5.2


def test_a_look_does_not_wait_for_a_dead_node(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "observe", lambda _contract: DOWN)
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1))
    assert convergence.is_converged(ENV) is False
    assert clock.now == 0
