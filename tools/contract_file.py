"""Programs that need the operator's contract get it as a file that only its owner reads and that ends with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from infra.contract import render_env
from infra.targets.servers import NoServerFound, find_servers
from tools.paths import ROOT


def run_module(module: str, arguments: list[str], contract: Mapping[str, str], folder: Path) -> int:
    """Run `python -m MODULE --contract FILE ARGUMENTS` to its end and return its exit code (128 + n for signal n)."""
    with _stopping_on_signals(), _contract_file(contract, folder) as file:
        command = [sys.executable, "-m", module, "--contract", str(file), *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **_binaries()})
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return 128 - code if code < 0 else code


def _binaries() -> dict[str, str]:
    """The server and the CLI that the deployment uses, so that the module need not look for others."""
    try:
        servers = find_servers()
    except NoServerFound:
        return {}  # a deployment on another machine needs none here; a module that does says so
    return {"REDIS_SERVER_BINARY": str(servers.server), "REDIS_CLI_BINARY": str(servers.cli)}


@contextmanager
def _contract_file(contract: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """A file in memory alone: however this process ends, it ends with it. Only the same user gets at its path."""
    for left in folder.glob("contract-*.env"):  # by a version that wrote them, and was killed
        left.unlink(missing_ok=True)
    handle = os.memfd_create("contract")
    with os.fdopen(handle, "w") as out:
        out.write(render_env(contract))
        out.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as an exception would, so that the module goes; Ctrl-C reaches it by itself."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
