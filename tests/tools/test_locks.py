"""A lock goes only when its owner is proved dead."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.errors import BUSY, ToolError
from tools.locks import clear_dead_locks


def lock(folder: Path, pid: int, host: str = "", since: float | None = None) -> Path:
    """A lock as pulumi writes it, nanoseconds included."""
    shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() if since is None else since))
    content = {
        "pid": pid,
        "username": "ann",
        "hostname": host or socket.gethostname(),
        "timestamp": f"{shown}.123456789Z",
    }
    file = folder / f"{pid}.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_dead_owners_lock_is_cancelled(tmp_path: Path, dead_pid: int) -> None:
    cancelled: list[bool] = []
    clear_dead_locks([lock(tmp_path, dead_pid)], "dev", lambda: cancelled.append(True))
    assert cancelled == [True]


def test_a_reused_number_is_a_dead_owner(tmp_path: Path) -> None:
    cancelled: list[bool] = []
    an_hour_ago = time.time() - 3600 * 24 * 365
    clear_dead_locks([lock(tmp_path, os.getpid(), since=an_hour_ago)], "dev", lambda: cancelled.append(True))
    assert cancelled == [True]


@pytest.mark.parametrize("host", ["", "another-host"])
def test_an_owner_who_may_live_is_named_and_kept(tmp_path: Path, host: str, dead_pid: int) -> None:
    pid = dead_pid if host else os.getpid()
    files = [lock(tmp_path, pid, host), lock(tmp_path, dead_pid + 1)]
    with pytest.raises(ToolError, match=rf"pid {pid} of ann@{host or socket.gethostname()} since 20") as caught:
        clear_dead_locks(files, "dev", lambda: pytest.fail("cancelled"))
    assert caught.value.exit_code == BUSY
    assert "fix:" in str(caught.value)


def test_without_locks_nothing_is_cancelled(tmp_path: Path) -> None:
    clear_dead_locks([tmp_path / "gone.json"], "dev", lambda: pytest.fail("cancelled"))
