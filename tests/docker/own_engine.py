"""A Docker engine of a test's own on a host of its own: namespaces for network, mounts and processes.

Restarting it disturbs nobody. The host lives as long as its first process, which ends when its standard input does:
with this process at the latest. The kernel then ends everything on it, and its network, mounts and rules with it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from infra import certificates
from tests.deployment import await_that

# It reaps what the engine leaves behind, as a host's first process does.
_INIT = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); sys.stdin.read()"
_BOOT = 'mount -t tmpfs tmpfs /run && ip link set lo up && echo up && exec "$0" -ISc "$1"'
_CLONE_NEWNET = 0x40000000
_PORT = 2376


class OwnEngine:
    """`engine` is a client of it; `unix` and `tcp` are its addresses, the second with TLS and from its network only."""

    def __init__(self) -> None:
        # Short: a socket's path has room for 108 characters.
        self.home = Path(tempfile.mkdtemp(prefix="own-engine-"))
        self.unix, self.tcp = f"unix://{self.home}/docker.sock", f"tcp://127.0.0.1:{_PORT}"
        self.engine: Any = None
        (self.home / "daemon.json").write_text("{}")  # not this machine's
        self._log = (self.home / "dockerd.log").open("ab")
        self._dockerd: subprocess.Popen[bytes] | None = None
        self.write_certificates(self.certificates)
        kinds = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
        self._host = subprocess.Popen(
            ["unshare", *kinds, "sh", "-c", _BOOT, sys.executable, _INIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._host.stdout is not None
        assert self._host.stdout.readline() == b"up\n", "the namespaces of a host of its own"
        self._init = _child(self._host.pid)

    @property
    def certificates(self) -> Path:
        """The folder for DOCKER_CERT_PATH: ca.pem, cert.pem, key.pem."""
        return self.home / "tls"

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        tls = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}
        command = [
            *("dockerd", "--config-file", str(self.home / "daemon.json"), "--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--cgroup-parent", f"/{self.home.name}", "--data-root", str(self.home / "data")),
            *("--host", self.unix, "--host", self.tcp, "--tlsverify"),
            *(f"--{option}={self.certificates / name}" for option, name in tls.items()),
        ]
        self._dockerd = subprocess.Popen(self._inside(*command), stdout=self._log, stderr=self._log)
        await_that(lambda: self._ended() or self._answers(), 60, "the answer of the test's own engine")
        assert not self._ended(), self._said()

    def stop(self, how: signal.Signals) -> None:
        """Send the engine this signal, and wait for its end."""
        assert self._dockerd is not None
        os.kill(_child(self._dockerd.pid), how)
        self._dockerd.wait(timeout=120)
        self._dockerd = None

    def cut_the_power(self) -> None:
        """Kill whatever runs on the host, and let its kernel forget every rule: what a host's crash leaves behind."""
        assert self._dockerd is not None
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._dockerd.wait(timeout=20)
        self._dockerd = None
        await_that(lambda: not self._processes(), 20, "the end of every process")
        subprocess.run(self._inside("nft", "flush", "ruleset"), check=True, timeout=20)

    def load(self, images: list[Any]) -> None:
        """Take these images over from another engine: they keep their ids."""
        for image in images:
            self.engine.images.load(image.save())

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and every thread and process that it starts, is in the host's network."""
        with Path("/proc/thread-self/ns/net").open() as before, Path(f"/proc/{self._init}/ns/net").open() as inside:
            _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def close(self) -> None:
        """End the host with everything on it, and leave nothing behind."""
        if self.engine is not None:
            self.engine.close()
        self._host.kill()
        self._host.wait(timeout=20)
        if self._dockerd is not None:
            self._dockerd.wait(timeout=20)
        self._log.close()
        await_that(self._leaves_no_cgroup, 20, "the end of the containers' control groups")
        shutil.rmtree(self.home)

    def _ended(self) -> bool:
        return self._dockerd is not None and self._dockerd.poll() is not None

    def _answers(self) -> bool:
        self.engine = self.engine or docker.DockerClient(base_url=self.unix, version="auto")
        return bool(self.engine.ping())

    def _said(self) -> str:
        return (self.home / "dockerd.log").read_text(errors="replace")[-2000:]

    def _inside(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._init), "--net", "--mount", "--pid", *command]

    def _processes(self) -> list[int]:
        """Every process of the host but its first, the containers' included."""
        namespace = Path(f"/proc/{self._init}/ns/pid").readlink()
        found = {int(pid) for group in self._cgroups() for pid in (group / "cgroup.procs").read_text().split()}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (folder / "ns" / "pid").readlink() == namespace:
                    found.add(int(folder.name))
        return sorted(found - {self._init})

    def _cgroups(self) -> list[Path]:
        """The containers' control groups, the innermost first."""
        roots = [*Path("/sys/fs/cgroup").glob(self.home.name), *Path("/sys/fs/cgroup").glob(f"*/{self.home.name}")]
        return [folder for root in roots for folder in (*sorted(root.rglob("*/"), reverse=True), root)]

    def _leaves_no_cgroup(self) -> bool:
        for group in self._cgroups():
            group.rmdir()
        return True

    def write_certificates(self, folder: Path) -> None:
        """A new authority and a certificate for the engine and its clients, into a new folder."""
        now = certificates.utc_now()
        authority = certificates.first_authority("own-engine", None, now).signer
        issued = certificates.issue(authority, ["127.0.0.1"], 1, now)
        folder.mkdir()
        texts = {"ca.pem": authority.certificate, "cert.pem": issued.certificate, "key.pem": issued.key}
        for name, text in texts.items():
            (folder / name).write_text(text)


def _child(pid: int) -> int:
    """The one child of a process."""
    return int(await_that(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text(), 5, f"the child of {pid}"))


def _enter(namespace: int) -> None:
    """Move this thread into another network."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
