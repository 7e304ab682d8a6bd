"""A pytest plugin that turns each test into one Check, from what it raised and what it measured."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.exceptions import RedisError

from client.errors import describe
from client.handover import HandoverError
from smoke_tests.catalogue import Question, Spec, spec_of
from smoke_tests.evidence import Check
from smoke_tests.interruption import Interruption
from smoke_tests.result import Result, SampleFolder
from smoke_tests.scrub import Scrubber
from smoke_tests.verdict import Verdict, of_check

# What a deployment does to a check. Anything else that a check raises is the suite's own fault.
_THE_DEPLOYMENT = (AssertionError, RedisError, HandoverError, TimeoutError)


@dataclass(frozen=True)
class Setting:
    """What the checks' fixtures need to know about this run."""

    question: Question
    samples: SampleFolder


SETTING = pytest.StashKey[Setting]()
RESULT = pytest.StashKey[Result]()


class Recorder:
    """Collects a Check for each test that ran to its end; tells `begun` and `ended` while the run goes on."""

    def __init__(
        self,
        setting: Setting,
        scrub: Scrubber,
        command: tuple[str, ...],
        begun: Callable[[Spec], None],
        ended: Callable[[Check], None],
        interruption: Interruption,
    ) -> None:
        self._setting = setting
        self._scrub = scrub
        self._command = command
        self._begun = begun
        self._ended = ended
        self._interruption = interruption
        self._raised: list[BaseException] = []
        self.checks: list[Check] = []
        self.trouble = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[SETTING] = self._setting

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        self.trouble = self._scrub(f"pytest broke: {describe(excinfo.value)}")
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Generator[None, object, object]:
        self._interruption.raise_again()
        spec = spec_of(item.function)
        result = Result(spec.threshold(self._setting.question))
        item.stash[RESULT] = result
        self._raised = []
        self._begun(spec)
        started, begin = datetime.now(UTC), time.monotonic()
        done = yield
        # Not reached when the run is interrupted: half a check is none.
        check = self._check(spec, result, started, time.monotonic() - begin)
        self.checks.append(check)
        self._ended(check)
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
        if call.excinfo is not None:
            self._raised.append(call.excinfo.value)
        return (yield)

    def _check(self, spec: Spec, result: Result, started: datetime, seconds: float) -> Check:
        verdict, reason = classify(self._raised[0] if self._raised else None)
        final = of_check(verdict, measured=result.measured is not None)
        if final is not verdict:
            reason = "it measured nothing"
        return Check(
            check=spec.id,
            claim=spec.claim,
            threshold=result.threshold,
            measured=result.measured,
            verdict=final,
            reason=self._scrub(reason or result.reason),
            started=started,
            seconds=round(seconds, 3),
            command=shlex.join([*self._command, "--only", spec.id]),
            samples=result.samples,
        )


def classify(raised: BaseException | None) -> tuple[Verdict, str]:
    """PURE  What a check's exception says about it, and the reason in words."""
    if raised is None:
        return Verdict.PASS, ""
    if isinstance(raised, pytest.skip.Exception):
        return Verdict.INCONCLUSIVE, f"skipped: {raised}"
    if isinstance(raised, AssertionError):
        return Verdict.FAIL, str(raised)
    if isinstance(raised, _THE_DEPLOYMENT):
        return Verdict.FAIL, describe(raised)
    return Verdict.ERROR, describe(raised)
