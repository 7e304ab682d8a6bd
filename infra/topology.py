"""PURE  What is declared: nodes, names, addresses, quorum. Who is master is not here: that is run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from infra.contract import Endpoint
from infra.settings import Settings


class Kind(StrEnum):
    """What a node runs. Master and replica are run-time roles of a data node, decided by the Sentinels."""

    DATA = "data"
    SENTINEL = "sentinel"


@dataclass(frozen=True)
class Node:
    """One declared server: `data-0`, `sentinel-2`, ..."""

    kind: Kind
    index: int
    endpoint: Endpoint

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.index}"


@dataclass(frozen=True)
class Topology:
    """All declared nodes of one stack. In standalone mode: one data node and no Sentinel."""

    stack: str
    mode: Literal["sentinel", "standalone"]
    master_name: str
    quorum: int
    data: tuple[Node, ...]
    sentinels: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.data + self.sentinels

    @property
    def first_master(self) -> Node:
        """The node that a first boot, and nothing else, makes the master."""
        return self.data[0]


def plan(stack: str, settings: Settings, address: Callable[[Kind, int], Endpoint]) -> Topology:
    """The topology that `settings` ask for; `address` is the target's rule for where a node listens."""
    clustered = settings.mode == "sentinel"
    data = 1 + settings.replicas if clustered else 1
    sentinels = settings.sentinels if clustered else 0

    def make(kind: Kind, count: int) -> tuple[Node, ...]:
        return tuple(Node(kind, index, address(kind, index)) for index in range(count))

    return Topology(
        stack=stack,
        mode=settings.mode,
        master_name=settings.master_name,
        quorum=settings.quorum,
        data=make(Kind.DATA, data),
        sentinels=make(Kind.SENTINEL, sentinels),
    )
