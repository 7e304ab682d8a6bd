"""One node as a process of this machine: its folder, starting it, stopping it, seeing whether it runs.

Everything is found again by the folder, so whoever comes after an interrupted run adopts what is there.

    <folder>/conf  rendered files   bin  the node scripts   data  the data set   run  pids of this start   node.log
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from infra.private_folders import private_folder
from infra.targets import reasons

LOG = "node.log"
START_TIMEOUT_S = 90.0
# The handover (10 s to prepare, 20 s to settle) and the server's own end (15 s) fit in.
STOP_TIMEOUT_S = 60.0


class NodeError(Exception):
    """A node that does not do what it should, with the last lines of its log."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(f"{folder.name}: {what}\n{reasons.of(folder.name, str(folder / LOG), log_of(folder))}")


def write_files(folder: Path, files: Mapping[str, str], scripts: Mapping[str, str]) -> None:
    """Put a node's files in place, each whole or not at all. Mode 0600, scripts 0700."""
    private_folder(folder)
    for name in ("conf", "bin", "data", "run"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    for name, text in files.items():
        _write(folder / "conf" / name, text, 0o600)
    for name, text in scripts.items():
        _write(folder / "bin" / name, text, 0o700)


def start(folder: Path) -> None:
    """Start the node in a session of its own, so that it outlives whoever started it. Nothing if it runs already."""
    if runs(folder):
        return
    if _told(folder, "server") is None:
        _end_strays(folder)  # its run folder was deleted, perhaps while it ran
    stop(folder)  # what a killed supervisor may have left
    (folder / "run" / "server.pid").unlink(missing_ok=True)
    with _log(folder) as log:
        process = subprocess.Popen(
            [folder / "bin" / "start.sh", folder / "conf" / "node.env"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_clean_environment(),
            start_new_session=True,
        )
    # It writes its own pid, first of all: had we died before we could, nobody would find it again.
    if not _await(5, lambda: process.poll() is not None or _pid(folder, "supervisor") == process.pid):
        raise NodeError(folder, "does not write its pid")


def stop(folder: Path) -> None:
    """Stop the node the planned way (infra/node/stop.sh), and by force when that takes longer than STOP_TIMEOUT_S."""
    supervisor = _pid(folder, "supervisor")
    if supervisor is not None:
        _signal(supervisor, signal.SIGTERM)
    elif _pid(folder, "server") is not None:
        command = [folder / "bin" / "stop.sh", folder / "conf" / "node.env"]
        with _log(folder) as log:
            subprocess.run(command, stdout=log, stderr=log, env=_clean_environment(), check=False)
    if _await(STOP_TIMEOUT_S, lambda: not _pids(folder)):
        return
    for pid in _pids(folder):
        _signal(pid, signal.SIGKILL)
    if not _await(5, lambda: not _pids(folder)):
        raise NodeError(folder, "survives SIGKILL")


def kill(folder: Path) -> None:
    """End the node without a warning, as a power cut does; returns when it is gone. Raises NodeError."""
    for pid in _pids(folder):
        _signal(pid, signal.SIGKILL)
    if not _await(5, lambda: not _pids(folder)):
        raise NodeError(folder, "survives SIGKILL")


def freeze(folder: Path) -> None:
    """The server hangs, its connections stay, until `thaw`."""
    if server := _pid(folder, "server"):
        _signal(server, signal.SIGSTOP)


def thaw(folder: Path) -> None:
    """Let a frozen server go on. Nothing for one that is not frozen."""
    if server := _pid(folder, "server"):
        _signal(server, signal.SIGCONT)


def remove(folder: Path) -> None:
    """Stop the node and delete its folder, data set included. The Sentinels that stay forget it.

    Raises NodeError when something of it is left.
    """
    stop(folder)
    _end_strays(folder)
    _delete(folder)
    # Those that go too still declare everybody, and forget no one.
    for sentinel in sorted(folder.parent.glob("sentinel-*")):
        if runs(sentinel):
            execute(sentinel, "forget.sh")


def runs(folder: Path) -> bool:
    """Whether the node is alive as a whole. One without its supervisor would not hand over when stopped."""
    if _pid(folder, "supervisor") is None:
        return False
    # Between its start and its decision who is master, a node has no server yet. One look: the file may appear now.
    server = _told(folder, "server")
    return server is None or _is_nodes(folder, server)


def lives(folder: Path) -> bool:
    """Whether anything of the node is alive."""
    return bool(_pids(folder))


def execute(folder: Path, script: str, *arguments: str) -> None:
    """Run one of the node's scripts. Raises NodeError with what it said when it fails."""
    done = _run(folder, script, *arguments)
    if done.returncode:
        raise NodeError(folder, f"{script} failed: {done.stderr.strip()}")


def answer(folder: Path, *commands: str) -> tuple[int, str]:
    """What the node's own server says to each of these (answers.sh): exit code and output."""
    done = _run(folder, "answers.sh", *commands)
    return done.returncode, done.stdout


def _run(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "bin" / script), str(folder / "conf" / "node.env"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=_clean_environment(), check=False)


def await_settled(folder: Path) -> None:
    """Wait until the node serves in its role, or has nobody to wait for (probe.sh settled).

    Raises NodeError after START_TIMEOUT_S or when it ends before.
    """
    probe = [folder / "bin" / "probe.sh", folder / "conf" / "node.env", Path("settled")]

    def ready_or_dead() -> bool:
        if not runs(folder):
            raise NodeError(folder, "ended while starting")
        return subprocess.run(probe, capture_output=True, env=_clean_environment(), check=False).returncode == 0

    if not _await(START_TIMEOUT_S, ready_or_dead):
        raise NodeError(folder, f"not ready within {START_TIMEOUT_S:.0f} s")


def check_alive(folders: Iterable[Path]) -> None:
    """Raises NodeError for the first node that does not run."""
    for folder in folders:
        if not runs(folder):
            raise NodeError(folder, "does not run")


def _log(folder: Path) -> BinaryIO:
    """The node's log, to add to. Nobody else reads it, whatever the umask."""
    return os.fdopen(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _clean_environment() -> dict[str, str]:
    """Only what a node needs: the caller's environment holds Pulumi's passphrase and outlives its use there."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}


def _pids(folder: Path) -> list[int]:
    return [pid for which in ("supervisor", "server") if (pid := _pid(folder, which)) is not None]


def _signal(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, what)


def _pid(folder: Path, which: str) -> int | None:
    """The pid in <folder>/run/<which>.pid if that process lives and is this node's: pids get used again."""
    pid = _told(folder, which)
    return pid if pid is not None and _is_nodes(folder, pid) else None


def _told(folder: Path, which: str) -> int | None:
    """What <folder>/run/<which>.pid says; None without it, 0 (nobody's) when that is no number."""
    try:
        text = (folder / "run" / f"{which}.pid").read_text().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else 0


def _is_nodes(folder: Path, pid: int) -> bool:
    try:
        return _cwd(pid) == folder.resolve()
    except OSError:
        return False


def _cwd(pid: int) -> Path:
    """A supervisor stays in its node's folder; a server moves on to its data folder inside. Either may be deleted."""
    cwd = Path(str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)"))
    return cwd.parent if cwd.name == "data" else cwd


def _end_strays(folder: Path) -> None:
    """End what still has the node's folder for its working folder, however it came to be on no record.

    Not what has a terminal: that is somebody who looks around. Raises NodeError.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _strays(folder):
            _signal(pid, number)
        if _await(5, lambda: not _strays(folder)):
            return
    raise NodeError(folder, "survives SIGKILL")


def _strays(folder: Path) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _is_nodes(folder, pid) and not _has_terminal(pid)]


def _has_terminal(pid: int) -> bool:
    try:
        # The name may hold blanks and brackets; after the last bracket: state, parent, group, session, terminal.
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[4] != "0"
    except OSError:
        return False  # it has just ended


def _delete(folder: Path) -> None:
    """Whole, though somebody may put a last file there or take one away meanwhile. Raises NodeError."""

    def is_gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    if not _await(5, is_gone):
        raise NodeError(folder, f"{folder} cannot be deleted")


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    new.replace(path)


def _await(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def log_of(folder: Path) -> str:
    """What the node has said; empty without a log."""
    try:
        return (folder / LOG).read_text(errors="replace")
    except OSError:
        return ""
