"""A good configuration with recognisable passwords, and what is made from it."""

from __future__ import annotations

import hashlib

from infra.contract import Endpoint
from infra.node_config import NodeFiles, render
from infra.settings import USERS, Settings, parse
from infra.topology import Kind, Node, Topology, plan

MARKER = "MaRkEr-5f0c2"
FIRST_PORTS = {Kind.DATA: 7380, Kind.SENTINEL: 27380}
PASSWORDS = {user: f"{MARKER}-{user}-Zx8" for user in USERS}


def declared(stack: str = "dev", **overrides: str) -> Settings:
    """The settings of a stack of the process target; `overrides` by camelCase key, as in its YAML."""
    passwords = {f"{user}Password": password for user, password in PASSWORDS.items()}
    return parse(stack, {"target": "process"} | passwords | overrides)


def digest_of(user: str) -> str:
    """The user's password as users.acl has it."""
    return hashlib.sha256(PASSWORDS[user].encode()).hexdigest()


def address(kind: Kind, index: int) -> Endpoint:
    """Every node on a host of its own, so that a file that names the wrong one differs."""
    return Endpoint(f"10.0.{list(Kind).index(kind)}.{10 + index}", FIRST_PORTS[kind] + index)


def planned(**overrides: str) -> Topology:
    """The topology of stack dev."""
    return plan("dev", declared(**overrides), address)


def nodes_with_files(**overrides: str) -> list[tuple[Node, NodeFiles]]:
    """Every node of stack dev with its files."""
    topology = planned(**overrides)
    return [(node, render(node, topology, declared(**overrides), PASSWORDS)) for node in topology.nodes]


def files_of(name: str, **overrides: str) -> dict[str, str]:
    """All files of the node of this name, by file name."""
    files = next(files for node, files in nodes_with_files(**overrides) if node.name == name)
    return files.plain | files.secret
