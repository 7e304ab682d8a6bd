"""Pulumi's locks in a file backend: removed only when their owner is proved dead."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tools.errors import BUSY, ToolError
from tools.processes import identify, started_at

# A process start is known to about a second, and a lock is written after its owner started. Within the tolerance we
# take the owner for alive: the doubtful case waits for a person.
TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class Lock:
    """Who holds a stack, as pulumi wrote it down: `since` in seconds since the epoch."""

    pid: int
    user: str
    host: str
    since: float
    shown_since: str


def read_lock(file: Path) -> Lock | None:
    """The lock in the file; None when it is gone meanwhile or unreadable (pulumi then reports it itself)."""
    try:
        content = json.loads(file.read_text())
        shown = str(content["timestamp"])
        # Pulumi writes nanoseconds, which Python's parser does not take.
        since = datetime.fromisoformat(f"{shown[:19]}+00:00").timestamp()
        return Lock(int(content["pid"]), str(content["username"]), str(content["hostname"]), since, shown)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_proved_dead(lock: Lock) -> bool:
    """Whether the owner was on this host and its number is free, or belongs to a process younger than the lock."""
    if lock.host != socket.gethostname():
        return False
    process = identify(lock.pid)
    return process is None or started_at(process) > lock.since + TOLERANCE_SECONDS


def clear_dead_locks(files: list[Path], stack: str, cancel: Callable[[], object]) -> None:
    """`cancel()` (which removes every lock) if all owners are proved dead. Raises ToolError (BUSY) if one may live."""
    locks = [lock for lock in map(read_lock, files) if lock]
    for lock in locks:
        if not is_proved_dead(lock):
            raise ToolError(
                f"stack '{stack}' is locked by pulumi with pid {lock.pid} of {lock.user}@{lock.host} since "
                f"{lock.shown_since}; nothing was changed\n"
                "  fix: wait until it ends; if you know that it is dead, run "
                f"`make pulumi STACK={stack} ARGS='cancel --yes'`",
                BUSY,
            )
    if locks:
        cancel()
