"""What a test may do to a running deployment, whatever its target: a process each, containers, pods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from client.crosscheck import Observation, findings, observe
from client.links import open_as
from infra.contract import Endpoint, NodeAddress, OperatorContract
from tests.waiting import SLACK, await_that

if TYPE_CHECKING:
    from tests.gateway import GatewayAddress


LOST_ELECTION = "-failover-abort-not-elected"
"""What a Sentinel says when it got no majority to lead a failover."""
LOST_ELECTION_MS = 4000
"""What an election without a winner adds to a gap: 2 s for its votes, up to 1 s of chance, and the next one's start."""


def is_on_disk(contract: OperatorContract, node: NodeAddress) -> bool:
    """Whether what the node has acknowledged is in its files.

    While its disk is busy, a server keeps that in memory for up to 2 s (appendfsync everysec), and WAIT says nothing of
    files. What a replica got by a full sync is there when the rewrite after it has ended.
    """
    with closing(open_as(contract, "monitor", node.endpoint, 2.0 * SLACK)) as link:
        info: dict[str, Any] = link.info("persistence")
    rewrites = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
    return not (info["loading"] or rewrites or info["aof_buffer_length"])


def await_on_disk(contract: OperatorContract, *names: str) -> None:
    """Wait until what these data nodes, or all of them, have acknowledged is in their files."""

    def on_disk() -> bool:
        busy = [
            node.name for node in contract.nodes if (not names or node.name in names) and not is_on_disk(contract, node)
        ]
        assert not busy, f"not on disk yet: {', '.join(busy)}"
        return True

    await_that(on_disk, 10, "what was acknowledged, in files")


class Nodes(ABC):
    """One stack's nodes. Names are the topology's: data-0, ..., sentinel-0, ...

    A target implements what is done to nodes; what they say is asked over the network, the same way everywhere.
    """

    contract: OperatorContract
    born: Observation
    """What was seen when it had just been brought up for the first time."""
    gateway: GatewayAddress | None = None
    """The address that follows the master, where the target runs one."""

    @abstractmethod
    def start(self, *names: str) -> None:
        """Start these nodes, or all; those that run are left alone. Does not wait until they serve."""

    @abstractmethod
    def stop_planned(self, name: str) -> None:
        """Stop a node as an operator does; returns when it has ended. It stays down until it is started."""

    @abstractmethod
    def kill(self, *names: str) -> None:
        """End these nodes without a warning, all at once; returns when they are gone. Each stays down until started."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """Freeze a node: it hangs, its connections stay."""

    @abstractmethod
    def cont(self, name: str) -> None:
        """Let a frozen node go on. Nothing for one that is not frozen."""

    @abstractmethod
    def wipe(self, name: str) -> None:
        """Delete the data of a node that is down."""

    @abstractmethod
    def damage(self, name: str, line: str) -> str:
        """Run a line of shell in the data folder of a node that is down; returns what it printed."""

    @abstractmethod
    def log(self, name: str) -> str:
        """All that a node has said since it was born, in every one of its lives."""

    @abstractmethod
    def run(self, name: str, script: str, *arguments: str) -> tuple[int, str]:
        """Run one of the node scripts on a node that runs; its exit code and what it printed."""

    @property
    def data(self) -> list[str]:
        return [node.name for node in self.contract.nodes]

    @property
    def sentinels(self) -> list[str]:
        return [f"sentinel-{index}" for index in range(len(self.contract.sentinels))]

    @property
    def names(self) -> list[str]:
        return self.data + self.sentinels

    def endpoint(self, name: str) -> Endpoint:
        endpoints = [node.endpoint for node in self.contract.nodes] + list(self.contract.sentinels)
        return endpoints[self.names.index(name)]

    def hear(self, name: str) -> Callable[[], str]:
        """A function that returns what the node has said since this call."""
        heard = len(self.log(name))
        return lambda: self.log(name)[heard:]

    def ask(self, name: str, *command: object, user: str = "operator") -> Any:
        """One command to a node as one of the operator's users."""
        with closing(open_as(self.contract, user, self.endpoint(name), 2.0 * SLACK)) as link:
            return link.execute_command(*command)  # type: ignore[no-untyped-call]

    def master(self) -> str:
        """The name of the one data node that says role:master; AssertionError when there is not exactly one."""
        masters = [node.name for node in self.observe().masters]
        assert len(masters) == 1, f"masters: {masters}"
        return masters[0]

    def replicas(self) -> list[str]:
        master = self.master()
        return [name for name in self.data if name != master]

    def observe(self) -> Observation:
        return observe(self.contract)

    def findings(self) -> tuple[str, ...]:
        return findings(self.contract, self.observe())

    def await_converged(self, seconds: float = 60) -> None:
        """Wait until declared = actual = agreed."""

        def agreed() -> bool:
            found = self.findings()
            if found:
                raise AssertionError("; ".join(found))
            return True

        await_that(agreed, seconds, "agreement")

    def hear_lost_elections(self) -> Callable[[], int]:
        """A function that returns the rounds since this call in which no Sentinel got a majority to lead a failover."""
        heard = [self.hear(name) for name in self.sentinels]
        return lambda: max(each().count(LOST_ELECTION) for each in heard)

    def heal(self) -> None:
        """Whatever a test did to the nodes: back to a converged deployment."""
        if not self.findings():
            return
        for name in self.names:
            self.cont(name)
        self.start()
        self.await_converged()
