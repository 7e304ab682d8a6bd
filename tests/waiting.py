"""Waiting with a bound: for what must come to hold, and for what must never."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

BESIDE_OTHERS = "TESTS_BESIDE_OTHERS"
"""In the environment where tests of other lanes run at the same time; see tests/lanes.py."""
SLACK = 3 if BESIDE_OTHERS in os.environ else 1
"""By how much a bound of time is wider there: whoever measures time is marked `timed` and has the machine to itself."""


def await_that(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Wait until `condition` returns something true, and return that. AssertionError with what it last saw.

    The bound is wider beside others. A condition that takes long to look at is looked at less often: whoever is waited
    for needs the machine.
    """
    seconds *= SLACK
    end = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        last: object
        try:
            last = condition()
            if last:
                return last
        except Exception as error:
            last = error
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"{what}: not within {seconds} s; last saw {last!r}")
        time.sleep(min(0.5, max(0.02, 3 * (now - begun))))


def await_settled(trouble: Callable[[], object], settled_s: float, seconds: float, what: str) -> None:
    """Wait until `trouble` has returned nothing for `settled_s` on end: for what may come and go before it settles."""
    seconds *= SLACK
    since = time.monotonic()
    end = since + seconds
    while time.monotonic() < since + settled_s:
        if last := trouble():
            since = time.monotonic()
            assert since < end, f"{what}: not within {seconds} s; last saw {last!r}"
        time.sleep(0.1)


def never(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Watch for a bounded window; AssertionError as soon as `condition` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), what
        time.sleep(0.1)
