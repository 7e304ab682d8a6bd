"""One address that follows a deployment's master: the target's own, or a real HAProxy on loopback."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import redis

import infra.gateway
from client.links import open_as
from infra.contract import Contract, Endpoint
from infra.targets.base import SCRIPTS
from infra.topology import Topology
from tests.deployment import PASSWORDS, Deployment, free_ports
from tests.nodes import Nodes
from tests.waiting import await_that

LOOPBACK = "127.0.0.1"


class GatewayAddress(ABC):
    """Where a gateway listens. `contract` is what an application gets that knows only that."""

    def __init__(self, nodes: Nodes, host: str, port: int, read_port: int) -> None:
        self._nodes = nodes
        self._read_port = read_port
        self.contract = Contract(
            **nodes.contract.application().model_dump(exclude={"sentinel_enabled", "sentinels", "host", "port"}),
            sentinel_enabled=False,
            sentinels=(),
            host=host,
            port=port,
        )

    @abstractmethod
    def log(self) -> str:
        """The last that it has said."""

    @property
    def readers(self) -> Contract:
        """The contract of an application that only reads."""
        return self.contract.model_copy(update={"port": self._read_port})

    def open(self, contract: Contract | None = None, ca_file: Path | None = None) -> redis.Redis:
        """A connection to the write address, or to that of `contract`, as the operator."""
        at = contract or self.contract
        trusted = self._nodes.contract
        if ca_file:
            trusted = trusted.model_copy(update={"tls_ca_file": ca_file})
        return open_as(trusted, "operator", Endpoint(at.host, at.port), 2.0)

    def serves(self, contract: Contract | None = None) -> str | None:
        """The node that a new connection leads to, whatever its role, by its name; None when it leads nowhere."""
        try:
            with closing(self.open(contract)) as link:
                reply: Any = link.execute_command("CONFIG", "GET", "replica-announce-*")  # type: ignore[no-untyped-call]
        except redis.ConnectionError:
            return None
        said = dict(zip(reply[::2], reply[1::2], strict=True))
        endpoint = Endpoint(said["replica-announce-ip"], int(said["replica-announce-port"]))
        return next(name for name in self._nodes.data if self._nodes.endpoint(name) == endpoint)

    def serves_readers(self) -> set[str | None]:
        """Which nodes a few new connections to the read address lead to."""
        return {self.serves(self.readers) for _ in range(6)}

    def await_serving(self, name: str | None, seconds: float = 10) -> None:
        await_that(lambda: self.serves() == name or self._raise(), seconds, f"the gateway leading to {name}")

    def await_another_than(self, name: str, seconds: float = 5) -> None:
        what = f"the gateway leading to another node than {name}"
        await_that(lambda: self.serves() not in (None, name) or self._raise(), seconds, what)

    def _raise(self) -> bool:
        raise AssertionError(f"it leads to {self.serves()}; {self.log()[-600:]}")


class Gateway(GatewayAddress):
    """One HAProxy process in front of processes."""

    def __init__(
        self,
        deployment: Deployment,
        folder: Path,
        ca_file: Path | None = None,
        topology: Topology | None = None,
        **settings_of_gateway: object,
    ) -> None:
        """`topology`: what the gateway is told instead of the deployment's."""
        self._folder = folder
        first = free_ports(3)
        self.ports = {"gatewayPort": first, "gatewayReadPort": first + 1, "gatewayStatsPort": first + 2}
        super().__init__(deployment, LOOPBACK, first, first + 1)
        settings = deployment.settings.model_copy(
            update={"gateway_port": first, "gateway_read_port": first + 1, "gateway_stats_port": first + 2}
            | settings_of_gateway
        )
        trusted = str(ca_file or deployment.contract.tls_ca_file or "")
        place = infra.gateway.Place(LOOPBACK, str(SCRIPTS / "gateway.lua"), str(folder), str(folder), trusted)
        files = infra.gateway.render(topology or deployment.topology, settings, PASSWORDS["monitor"], place)
        for name, text in (files.plain | files.secret).items():
            (folder / name).write_text(text)
        self.configuration = folder / infra.gateway.CONFIGURATION

    @contextmanager
    def running(self) -> Iterator[Gateway]:
        with (self._folder / "haproxy.log").open("w") as log:
            process = subprocess.Popen(["haproxy", "-W", "-db", "-f", self.configuration], stdout=log, stderr=log)
        try:
            await_that(self.log, 10, "HAProxy's first line")
            yield self
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

    def log(self) -> str:
        return (self._folder / "haproxy.log").read_text(errors="replace")
