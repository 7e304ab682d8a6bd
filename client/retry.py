"""Exponential backoff with jitter around a whole operation, bounded by a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from client.errors import NoReply, RedisUnavailable, describe, is_transient
from client.options import RetryOptions

Result = TypeVar("Result")


def delays(options: RetryOptions, jitter: Callable[[], float]) -> Iterator[float]:
    """Seconds to wait before each new try: doubling up to the longest, each scaled by `jitter()` (0-1) to 50-100 %.

    Half is kept, so that a struggling server gets its pause; half is random, so that clients do not come in step.
    """
    delay = options.first_delay_s
    while True:
        yield delay * (0.5 + 0.5 * jitter())
        delay = min(2 * delay, options.longest_delay_s)


def retry(
    operation: Callable[[], Result],
    options: RetryOptions,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Result:
    """Run `operation` until it succeeds, fails for good, or the deadline passes (then RedisUnavailable).

    Only for operations that are safe to repeat: when a connection breaks before the reply, nobody knows whether the
    server has run the command, and it is sent again.
    """
    started = clock()
    for tries, delay in enumerate(delays(options, jitter), start=1):
        try:
            return operation()
        except Exception as error:
            if not is_transient(error):
                raise
            elapsed = clock() - started
            if elapsed + delay > options.deadline_s:
                times = "1 try" if tries == 1 else f"{tries} tries"
                raise RedisUnavailable(
                    f"gave up after {elapsed:.1f} s and {times}; last seen: {_last(error)}"
                ) from error
        sleep(delay)
    raise AssertionError("unreachable: delays never end")


def until_answered(
    operation: Callable[[], Result], patience_s: float, clock: Callable[[], float] = time.monotonic
) -> Result:
    """Run a client's operation again when it was not answered in time, for `patience_s` at most.

    Only for what costs its node nothing and may run twice (one small SET): for it alone a slow answer can have no other
    cause than the machine or the network, and a repeat does no harm.
    """
    end = clock() + patience_s
    while True:
        try:
            return operation()
        except NoReply:
            if clock() >= end:
                raise


def _last(error: Exception) -> str:
    # Discovery's errors are already a sentence about what was seen.
    return str(error) if isinstance(error, RedisUnavailable) else describe(error)
