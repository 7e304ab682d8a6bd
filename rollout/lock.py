"""One rollout at a time per project: a lock that names its holder and is broken only when the holder is proved gone.

Proof is possible only where the holder ran: the same machine and the same process namespace, and there its number is
free or belongs to another process (a start counted from the boot), or the machine has booted since. A holder elsewhere
may be cut off and alive: nobody but a person decides, with `rollout unlock --holder ID`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from rollout.entries import digest
from rollout.errors import BUSY, RolloutError
from rollout.store import Missing, Store
from tools.processes import PROC, identify

NAME = "lock.json"
_GUARD_SECONDS = 5.0
_POLL_SECONDS = 0.02
_MACHINE_ID = Path("/etc/machine-id")


class Holder(BaseModel):
    """Who holds the lock. `start` is the process's start as the kernel counts it from the boot `boot_id`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    host: str
    machine: str
    namespace: str
    boot_id: str
    pid: int
    start: str
    since: AwareDatetime
    what: str

    def __str__(self) -> str:
        return f"`{self.what}`, pid {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC (ID {self.id})"


def myself(what: str) -> Holder:
    """This process as a holder."""
    process = identify(os.getpid())
    boot_id, _, start = (process.start if process else "").rpartition(":")
    return Holder(
        id=secrets.token_hex(6),
        host=socket.gethostname(),
        machine=_read(_MACHINE_ID),
        namespace=_namespace(),
        boot_id=boot_id,
        pid=os.getpid(),
        start=start,
        since=datetime.now(UTC),
        what=what,
    )


def is_proved_gone(holder: Holder, *, shared: bool) -> bool:
    """Whether the holder cannot be alive. `shared`: the lock's place is reachable from other machines.

    Machines made from one image can have one name and one id; only the boot id is a kernel's own. So where others can
    take part, another boot id proves nothing.
    """
    me = myself("")
    if not holder.boot_id or not me.boot_id:
        return False  # a system that does not say
    if holder.boot_id != me.boot_id:
        same_machine = bool(me.machine) and (holder.host, holder.machine) == (me.host, me.machine)
        return same_machine and not shared
    if holder.namespace != me.namespace:
        return False  # its number means another process here
    process = identify(holder.pid)
    return process is None or process.start != f"{holder.boot_id}:{holder.start}"


def read(store: Store) -> Holder | None:
    """Who holds the lock now. Raises RolloutError when the lock cannot be read."""
    try:
        content = store.read(NAME)
    except Missing:
        return None
    try:
        return Holder.model_validate_json(content)
    except ValidationError:
        raise RolloutError(
            f"the lock at {store.address} is not one that rollout wrote; nothing was done\n"
            f"  fix: see that no rollout runs, then remove {NAME} there",
            BUSY,
        ) from None


@contextmanager
def held(store: Store, what: str) -> Iterator[Holder | None]:
    """Hold the lock; yields the dead holder from whom it was taken, if any. Raises RolloutError (BUSY)."""
    mine = myself(what)
    content = mine.model_dump_json().encode()
    broken = _take(store, content)
    try:
        yield broken
    finally:
        with _alone(store):
            current = read(store)
            if current is not None and current.id == mine.id:
                store.remove(NAME)


def unlock(store: Store, holder_id: str) -> Holder:
    """Remove the lock of a holder whom a person knows to be gone; returns it. Raises RolloutError."""
    with _alone(store):
        current = read(store)
        if current is None:
            raise RolloutError(f"nobody holds the lock at {store.address}: nothing to do")
        if current.id != holder_id:
            raise RolloutError(f"the lock is held by {current}, not by {holder_id!r}; nothing was done")
        if current.boot_id == myself("").boot_id and not is_proved_gone(current, shared=True):
            raise RolloutError(f"its holder lives: {current}; nothing was done\n  fix: end that process first", BUSY)
        store.remove(NAME)
    return current


def _take(store: Store, content: bytes) -> Holder | None:
    with _alone(store):
        if store.create(NAME, content):
            return None
        current = read(store)
        gone = current is not None and is_proved_gone(current, shared=store.local is None)
        if gone:
            store.remove(NAME)
        if (gone or current is None) and store.create(NAME, content):
            return current
        current = read(store)
    who = str(current) if current else "another command, just ended"
    fix = "wait until it ends"
    if current:
        fix += f"; if you know that it is gone for good: rollout unlock --holder {current.id}"
    raise RolloutError(f"a rollout is under way: {who}; nothing was done\n  fix: {fix}", BUSY)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Between looking at a lock and removing it no other process of this machine may do the same.

    Only processes of this machine can prove a holder here gone, so a file lock on this machine is enough.
    """
    folder = store.local or Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    name = ".guard" if store.local else f"rollout-{os.getuid()}-{digest(store.address.encode())[:16]}.guard"
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait_for(handle, store)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, store: Store) -> None:
    """The guard is held for a few file operations only; but its holder may be stopped in the middle of them."""
    deadline = time.monotonic() + _GUARD_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
    raise RolloutError(
        f"a rollout is under way: {read(store) or 'a command that is just taking the lock'}; nothing was done\n"
        "  fix: wait until it ends; if it is stopped, let it go on or end it",
        BUSY,
    )


def _namespace() -> str:
    try:
        return os.readlink(PROC / "self/ns/pid")  # noqa: PTH115 - the link's text, which is no path
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
