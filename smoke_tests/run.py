"""One run: which checks apply, pytest over those, and the Evidence that comes of it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from client.errors import describe
from client.links import open_as
from infra.contract import OperatorContract
from smoke_tests.catalogue import Question, Spec
from smoke_tests.display import Display
from smoke_tests.evidence import Evidence, NotApplicable
from smoke_tests.interruption import Interruption
from smoke_tests.recorder import Recorder, Setting
from smoke_tests.result import SampleFolder
from smoke_tests.scrub import Scrubber
from smoke_tests.verdict import of_run

_PYTEST_OPTIONS = (
    f"--config-file={os.devnull}",
    f"--rootdir={Path(__file__).parent}",
    "--disable-plugin-autoload",
    # Plain asserts: rewritten ones print the values of their operands.
    "--assert=plain",
    "--capture=no",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:terminal",
)


@dataclass(frozen=True)
class Order:
    """What is to be run. `asked`: the checks of this run; `known`: every check; `command`: how it was asked for."""

    question: Question
    known: Sequence[Spec]
    asked: Sequence[Spec]
    command: tuple[str, ...]
    repeat: tuple[str, ...]  # the same without the choice of checks


def run(order: Order, path: Path, scrub: Scrubber, display: Display, interruption: Interruption) -> Evidence:
    """Run the checks. `path` is where the evidence will be written: raw samples go beside it."""
    contract = order.question.contract
    started, begin = datetime.now(UTC), time.monotonic()
    applicable = [spec for spec in order.asked if contract.sentinel_enabled or not spec.sentinel_only]
    display.start(contract, len(applicable))
    samples = SampleFolder(path.with_suffix(""), scrub)
    recorder = Recorder(
        Setting(order.question, samples), scrub, order.repeat, display.begun, display.ended, interruption
    )
    code = pytest.ExitCode.NO_TESTS_COLLECTED
    # What this machine's user likes to give pytest, such as `-k` or `-v`, is nothing to the gate.
    os.environ.pop("PYTEST_ADDOPTS", None)
    if applicable:
        code = pytest.ExitCode(pytest.main([*_PYTEST_OPTIONS, *(spec.node_id for spec in applicable)], [recorder]))
    left_out = tuple(_not_applicable(spec) for spec in order.asked if spec not in applicable)
    display.not_applicable(left_out)
    ran = {check.check for check in recorder.checks}
    reached = ran.issuperset(spec.id for spec in applicable)
    trouble = recorder.trouble or _trouble(code, reached=reached)
    interrupted = interruption.asked or code is pytest.ExitCode.INTERRUPTED
    verdicts = [check.verdict for check in recorder.checks]
    return Evidence(
        stack=contract.stack,
        mode="sentinel" if contract.sentinel_enabled else "standalone",
        server=scrub(_server(contract)),
        started=started,
        seconds=round(time.monotonic() - begin, 3),
        command=scrub(shlex.join(order.command)),
        verdict=of_run(verdicts, complete=not interrupted, broken=bool(trouble)),
        checks=tuple(recorder.checks),
        not_applicable=left_out,
        not_run=tuple(spec.id for spec in order.known if spec.id not in ran | {each.check for each in left_out}),
        interrupted=interrupted,
        trouble=trouble,
    )


def _not_applicable(spec: Spec) -> NotApplicable:
    return NotApplicable(check=spec.id, claim=spec.claim, reason="a standalone deployment has no Sentinels or replicas")


def _trouble(code: pytest.ExitCode, *, reached: bool) -> str:
    if code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        return f"pytest ended with {code.name}"
    if not reached and code is not pytest.ExitCode.INTERRUPTED:
        return "pytest left out checks that it was asked to run"
    return ""


def _server(contract: OperatorContract) -> str:
    """The version that the first node which answers says it runs."""
    last = ""
    for node in contract.nodes:
        try:
            with open_as(contract, "monitor", node.endpoint, 1.0) as link:
                info = link.info("server")
        except RedisError as error:
            last = describe(error)
        else:
            flavour = "valkey" if "valkey_version" in info else "redis"
            return f"{flavour} {info[f'{flavour}_version']}"
    return f"unknown: {last}"
