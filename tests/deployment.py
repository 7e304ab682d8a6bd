"""Real nodes for tests: the process target's own code without the engine, on free ports, in a folder of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra import certificates
from infra.node_config import NodeFiles, render
from infra.program import operator_contract
from infra.settings import parse
from infra.targets import process_control
from infra.targets.base import Deployment as Declared
from infra.targets.base import node_scripts
from infra.targets.process import ProcessTarget, node_properties
from infra.targets.process_provider import NodeProvider
from infra.targets.servers import find_servers
from infra.tls import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from infra.topology import Node, plan
from tests.nodes import Nodes
from tests.waiting import await_that as await_that
from tests.waiting import never as never

PASSWORDS = {user: f"{user}-{'marker' * 4}" for user in ("app", "replica", "sentinel", "monitor", "operator")}


def free_ports(count: int) -> int:
    """The first of `count` adjacent ports that nobody uses now, below the range from which clients get theirs."""
    for _ in range(200):
        first = random.randrange(10000, 32000)  # noqa: S311
        with suppress(OSError):
            for port in range(first, first + count):
                with closing(socket.socket()) as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


class Deployment(Nodes):
    """One stack's nodes as processes of this machine."""

    def __init__(self, home: Path, **overrides: str) -> None:
        first = free_ports(20)
        ports = {"dataPort": str(first), "sentinelPort": str(first + 10)}
        passwords = {f"{user}Password": password for user, password in PASSWORDS.items()}
        self.settings = parse("test", {"target": "process"} | ports | passwords | overrides)
        self.home = home
        target = ProcessTarget(self.settings)
        self.topology = plan("test", self.settings, target.address)
        files = {node.name: render(node, self.topology, self.settings, PASSWORDS) for node in self.topology.nodes}
        self.contract = operator_contract(self.topology, self.settings, PASSWORDS)
        self.authority = certificates.first_authority("test", None, certificates.utc_now())
        if self.settings.tls:
            home.mkdir(parents=True, exist_ok=True)
            (home / CA_FILE).write_text(self.authority.trust)
            self.contract = self.contract.model_copy(update={"tls_ca_file": home / CA_FILE})
            files = {node.name: self._with_tls(node, files[node.name]) for node in self.topology.nodes}
        declared = Declared(self.topology, self.settings, files, self.contract)
        servers, scripts = find_servers(), node_scripts()
        self.properties: Mapping[str, dict[str, Any]] = {
            node.name: node_properties(node, declared, self.folder(node.name), servers, scripts)
            for node in self.topology.nodes
        }

    def _with_tls(self, node: Node, files: NodeFiles) -> NodeFiles:
        issued = self.certificate(node)
        tls = {CERTIFICATE_FILE: issued.certificate, KEY_FILE: issued.key, CA_FILE: self.authority.trust}
        return NodeFiles(files.plain, files.secret | tls)

    def certificate(
        self, node: Node, authority: certificates.KeyPair | None = None, age_days: int = 0
    ) -> certificates.KeyPair:
        """A certificate of 90 days for this node, issued `age_days` ago; by the deployment's authority unless given."""
        issued_at = certificates.utc_now() - timedelta(days=age_days)
        return certificates.issue(authority or self.authority.signer, [node.endpoint.host, node.name], 90, issued_at)

    def folder(self, name: str) -> Path:
        return self.home / name

    def start(self, *names: str) -> None:
        for name in names or self.properties:
            NodeProvider().create(self.properties[name])

    def up(self) -> Deployment:
        self.start()
        self.await_converged()
        self.born = self.observe()
        return self

    def stop_planned(self, name: str) -> None:
        process_control.stop(self.folder(name))

    def kill(self, *names: str) -> None:
        for name in names:
            with suppress(ProcessLookupError, FileNotFoundError, ValueError):
                os.kill(self.pid(name), signal.SIGKILL)
        for name in names:
            await_that(lambda name=name: not process_control.runs(self.folder(name)), 5, f"the end of {name}")  # type: ignore[misc]

    def stop(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGSTOP)

    def cont(self, name: str) -> None:
        with suppress(OSError, ValueError):
            os.kill(self.pid(name), signal.SIGCONT)

    def wipe(self, name: str) -> None:
        self._await_witness(name)
        shutil.rmtree(self.folder(name) / "data")

    def _await_witness(self, name: str) -> None:
        """It outlives its server for a moment, and notes the end."""
        run = self.folder(name) / "run"
        pid = int((run / "witness.pid").read_text())
        cmdline = Path(f"/proc/{pid}/cmdline")

        def ended() -> bool:
            with suppress(OSError):
                if str(self.folder(name)).encode() in cmdline.read_bytes():
                    os.kill(pid, signal.SIGUSR1)  # it looks at once
                    return False
            return True

        await_that(ended, 10, f"the end of the witness of {name}")

    def damage(self, name: str, line: str) -> str:
        data = self.folder(name) / "data"
        if not process_control.runs(self.folder(name)):
            self._await_witness(name)
        return subprocess.run(["sh", "-ec", line], cwd=data, check=True, capture_output=True, text=True).stdout

    def pid(self, name: str) -> int:
        """The server's pid."""
        return int((self.folder(name) / "run" / "server.pid").read_text())

    def replace_cli(self, name: str, script: Path, text: str) -> None:
        """From now on the node's scripts run `text`, written to `script`, instead of the server's CLI."""
        script.write_text(f"#!/bin/sh\n{text}")
        script.chmod(0o700)
        env = self.folder(name) / "conf" / "node.env"
        env.write_text(env.read_text() + f"CLI='{script}'\n")

    def log(self, name: str) -> str:
        return (self.folder(name) / "node.log").read_text(errors="replace")

    def run(self, name: str, script: str, *arguments: str) -> tuple[int, str]:
        folder = self.folder(name)
        command = [str(folder / "bin" / script), str(folder / "conf" / "node.env"), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    def down(self) -> None:
        """End every process, at once and for good."""
        for name in self.properties:
            for which in ("supervisor", "server"):
                with suppress(OSError, ValueError):
                    os.kill(int((self.folder(name) / "run" / f"{which}.pid").read_text()), signal.SIGKILL)


def deployed(home: Path, **overrides: str) -> Iterator[Deployment]:
    """A started deployment that is taken down at the end, for use in fixtures."""
    deployment = Deployment(home, **overrides)
    try:
        yield deployment.up()
    finally:
        deployment.down()
