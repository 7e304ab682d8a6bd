"""A real HAProxy on loopback in front of a deployment of tests/deployment.py."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import redis

import infra.gateway
from client.links import open_as
from infra.contract import Contract, Endpoint
from infra.targets.base import SCRIPTS
from tests.deployment import PASSWORDS, Deployment, await_that, free_ports

LOOPBACK = "127.0.0.1"


class Gateway:
    """One HAProxy process. `contract` is what an application gets that knows only the gateway's address."""

    def __init__(self, deployment: Deployment, folder: Path, ca_file: Path | None = None) -> None:
        self._deployment = deployment
        self._folder = folder
        first = free_ports(3)
        self.ports = {"gatewayPort": first, "gatewayReadPort": first + 1, "gatewayStatsPort": first + 2}
        settings = deployment.settings.model_copy(
            update={"gateway_port": first, "gateway_read_port": first + 1, "gateway_stats_port": first + 2}
        )
        trusted = str(ca_file or deployment.contract.tls_ca_file or "")
        place = infra.gateway.Place(LOOPBACK, str(SCRIPTS / "gateway.lua"), str(folder), str(folder), trusted)
        files = infra.gateway.render(deployment.topology, settings, PASSWORDS["monitor"], place)
        for name, text in (files.plain | files.secret).items():
            (folder / name).write_text(text)
        self.configuration = folder / infra.gateway.CONFIGURATION
        self.contract = Contract(
            **deployment.contract.application().model_dump(exclude={"sentinel_enabled", "sentinels", "host", "port"}),
            sentinel_enabled=False,
            sentinels=(),
            host=LOOPBACK,
            port=first,
        )

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

    def ask(self, *command: object, port: str = "gatewayPort") -> Any:
        """One command through the gateway, on a connection of its own."""
        with closing(self.open(port)) as link:
            return link.execute_command(*command)  # type: ignore[no-untyped-call]

    def open(self, port: str = "gatewayPort", ca_file: Path | None = None) -> redis.Redis:
        contract = self._deployment.contract
        if ca_file:
            contract = contract.model_copy(update={"tls_ca_file": ca_file})
        return open_as(contract, "operator", Endpoint(LOOPBACK, self.ports[port]), 2.0)

    def serves(self) -> str | None:
        """The name of the node that the write address leads to, whatever its role; None when it leads nowhere."""
        try:
            port = int(self.ask("CONFIG", "GET", "replica-announce-port")[1])
        except redis.ConnectionError:
            return None
        return next(node.name for node in self._deployment.topology.data if node.endpoint.port == port)

    def await_serving(self, name: str | None, seconds: float = 10) -> None:
        await_that(lambda: self.serves() == name or self._raise(), seconds, f"the gateway leading to {name}")

    def await_another_than(self, name: str, seconds: float = 5) -> None:
        what = f"the gateway leading to another node than {name}"
        await_that(lambda: self.serves() not in (None, name) or self._raise(), seconds, what)

    def _raise(self) -> bool:
        raise AssertionError(f"it leads to {self.serves()}; {self.log()[-600:]}")
