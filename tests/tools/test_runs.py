"""One run at a time; what a killed run leaves is ended by the next one; other sessions are never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tools import runs
from tools.errors import BUSY, ToolError
from tools.processes import Identity, identify, is_alive

# A leader as pulumi is: a child in a process group of its own, and a node in a session of its own.
LEADER = """
import os, subprocess, sys
sleep = [sys.executable, "-c", "import signal; signal.pause()"]
helper = subprocess.Popen(sleep, process_group=0)
node = subprocess.Popen(sleep, start_new_session=True, env={})
open(sys.argv[1], "w").write(f"{helper.pid} {node.pid}\\n")
if sys.argv[2] == "stay":
    helper.wait()
"""


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 10 s"
        time.sleep(0.01)


def children(file: Path) -> tuple[Identity, Identity]:
    """The helper and the node, once both run."""
    await_that(lambda: file.exists() and file.read_text().endswith("\n"))
    helper, node = (identify(int(pid)) for pid in file.read_text().split())
    assert helper and node
    return helper, node


def leader(file: Path, stay: str) -> list[str]:
    return [sys.executable, "-c", LEADER, str(file), stay]


def test_what_a_run_leaves_is_ended_and_nodes_survive(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = runs.run_pulumi(leader(pids, "go"), os.environ, tmp_path, tmp_path / "dev", "up dev")
    helper, node = (identify(int(pid)) for pid in pids.read_text().split())
    try:
        assert (code, helper) == (0, None)
        assert node
    finally:
        if node:
            os.kill(node.pid, signal.SIGKILL)
    assert not (tmp_path / "dev" / "up.json").exists()


@pytest.fixture
def killed_run(tmp_path: Path) -> tuple[Identity, Identity, Path]:
    """A run of which everything but the helper and the node was killed -9: (helper, node, the stack's folder)."""
    folder, pids = tmp_path / "dev", tmp_path / "pids"
    folder.mkdir()
    process = subprocess.Popen(leader(pids, "stay"), env={**os.environ, runs.MARKER: "mark"}, start_new_session=True)
    helper, node = children(pids)
    itself = identify(process.pid)
    assert itself
    record(folder, itself, "mark")
    process.kill()
    process.wait()
    return helper, node, folder


def record(folder: Path, itself: Identity, mark: str) -> None:
    (folder / "up.json").write_text(json.dumps(asdict(runs.Run(itself, mark, "up dev", "2026-01-01 10:00:00"))))


def test_the_next_run_ends_what_a_killed_one_left(killed_run: tuple[Identity, Identity, Path]) -> None:
    helper, node, folder = killed_run
    try:
        with runs.only_one(folder, "dev", "up dev"):
            assert not is_alive(helper)
        assert is_alive(node)
        assert not (folder / "up.json").exists()
    finally:
        os.kill(node.pid, signal.SIGKILL)


def test_a_stranger_with_the_sessions_number_is_spared(killed_run: tuple[Identity, Identity, Path]) -> None:
    helper, node, folder = killed_run
    content = json.loads((folder / "up.json").read_text())
    (folder / "up.json").write_text(json.dumps({**content, "mark": "another run's"}))
    try:
        with runs.only_one(folder, "dev", "up dev"):
            assert is_alive(helper)
    finally:
        os.kill(helper.pid, signal.SIGKILL)
        os.kill(node.pid, signal.SIGKILL)


def test_a_pulumi_that_outlives_its_wrapper_is_busy(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    itself = identify(os.getpid())
    assert itself
    record(tmp_path / "dev", itself, "mark")
    with pytest.raises(ToolError, match=rf"pid {os.getpid()}, since 2026-01-01 10:00:00") as caught:
        runs.only_one(tmp_path / "dev", "dev", "up dev").__enter__()
    assert caught.value.exit_code == BUSY


def test_the_second_of_two_runs_is_refused(tmp_path: Path) -> None:
    with (
        runs.only_one(tmp_path / "dev", "dev", "up dev"),
        pytest.raises(ToolError, match=rf"`up dev`, pid {os.getpid()}, since .*; nothing was changed"),
    ):
        runs.only_one(tmp_path / "dev", "dev", "down dev").__enter__()


def test_a_killed_run_counts_as_failed(tmp_path: Path) -> None:
    command = ["sh", "-c", "kill -9 $$"]
    assert runs.run_pulumi(command, os.environ, tmp_path, tmp_path / "dev", "up dev") == 128 + signal.SIGKILL
