"""What the checks share: the contract, this run's own keys, one look at the whole deployment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from client.crosscheck import Observation, findings, observe
from infra.contract import Contract, OperatorContract
from smoke_tests.catalogue import Question
from smoke_tests.evidence import Samples
from smoke_tests.recorder import RESULT, SETTING
from smoke_tests.result import Result, SampleFolder

T = TypeVar("T")

# Long enough for a change that is under way to end (a hello, an INFO), too short for Sentinels to repair what is wrong.
SETTLE_S = 2.0


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Result:
    """Where the check hands in its figure."""
    found: Result = request.node.stash[RESULT]
    return found


@pytest.fixture(scope="session")
def question(request: pytest.FixtureRequest) -> Question:
    return request.config.stash[SETTING].question


@pytest.fixture(scope="session")
def samples(request: pytest.FixtureRequest) -> SampleFolder:
    return request.config.stash[SETTING].samples


@pytest.fixture(scope="session")
def contract(question: Question) -> OperatorContract:
    """The operator's contract."""
    return question.contract


@pytest.fixture(scope="session")
def app(contract: OperatorContract) -> Contract:
    """What an application gets, and no more."""
    return contract.application()


@pytest.fixture(scope="session")
def prefix() -> str:
    """Every key of this run starts with it, and has a time to live besides."""
    return f"smoke:{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def seen_samples(seen: Observation, samples: SampleFolder) -> Samples:
    """The raw answers behind `seen`."""
    return samples.lines("observation", map(vars, seen.everybody))


@pytest.fixture(scope="session")
def seen(contract: OperatorContract) -> Observation:
    """Everybody's word at the start of the run, after SETTLE_S at most if they do not agree at once."""
    return eventually(lambda: observe(contract), lambda seen: not findings(contract, seen), SETTLE_S)


def eventually(ask: Callable[[], T], enough: Callable[[T], bool], seconds: float) -> T:
    """Ask until the answer is good enough or the time is over; the last answer either way."""
    end = time.monotonic() + seconds
    while not enough(answer := ask()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer
