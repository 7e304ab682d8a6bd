"""One pulumi at a time on a stack: in a session of its own, on record, and with nothing left of it when it ends.

Pulumi puts each of its helpers into a process group of its own, but all stay in its session. Nodes that the process
target starts are in sessions of their own and are never touched.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from tools.errors import BUSY, ToolError
from tools.private_files import private_folder, replace
from tools.processes import PROC, Identity, end, identify, is_alive, send, session_members

MARKER = "REDIS_SENTINEL_RUN"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Run:
    """A pulumi that was started: its process, which leads its session, and a mark in its environment."""

    leader: Identity
    mark: str
    what: str
    since: str


@contextmanager
def only_one(folder: Path, stack: str, what: str) -> Iterator[None]:
    """Hold the stack, and end what a dead earlier run left. Raises ToolError (BUSY) when somebody else holds it."""
    handle = os.open(private_folder(folder) / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            # The kernel frees it when its owner dies, however it dies.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(stack, os.pread(handle, 200, 0).decode()) from None
        _end_dead_run(folder, stack)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"`{what}`, pid {os.getpid()}, since {_now()}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _busy(stack: str, who: str) -> ToolError:
    return ToolError(
        f"stack '{stack}' is being changed by another run: {who or 'one that has just begun'}; nothing was changed\n"
        "  fix: wait until it ends, or interrupt it (Ctrl-C in its terminal), then run the command again",
        BUSY,
    )


def _end_dead_run(folder: Path, stack: str) -> None:
    run = _recorded(folder)
    if not run:
        return
    if is_alive(run.leader):
        # Its wrapper was killed, pulumi was not: it goes on and will finish by itself.
        raise _busy(stack, f"`{run.what}`, pulumi's pid {run.leader.pid}, since {run.since}")
    left = _leftovers(run)
    if left:
        print(f"ending {len(left)} processes that a killed `{run.what}` (since {run.since}) left", file=sys.stderr)
        end(left)
    _record_file(folder).unlink(missing_ok=True)


def _leftovers(run: Run) -> list[Identity]:
    """What lives of its session, the leader too. If its number belongs to a stranger now, nothing of it is left."""
    now = identify(run.leader.pid)
    if now and now != run.leader:
        return []
    return [member for member in session_members(run.leader.pid) if _is_marked(member, run.mark)]


def _is_marked(process: Identity, mark: str) -> bool:
    """Proof that the session is the recorded run's and not a later one with the same number."""
    if not PROC.is_dir():
        return True
    try:
        return f"{MARKER}={mark}".encode() in (PROC / str(process.pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def run_pulumi(command: Sequence[str], environment: Mapping[str, str], place: Path, folder: Path, what: str) -> int:
    """Run pulumi to its end and return its exit code (128 + n for signal n).

    A first signal asks it to stop after the operations under way, a second one kills it.
    """
    mark = secrets.token_hex(16)
    record = _record_file(folder)

    def put_on_record() -> None:
        """In the child, before pulumi begins: whoever dies next, the record is there."""
        leader = identify(os.getpid())
        if leader:
            replace(record, json.dumps(asdict(Run(leader, mark, what, _now()))))

    with _forwarding() as forward:
        process = subprocess.Popen(
            command,
            cwd=place,
            env={**environment, MARKER: mark},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=put_on_record,
        )
        forward.append(process.pid)
        try:
            code = process.wait()
        finally:
            run = _recorded(folder)
            if run:
                end(_leftovers(run))
                record.unlink(missing_ok=True)
    return 128 - code if code < 0 else code


@contextmanager
def _forwarding() -> Iterator[list[int]]:
    """Signals to us go to the leader of the session whose number the caller appends."""
    leaders: list[int] = []
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if not leaders:
            raise KeyboardInterrupt
        if len(received) == 1:
            print("interrupted: waiting for the operations under way (once more: kill)", file=sys.stderr, flush=True)
            send(leaders[0], signal.SIGINT)
        else:
            for process in session_members(leaders[0]):
                send(process.pid, signal.SIGKILL)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield leaders
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _record_file(folder: Path) -> Path:
    return folder / "up.json"


def _recorded(folder: Path) -> Run | None:
    try:
        content = json.loads(_record_file(folder).read_text())
        return Run(Identity(**content.pop("leader")), **content)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ToolError(f"{_record_file(folder)} is damaged\n  fix: see that no pulumi runs, then remove it") from None


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
