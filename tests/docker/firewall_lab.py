"""Listeners and probers on networks of a test's own: who gets an answer from whom within a bounded window."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from infra.contract import Endpoint
from infra.firewall import Firewall, Gateway, plan
from infra.targets.docker_archive import archive
from infra.topology import Kind
from infra.topology import plan as plan_topology
from tests.deployment import await_that
from tests.docker import answering
from tests.docker.answering import Address
from tests.docker.elsewhere import machine
from tests.unit.samples import declared

ROOT = Path(__file__).resolve().parents[2]
NFT_IMAGE = "redis-sentinel-firewall:test"
BUSYBOX_IMAGE = os.environ.get("REDIS_TEST_IMAGE", "local/redis:7.0.15")
# Each run has names and networks of its own, so that runs can overlap and none meets what a killed one left.
STACK = f"firewall-{secrets.token_hex(3)}"
# The stack's network, another one on the same host, and a network cable to a machine elsewhere.
OURS, OTHERS, ELSEWHERE = (f"10.{200 + secrets.randbelow(10)}.{third}" for third in random.sample(range(256), 3))
HOST_PORT = 16379
UNUSED_PORT = 7000
"""A port that something listens on, on every node, and that no rule names."""
WINDOW_S = 3
"""How long an attempt goes on; a SYN is sent again within it."""

DATA = (f"{OURS}.10", f"{OURS}.11")
SENTINELS = (f"{OURS}.20", f"{OURS}.21")
GATEWAY = f"{OURS}.30"
CLIENT, MONITOR, STRANGER = f"{OURS}.200", f"{OURS}.150", f"{OURS}.100"
OUTSIDER, OTHER_CLIENT = f"{OTHERS}.5", f"{OTHERS}.200"
REMOTE_CLIENT, REMOTE_STRANGER = f"{ELSEWHERE}.200", f"{ELSEWHERE}.5"
HOST = f"{OURS}.1"
CLIENTS = [f"{network}.192/26" for network in (OURS, OTHERS, ELSEWHERE)]


def firewall(*clients: str) -> Firewall:
    """The rules of the lab's stack; `clients` beside those of the lab."""
    wanted = [*CLIENTS, *clients]
    outside = {"clients": str(wanted).replace("'", '"'), "monitoring": f'["{MONITOR}/32"]'}
    settings = declared(STACK, **outside)

    def address(kind: Kind, index: int) -> Endpoint:
        # The settings want one node more of each than the lab has; those addresses are nobody's.
        return Endpoint(f"{OURS}.{(10 if kind is Kind.DATA else 20) + index}", _port(kind))

    topology = plan_topology(STACK, settings, address)
    return plan(topology, settings, Gateway(GATEWAY, (6379, 6380), 8404))


def _port(kind: Kind) -> int:
    return 6379 if kind is Kind.DATA else 26379


class Lab:
    """Containers by address. Every node listens on its own ports and on one that no rule names."""

    def __init__(self, client: Any, containers: dict[str, Any]) -> None:
        self.client = client
        self.containers = containers

    def answering(self, source: str, targets: Iterable[Address]) -> set[Address]:
        """Those of `targets` that answer `source`, all tried at once, each for WINDOW_S."""
        wanted = list(targets)
        if source == HOST:
            return answering.answering(wanted, WINDOW_S)
        if source.startswith(f"{ELSEWHERE}."):
            return _answering_elsewhere(namespace(source), wanted)
        tries = "".join(
            f"(timeout {WINDOW_S} nc {host} {port} </dev/null 2>/dev/null | grep -q open && echo {host} {port}) & "
            for host, port in wanted
        )
        command = ["sh", "-c", f"{tries} wait"]
        return _parsed(self.containers[source].exec_run(command, stderr=False).output.decode())


def _answering_elsewhere(where: str, targets: list[Address]) -> set[Address]:
    words = [str(word) for target in targets for word in target]
    command = ["ip", "netns", "exec", where, sys.executable, answering.__file__, str(WINDOW_S), *words]
    return _parsed(subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout)


def _parsed(output: str) -> set[Address]:
    return {(host, int(port)) for host, port in (line.split() for line in output.splitlines())}


@contextmanager
def lab(client: Any) -> Iterator[Lab]:
    """The networks and their containers, gone afterwards."""
    with ExitStack() as stack:
        ours, others = (stack.enter_context(_network(client, subnet)) for subnet in (OURS, OTHERS))
        containers = {}
        for address, ports in _listeners().items():
            network = ours if address.startswith(f"{OURS}.") else others
            container = stack.enter_context(_container(client, network, address, ports))
            containers[address] = container
        for address in (REMOTE_CLIENT, REMOTE_STRANGER):
            near = f"{ELSEWHERE}.{int(address.rpartition('.')[2]) + 1}"
            stack.enter_context(machine(namespace(address), address, near))
        made = Lab(client, containers)
        for address, ports in _listeners().items():
            await_that(partial(_listens, made, address, ports), 10, f"the listeners of {address}")
        yield made


def _listens(made: Lab, address: str, ports: list[int]) -> bool:
    wanted = {("127.0.0.1", port) for port in ports}
    return made.answering(address, wanted) == wanted


def _listeners() -> dict[str, list[int]]:
    nodes = {address: [6379, 9121, UNUSED_PORT] for address in DATA}
    nodes |= {address: [26379, 9121, UNUSED_PORT] for address in SENTINELS}
    gateway = {GATEWAY: [6379, 6380, 8404, UNUSED_PORT]}
    others = {address: [UNUSED_PORT] for address in (CLIENT, MONITOR, STRANGER, OUTSIDER, OTHER_CLIENT)}
    return nodes | gateway | others


@contextmanager
def _network(client: Any, subnet: str) -> Iterator[str]:
    name = f"{STACK}-{subnet}"
    pools = [docker.types.IPAMPool(subnet=f"{subnet}.0/24", gateway=f"{subnet}.1")]
    network = client.networks.create(name, driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=pools))
    try:
        yield name
    finally:
        network.remove()


@contextmanager
def _container(client: Any, network: str, address: str, ports: list[int]) -> Iterator[Any]:
    listen = "".join(f"nc -ll -p {port} -e /bin/echo open & " for port in ports)
    published = {"6379/tcp": [(f"{OTHERS}.1", HOST_PORT)]} if address == GATEWAY else {}
    api = client.api
    created = api.create_container(
        BUSYBOX_IMAGE,
        entrypoint=["sh", "-c", f"{listen} wait"],
        name=f"{STACK}-{address}",
        ports=[6379] if published else [],
        host_config=api.create_host_config(port_bindings=published, network_mode=network, init=True),
        networking_config=api.create_networking_config({network: api.create_endpoint_config(ipv4_address=address)}),
    )
    container = client.containers.get(created["Id"])
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True, v=True)


def namespace(address: str) -> str:
    """Of the machine elsewhere that has this address; short enough to be a link's name."""
    return f"fw{STACK[-6:]}-{address.rpartition('.')[2]}"


def nft(client: Any, command: str) -> str:
    """Run an nft command on the host, through a container."""
    output = client.containers.run(
        NFT_IMAGE, ["sh", "-c", command], network_mode="host", cap_drop=["ALL"], cap_add=["NET_ADMIN"], remove=True
    )
    return str(output.decode())


@contextmanager
def guarded(client: Any, arguments: dict[str, Any], name: str) -> Iterator[Any]:
    """The guard's container, made of the arguments that pulumi-docker's Container gets."""
    container = client.containers.create(
        NFT_IMAGE,
        name=name,
        entrypoint=arguments["entrypoints"],
        command=arguments["command"],
        network_mode=arguments["network_mode"],
        user=arguments["user"],
        cap_drop=arguments["capabilities"]["drops"],
        cap_add=arguments["capabilities"]["adds"],
        security_opt=arguments["security_opts"],
        mem_limit=f"{arguments['memory']}m",
    )
    try:
        uploads = {item["file"]: item["content"] for item in arguments["uploads"]}
        container.put_archive("/", archive(uploads, 0o644))
        container.start()
        yield container
    finally:
        with suppress(NotFound):
            container.remove(force=True, v=True)
