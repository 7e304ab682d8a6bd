"""Real nodes for tests: the process target's own code without the engine, on free ports, in a folder of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from client.crosscheck import Observation, findings, observe
from client.links import open_as
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

T = TypeVar("T")

PASSWORDS = {user: f"{user}-{'marker' * 4}" for user in ("app", "replica", "sentinel", "monitor", "operator")}


def await_that(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Wait until `condition` returns something true, and return that. AssertionError with what it last saw."""
    end = time.monotonic() + seconds
    while True:
        last: object
        try:
            last = condition()
            if last:
                return last
        except Exception as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s; last saw {last!r}")
        time.sleep(0.02)


def never(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Watch for a bounded window; AssertionError as soon as `condition` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), what
        time.sleep(0.1)


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


class Deployment:
    """One stack's nodes. Names are the topology's: data-0, ..., sentinel-0, ..."""

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

    @property
    def data(self) -> list[str]:
        return [node.name for node in self.topology.data]

    @property
    def sentinels(self) -> list[str]:
        return [node.name for node in self.topology.sentinels]

    def folder(self, name: str) -> Path:
        return self.home / name

    def start(self, *names: str) -> None:
        """Start these nodes, or all, as `pulumi up` does; those that run are left alone."""
        for name in names or self.properties:
            NodeProvider().create(self.properties[name])

    def up(self) -> Deployment:
        self.start()
        self.await_converged()
        return self

    def stop_planned(self, name: str) -> None:
        process_control.stop(self.folder(name))

    def kill(self, *names: str) -> None:
        """kill -9 of the servers; returns when the nodes are gone."""
        for name in names:
            with suppress(ProcessLookupError, FileNotFoundError, ValueError):
                os.kill(self.pid(name), signal.SIGKILL)
        for name in names:
            await_that(lambda name=name: not process_control.runs(self.folder(name)), 5, f"the end of {name}")  # type: ignore[misc]

    def stop(self, name: str) -> None:
        """SIGSTOP: the server hangs, its connections stay."""
        os.kill(self.pid(name), signal.SIGSTOP)

    def cont(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGCONT)

    def wipe(self, name: str) -> None:
        """Delete the data folder of a node that does not run."""
        shutil.rmtree(self.folder(name) / "data")

    def pid(self, name: str) -> int:
        """The server's pid."""
        return int((self.folder(name) / "run" / "server.pid").read_text())

    def log(self, name: str) -> str:
        return (self.folder(name) / "node.log").read_text(errors="replace")

    def ask(self, name: str, *command: object, user: str = "operator") -> Any:
        """One command to a node as one of the operator's users."""
        node = next(node for node in self.topology.nodes if node.name == name)
        with closing(open_as(self.contract, user, node.endpoint, 2.0)) as link:
            return link.execute_command(*command)  # type: ignore[no-untyped-call]

    def master(self) -> str:
        """The name of the one data node that says role:master; AssertionError when there is not exactly one."""
        masters = [node.name for node in self.observe().masters]
        assert len(masters) == 1, f"masters: {masters}"
        return masters[0]

    def replicas(self) -> list[str]:
        master = self.master()
        return [node.name for node in self.topology.data if node.name != master]

    def observe(self) -> Observation:
        return observe(self.contract)

    def findings(self) -> tuple[str, ...]:
        return findings(self.contract, self.observe())

    def await_converged(self, seconds: float = 60) -> None:
        """Wait until declared = actual = agreed."""
        await_that(lambda: not self.findings() or self._raise_findings(), seconds, "agreement")

    def _raise_findings(self) -> bool:
        raise AssertionError("; ".join(self.findings()))

    def heal(self) -> None:
        """Whatever a test did to the processes: back to a converged deployment."""
        if not self.findings():
            return
        for name in self.properties:
            with suppress(OSError, ValueError):
                self.cont(name)
        self.start()
        self.await_converged()

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
