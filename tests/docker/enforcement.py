"""Who reaches which port of a deployed stack: every denied path is tried, every allowed one answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.contract import Endpoint
from tests.deployment import await_that
from tests.docker.answering import Address
from tests.docker.stack import DockerStack

WINDOW_S = 3
"""How long an attempt goes on; a SYN is sent again within it."""
LISTENER_PORT = 7000


def assert_enforced(stack: DockerStack) -> None:
    """Clients, a stranger on the stack's network, another network's container and the nodes each try everything."""
    contract = stack.contract()
    nodes = {_address(node.endpoint) for node in contract.nodes} | {_address(at) for at in contract.sentinels}
    gateway = {(contract.host, 6379), (contract.host, 6380)}
    statistics = (contract.host, 8404)
    everything = nodes | gateway | {statistics}
    with visitor(stack) as client, visitor(stack, stack.stranger) as stranger, visitor(stack, outside=True) as away:
        # Nodes must not reach these, though they answer others: nothing leads out.
        beyond = {(_ip(stack, client), LISTENER_PORT), (stack.stranger, LISTENER_PORT)}
        await_that(lambda: reached(stranger, beyond) == beyond, 15, "the listeners")
        # Right after a deployment the gateway may still be looking for the master; what is denied never answers.
        await_that(lambda: reached(client, nodes | gateway) == nodes | gateway, 30, "answers to a declared client")
        assert reached(client, {statistics}) == set()
        assert reached(stranger, everything) == set()
        assert reached(away, everything) == set()
        for node in (stack.container("data-0"), stack.container("sentinel-0")):
            assert reached(node, nodes | {statistics} | beyond) == nodes, node.name


def reached(container: Any, targets: Iterable[Address]) -> set[Address]:
    """Those of `targets` that say something to a client inside `container`, all tried at once."""
    tries = "".join(
        # The input stays open for a while: a proxy takes its end for the end of the connection.
        f"(timeout {WINDOW_S} sh -c '(echo PING; sleep 2) | nc {host} {port} | head -c 1 | grep -q .'"
        f" && echo {host} {port}) & "
        for host, port in targets
    )
    output = container.exec_run(["sh", "-c", f"{tries} wait"], stderr=False).output.decode()
    return {(host, int(port)) for host, port in (line.split() for line in output.splitlines())}


@contextmanager
def visitor(stack: DockerStack, address: str | None = None, *, outside: bool = False) -> Iterator[Any]:
    """A container that listens too: on the stack's network, with an address of the clients' half unless told."""
    listen = f"nc -ll -p {LISTENER_PORT} -e /bin/echo open"
    container = stack.client.containers.create(
        stack.settings["image"], entrypoint=["sh", "-c", listen], network_mode="bridge", init=True
    )
    try:
        if not outside:
            stack.client.networks.get("bridge").disconnect(container)
            stack.client.networks.get(f"redis-{stack.name}").connect(container, ipv4_address=address)
        container.start()
        yield container
    finally:
        container.remove(force=True)


def _ip(stack: DockerStack, container: Any) -> str:
    container.reload()
    return str(container.attrs["NetworkSettings"]["Networks"][f"redis-{stack.name}"]["IPAddress"])


def _address(endpoint: Endpoint) -> Address:
    return (endpoint.host, endpoint.port)
