"""Which acknowledged writes count as lost, with a clock of our own."""

from __future__ import annotations

import time

from prober.acks import Ack, PendingAcks


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pending(*at_s: float) -> tuple[PendingAcks, Clock, list[Ack]]:
    clock = Clock()
    acks = [Ack(f"k{n}", str(n), at, at + 100) for n, at in enumerate(at_s)]
    found = PendingAcks(15, clock)
    for ack in acks:
        found.add(ack)
    return found, clock, acks


def test_the_newest_is_read_until_the_oldest_is_due() -> None:
    found, clock, (first, second) = pending(0, 1)
    assert found.next() == second
    assert not found.answered(second, "1")
    clock.now = 15
    assert found.next() == first
    assert not found.answered(first, "0")
    assert found.oldest() == second


def test_a_missing_or_changed_write_is_lost_once() -> None:
    found, _, (first, second) = pending(0, 1)
    assert found.answered(second, None)
    assert not found.answered(second, None)
    assert found.answered(first, "7")
    assert found.next() is None


def test_what_may_have_expired_is_not_lost() -> None:
    found, clock, (first, _second) = pending(0, 1)
    clock.now = 100
    assert not found.answered(first, None)
    assert len(found) == 1


def test_the_last_read_takes_it_whatever_its_age() -> None:
    found, _, (first,) = pending(0)
    assert not found.answered(first, "0", last=True)
    assert len(found) == 0


def test_how_many_are_pending_costs_the_next_operation_nothing() -> None:
    """Seen: a prober's first seconds were measured half as slow again, for it searched its own books."""
    found, _, acks = pending(*(n / 10_000 for n in range(100_000)))
    began = time.perf_counter()
    for _ in range(100):
        assert found.next() == acks[-1]
        assert not found.answered(acks[-1], acks[-1].value)
    assert time.perf_counter() - began < 0.1
