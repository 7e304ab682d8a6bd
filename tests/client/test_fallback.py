"""The in-memory copy: bounded, and never older than it may be."""

from __future__ import annotations

from client.fallback import Fallback
from client.options import FallbackOptions
from tests.client.fakes import FakeClock


def memory(clock: FakeClock, entries: int = 2) -> Fallback:
    return Fallback(FallbackOptions(max_entries=entries, max_ttl_s=60, pause_s=1), clock)


def test_an_entry_expires_with_its_time_to_live() -> None:
    clock = FakeClock()
    fallback = memory(clock)
    fallback.put("a", "1", ttl_s=5)
    clock.now = 4.9
    assert fallback.get("a") == "1"
    clock.now = 5.0
    assert fallback.get("a") is None
    assert len(fallback) == 0


def test_nothing_lives_longer_than_the_options_allow() -> None:
    clock = FakeClock()
    fallback = memory(clock)
    fallback.put("forever", "1", ttl_s=None)
    fallback.put("long", "1", ttl_s=1000)
    clock.now = 60
    assert fallback.get("forever") is None
    assert fallback.get("long") is None


def test_the_least_recently_used_entry_goes_first() -> None:
    fallback = memory(FakeClock())
    fallback.put("a", "1", None)
    fallback.put("b", "2", None)
    fallback.get("a")
    fallback.put("c", "3", None)
    assert [fallback.get(key) for key in "abc"] == ["1", None, "3"]


def test_a_deleted_entry_is_gone() -> None:
    fallback = memory(FakeClock())
    fallback.put("a", "1", None)
    fallback.forget("a")
    assert fallback.get("a") is None


def test_redis_is_left_alone_for_a_moment_after_a_failure() -> None:
    clock = FakeClock()
    fallback = memory(clock)
    assert not fallback.is_away
    fallback.mark_away()
    assert fallback.is_away
    clock.now = 1.0
    assert not fallback.is_away
