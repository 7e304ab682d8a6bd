"""Law 5: the passwords are nowhere but where they must be."""

from __future__ import annotations

import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.stack import Stack

pytestmark = pytest.mark.engine


YOUNG_S = 2


class CommandLines(threading.Thread):
    """Every command line of the machine, looked at all the time.

    A process has its last one soon after it began: who is old is not read again, and the machine has time for others.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.done = threading.Event()

    def run(self) -> None:
        first_seen: dict[Path, float] = {}
        while not self.done.wait(0.001):
            now = time.monotonic()
            first_seen = {folder: first_seen.get(folder, now) for folder in Path("/proc").glob("[0-9]*")}
            for folder, since in first_seen.items():
                if now - since < YOUNG_S:
                    with suppress(OSError):  # it ended meanwhile
                        self.seen.add((folder / "cmdline").read_bytes())


def test_passwords_are_in_no_argument_log_state_output_or_evidence(new_stack: Stack) -> None:
    watch = CommandLines()
    watch.start()
    evidence = new_stack.home / "evidence"
    outputs = [new_stack.make("up"), new_stack.make("failover"), new_stack.make("status")]
    outputs.append(new_stack.smoke(evidence))
    new_stack.configure(new_stack.settings | {"quorum": "9"})
    outputs.append(new_stack.make("up", fails=True))
    contract = new_stack.contract()
    assert watch.is_alive(), "nobody looked at command lines to the end"
    watch.done.set()
    watch.join()
    passwords = [secret.get_secret_value() for secret in (contract.password, *contract.users.values())]
    assert len(set(passwords)) == 5
    assert all(len(password) >= 32 for password in passwords)
    for password in passwords:
        assert not any(password in output for output in outputs)
        assert not any(password.encode() in line for line in watch.seen)
        assert _files_with(password, evidence) == []
        holders = _files_with(password, new_stack.state)
        # What a server reads must be in the clear for it: its own files, which only its user can read.
        for path in holders:
            assert path.parent.name in ("conf", "run", "data"), path
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert watch.seen


def _files_with(password: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
