"""What a target is: the rule for where nodes listen, and the resources that run them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pulumi

from infra.contract import Endpoint, OperatorContract
from infra.node_config import NodeFiles
from infra.settings import Settings
from infra.tls import TlsFiles
from infra.topology import Kind, Node, Topology

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = PROJECT / "infra" / "node"


@dataclass(frozen=True)
class Deployment:
    """Everything a target needs to run one stack."""

    topology: Topology
    settings: Settings
    files: Mapping[str, NodeFiles] = field(repr=False)
    contract: OperatorContract
    tls_files: TlsFiles = field(default_factory=dict, repr=False)

    def secret_files(self, name: str) -> pulumi.Output[dict[str, str]]:
        """The node's secret files, those for TLS included, as a secret."""
        texts, tls = self.files[name].secret, self.tls_files.get(name)
        return pulumi.Output.secret(texts) if tls is None else tls.apply(lambda more: texts | more)


def stack_folder(stack: str) -> Path:
    """The stack's folder on this machine: in $REDIS_STATE_DIR (default .state)/nodes."""
    return Path(os.environ.get("REDIS_STATE_DIR") or PROJECT / ".state").resolve() / "nodes" / stack


def node_scripts() -> dict[str, str]:
    """The node scripts by name. Each node runs its own copy: a shell reads a running script piece by piece."""
    return {path.name: path.read_text() for path in sorted(SCRIPTS.glob("*.sh"))}


def gateway_program() -> Path:
    """What decides inside the gateway: see docs/gateway.md."""
    return SCRIPTS / "gateway.lua"


def gateway_programs() -> dict[str, str]:
    """The gateway's programs by name; they are put into one folder."""
    return {path.name: path.read_text() for path in sorted(SCRIPTS.glob("*.lua"))}


class Target(Protocol):
    """Runs nodes. Targets differ in nothing else."""

    def address(self, kind: Kind, index: int) -> Endpoint:
        """Where node `index` of this kind listens: an address that no DNS has to resolve."""

    def gateway(self) -> str | None:
        """The gateway's address; None where there is none."""

    def listen(self, node: Node) -> str:
        """The address that the node binds. Its endpoint is what it announces."""

    def check(self, stack: str) -> None:
        """Whether the stack can be there, before anything is registered. Raises ConfigurationError."""

    def server(self) -> dict[str, str]:
        """What tells the server that is to run, as IdentityProvider wants it. After `check`."""

    def prepare(self, topology: Topology, parent: pulumi.Resource) -> None:
        """Register what addresses come from, before anything that needs one."""

    def aliases(self, host: str) -> Sequence[pulumi.Input[str]]:
        """What else `host`, an endpoint's, is reached by: for certificates."""

    def resolve(self, texts: Mapping[str, str]) -> pulumi.Output[dict[str, str]]:
        """The texts as a secret, with every address as nodes and clients use it. After `prepare`."""

    def deploy(self, deployment: Deployment, parent: pulumi.Resource) -> None:
        """Register the resources of all nodes. Returns at once; the engine awaits them."""


class FixedAddresses:
    """The part of a Target that is empty where every address is known beforehand."""

    def listen(self, node: Node) -> str:
        return node.endpoint.host

    def check(self, stack: str) -> None:
        """Nothing that could be known beforehand."""

    def prepare(self, topology: Topology, parent: pulumi.Resource) -> None:
        """Nothing: addresses come from the settings."""

    def aliases(self, _host: str) -> Sequence[pulumi.Input[str]]:
        return ()

    def resolve(self, texts: Mapping[str, str]) -> pulumi.Output[dict[str, str]]:
        return pulumi.Output.secret(dict(texts))
