"""Backoff, deadline and which errors are worth another try."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from itertools import islice

import pytest
from redis import exceptions

from client.errors import AccessRefused, RedisUnavailable, describe, is_transient
from client.options import RetryOptions
from client.retry import delays, retry
from tests.client.fakes import FakeClock

UNVERIFIED = exceptions.ConnectionError("certificate verify failed")
UNVERIFIED.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")


def failing(*errors: Exception) -> Callable[[], str]:
    """An operation that raises these one after the other, then succeeds."""
    left = list(errors)

    def operation() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return operation


def run(operation: Callable[[], str], clock: FakeClock) -> str:
    return retry(operation, RetryOptions(), clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)


def test_delays_double_up_to_the_longest() -> None:
    assert list(islice(delays(RetryOptions(), lambda: 1.0), 6)) == [0.02, 0.04, 0.08, 0.16, 0.25, 0.25]


def test_jitter_takes_away_half_at_most() -> None:
    assert list(islice(delays(RetryOptions(), lambda: 0.0), 3)) == [0.01, 0.02, 0.04]


def test_a_transient_failure_is_repeated_after_the_backoff() -> None:
    clock = FakeClock()
    assert run(failing(exceptions.ReadOnlyError("x"), exceptions.TimeoutError("x")), clock) == "done"
    assert clock.naps == [0.02, 0.04]


def test_success_costs_no_time() -> None:
    clock = FakeClock()
    assert run(failing(), clock) == "done"
    assert clock.naps == []


def test_what_no_repeat_cures_is_raised_at_once() -> None:
    clock = FakeClock()
    with pytest.raises(exceptions.DataError):
        run(failing(exceptions.DataError("wrong type")), clock)
    assert clock.naps == []


def test_the_deadline_ends_it_and_the_error_says_what_was_last_seen() -> None:
    clock = FakeClock()
    refused = exceptions.ConnectionError("Error 111 connecting to 10.0.0.1:6379")
    with pytest.raises(
        RedisUnavailable, match=r"gave up after .* s and \d+ tries; last seen: ConnectionError: Error 111"
    ):
        run(failing(*[refused] * 1000), clock)
    assert 29 < clock.now <= 30


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (exceptions.ConnectionError("reset"), True),
        (exceptions.TimeoutError("slow"), True),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), True),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), True),
        (exceptions.MasterDownError("Link with MASTER is down"), True),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (exceptions.ResponseError("Command # 1 (SET a b) of pipeline caused error: NOREPLICAS Not enough"), True),
        (exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"), True),
        (RedisUnavailable("no master yet"), True),
        (AccessRefused("WRONGPASS"), False),
        (exceptions.AuthenticationError("invalid password"), False),
        (exceptions.NoPermissionError("this user has no permissions"), False),
        (UNVERIFIED, False),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), False),
        (exceptions.ResponseError("ERR value NOREPLICAS is not an integer"), False),
        (exceptions.OutOfMemoryError("command not allowed"), False),
        (KeyError("bug"), False),
    ],
    ids=str,
)
def test_is_worth_another_try(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_a_description_leaves_the_application_s_values_out() -> None:
    error = exceptions.ResponseError("Command # 2 (SET token s3cret) of pipeline caused error: NOREPLICAS Not enough")
    assert describe(error) == "ResponseError: command 2 of the pipeline: NOREPLICAS Not enough"
