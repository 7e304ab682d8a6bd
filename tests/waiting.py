"""Waiting with a bound: for what must come to hold, and for what must never."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def await_that(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Wait until `condition` returns something true, and return that. AssertionError with what it last saw."""
    end = time.monotonic() + seconds
    while True:
        last: object
        try:
            last = condition()
            if last:
                return last
        except Exception as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s; last saw {last!r}")
        time.sleep(0.02)


def never(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Watch for a bounded window; AssertionError as soon as `condition` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), what
        time.sleep(0.1)
