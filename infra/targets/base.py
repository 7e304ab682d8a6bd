"""What a target is: the rule for where nodes listen, and the resources that run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pulumi

from infra.contract import Endpoint, OperatorContract
from infra.node_config import NodeFiles
from infra.settings import Settings
from infra.topology import Kind, Topology


@dataclass(frozen=True)
class Deployment:
    """Everything a target needs to run one stack."""

    topology: Topology
    settings: Settings
    files: Mapping[str, NodeFiles] = field(repr=False)
    contract: OperatorContract


class Target(Protocol):
    """Runs nodes. Targets differ in nothing else."""

    def address(self, kind: Kind, index: int) -> Endpoint:
        """Where node `index` of this kind listens: an address that no DNS has to resolve."""

    def deploy(self, deployment: Deployment, parent: pulumi.Resource) -> None:
        """Register the resources of all nodes. Returns at once; the engine awaits them."""
