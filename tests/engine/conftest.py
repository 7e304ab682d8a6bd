"""One dev stack for the module: brought up by `make up`, taken down by `make down`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.engine.stack import Stack


def taken_down(stack: Stack) -> Iterator[Stack]:
    """Nothing of the stack survives the test, however it ended."""
    try:
        yield stack
        stack.make("down")
    finally:
        for pid in stack.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for stack in taken_down(Stack(tmp_path_factory.mktemp("stack"))):
        stack.make("up")
        yield stack


@pytest.fixture
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is not up yet."""
    yield from taken_down(Stack(tmp_path_factory.mktemp("new")))
