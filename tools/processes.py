"""Processes by identity, not by number: a pid is reused, a pid with its start time is not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
END_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Identity:
    """A process: its number, and its start as the kernel counts it, so that no step of the clock changes it."""

    pid: int
    start: str


def identify(pid: int) -> Identity | None:
    """The living process with this number; None when there is none (a zombie is none: it holds nothing)."""
    return _identify_by_proc(pid) if PROC.is_dir() else _identify_by_ps(pid)


def is_alive(process: Identity) -> bool:
    """Whether this very process lives, not another that got its number."""
    return identify(process.pid) == process


def started_at(process: Identity) -> float:
    """When it started, in seconds since the epoch (to about a second, and moved by a step of the clock)."""
    if not PROC.is_dir():
        return time.mktime(time.strptime(process.start, "%a %b %d %H:%M:%S %Y"))
    boot = next(line for line in (PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    ticks = int(process.start.rpartition(":")[2])
    return float(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _identify_by_proc(pid: int) -> Identity | None:
    try:
        # The name may hold blanks and brackets; what follows the last bracket is regular.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    # Ticks since the boot repeat after the next boot; its id does not.
    return Identity(pid, f"{(PROC / 'sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}")


def _identify_by_ps(pid: int) -> Identity | None:
    environment = {**os.environ, "LC_ALL": "C"}
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.split(None, 1)
    if len(answer) < 2 or answer[0].startswith("Z"):
        return None
    return Identity(pid, answer[1].strip())


def session_members(session: int) -> list[Identity]:
    """The living processes of a session."""
    members = []
    for pid in _all_pids():
        try:
            if os.getsid(pid) != session:
                continue
        except OSError:
            continue  # ended meanwhile, or not ours to ask about
        process = identify(pid)
        if process:
            members.append(process)
    return members


def _all_pids() -> list[int]:
    if PROC.is_dir():
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    answer = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in answer.split()]


def end(processes: Sequence[Identity], seconds: float = END_SECONDS) -> None:
    """SIGTERM, then SIGKILL to whoever is still there after so many seconds. Each is identified again before."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        for process in processes:
            if is_alive(process):
                send(process.pid, number)
        if _gone_within(processes, patience):
            return


def send(pid: int, number: int) -> None:
    """Send a signal; a process that has just ended is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _gone_within(processes: Sequence[Identity], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
