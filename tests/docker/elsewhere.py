"""A machine elsewhere, for tests: a network namespace that reaches this host by a cable of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """Machines elsewhere, by name."""

    host: str
    """This host's address, as they reach it."""
    addresses: dict[str, str]
    enter: dict[str, list[str]]
    """The words that run a command there."""


@contextmanager
def machine(name: str, address: str, host_address: str) -> Iterator[list[str]]:
    """Namespace `name` with `address` and the host, which gets `host_address`, for its router; gone afterwards.

    Yields the words that run a command there. `name` is the cable's too: 15 characters at the most. Needs root, so a
    CalledProcessError without it.
    """
    commands = (
        f"ip netns add {name}",
        f"ip link add {name} type veth peer name eth0 netns {name}",
        f"ip address add {host_address} peer {address}/32 dev {name}",
        f"ip link set {name} up",
        f"ip -n {name} address add {address} peer {host_address}/32 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} route add default via {host_address}",
    )
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, timeout=10, capture_output=True)
        yield ["ip", "netns", "exec", name]
    finally:
        for command in (f"ip link delete {name}", f"ip netns delete {name}"):
            subprocess.run(command.split(), check=False, timeout=10, capture_output=True)
