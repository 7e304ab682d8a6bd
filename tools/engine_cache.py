"""A folder in the user's cache that is either complete or absent, made by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tools.engine_parts import EngineRefused
from tools.progress import Say, heartbeat

WAIT_SECONDS = 2400.0
POLL_SECONDS = 0.5

T = TypeVar("T")


def cached_or_made(
    folder: Path, accept: Callable[[Path], T], make: Callable[[Path, Say], None], say: Say, wait: float = WAIT_SECONDS
) -> T:
    """`accept(folder)` if it is there and serves; else `make` it beside, rename it into place, and accept that.

    `accept` raises EngineRefused when the folder does not serve; `make` fills an empty folder or raises EngineRefused.
    """
    if folder.is_dir():
        try:
            return accept(folder)
        except EngineRefused as reason:
            say(f"{reason}; making it anew")
    with _only_one(folder, say, wait):
        if folder.is_dir():
            try:
                return accept(folder)  # another process made it while this one waited
            except EngineRefused:
                shutil.rmtree(folder)
        _remove_unfinished(folder)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unfinished-", dir=folder.parent))
        try:
            make(unfinished, say)
            accept(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return accept(folder)


def _remove_unfinished(folder: Path) -> None:
    """Whoever holds the lock is alone, so every unfinished folder belongs to a process that died."""
    for left in folder.parent.glob(f"{folder.name}.unfinished-*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _only_one(folder: Path, say: Say, wait: float) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _locked(handle):
            say("another run is making it; waiting for that one ...")
            with heartbeat(say, "still waiting for the other run"):
                _await_lock(handle, folder, wait)
        yield
    finally:
        os.close(handle)


def _await_lock(handle: int, folder: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not _locked(handle):
        if time.monotonic() > deadline:
            raise EngineRefused(f"another run has been making {folder} for {wait:.0f} s and is still at it")
        time.sleep(POLL_SECONDS)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
