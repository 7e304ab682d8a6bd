"""Where the project is, and what its user's shell allows: it works, or one line says what to do."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from client.connect import connect
from tests.deployment import await_that
from tests.engine.stack import Stack, await_converged

pytestmark = pytest.mark.engine


def stack_in(home: Path, settings: dict[str, str] | None = None) -> Stack:
    """A stack in this folder, which is made; with these settings if they are given."""
    home.mkdir(exist_ok=True)
    made = Stack(home)
    made.configure(settings or made.settings)
    return made


def kill_all(*stacks: Stack) -> None:
    for stack in stacks:
        for pid in stack.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_path_with_a_blank_is_one_problem_with_a_fix(tmp_path: Path) -> None:
    stack = stack_in(tmp_path / "my space")
    try:
        output = stack.make("up", fails=True)
        assert "my space" in output
        assert "fix: name another folder in REDIS_STATE_DIR" in output
        assert "Traceback" not in output
        assert not stack.nodes.exists()
        assert stack.processes() == {}
    finally:
        kill_all(stack)


@pytest.mark.nightly
def test_a_stack_that_is_moved_while_it_runs_can_be_ended(tmp_path: Path) -> None:
    stack = there = stack_in(tmp_path / "here")
    try:
        stack.make("up")
        stack.home.rename(tmp_path / "there")
        there = stack_in(tmp_path / "there", stack.settings)
        for command in ("up", "down"):
            refused = there.make(command, fails=True)
            assert f"was moved from {stack.state} to {there.state} while its nodes run" in refused
            assert "fix: " in refused
        stack.home.mkdir()
        stack.state.symlink_to(there.state)
        assert "fix: " in there.make("up", fails=True), "the link is there for `down` alone"
        assert "is gone" in there.make("down")
        assert there.processes() == {}
        assert stack.processes() == {}
    finally:
        kill_all(stack, there)


@pytest.mark.nightly
def test_a_stack_that_was_moved_while_it_was_down_comes_up_with_its_data(tmp_path: Path) -> None:
    stack = there = stack_in(tmp_path / "here")
    try:
        stack.make("up")
        with connect(stack.contract()) as client:
            client.set("kept", "yes")
        kill_all(stack)
        await_that(lambda: stack.processes() == {}, 10, "the end of every node")
        stack.home.rename(tmp_path / "there")
        there = stack_in(tmp_path / "there", stack.settings)
        there.make("up")
        await_converged(there.contract())
        with connect(there.contract()) as client:
            assert client.get("kept") == "yes"
        there.make("down")
    finally:
        kill_all(stack, there)
