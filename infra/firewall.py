"""PURE  Who may talk to whom: Topology -> allow rules. What no rule names is denied, in and out.

The rules speak of groups, not of addresses, so that a host's packet filter and Kubernetes' NetworkPolicy can say the
same. IPv4 only: no target gives a node an IPv6 address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network

from infra.contract import Endpoint
from infra.settings import Settings
from infra.topology import Node, Topology

EXPORTER_PORT = 9121


class Group(StrEnum):
    """Who talks. The first three are the stack's own; the others are what the settings declare."""

    DATA = "data"
    SENTINELS = "sentinels"
    GATEWAY = "gateway"
    CLIENTS = "clients"
    MONITORING = "monitoring"
    CANARY = "canary"


OWN = (Group.DATA, Group.SENTINELS, Group.GATEWAY)
"""Groups whose every packet is denied unless a rule allows it, whoever the other end is."""


@dataclass(frozen=True)
class Gateway:
    """The address that follows the master: where it listens, for clients and for who reads its statistics."""

    address: str
    ports: tuple[int, ...]
    statistics_port: int
    canary_ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """`source` may open TCP connections to `destination` on `ports`; answers come back by themselves."""

    source: Group
    destination: Group
    ports: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Firewall:
    """One stack's rules, and which addresses (CIDRs) each group has. A group without any is in no rule."""

    stack: str
    members: Mapping[Group, tuple[IPv4Network, ...]]
    rules: tuple[Rule, ...]

    def addresses(self, group: Group) -> tuple[IPv4Network, ...]:
        return self.members.get(group, ())


def plan(topology: Topology, settings: Settings, gateway: Gateway | None = None) -> Firewall:
    """The rules that this topology needs and the settings ask for. Nodes' endpoints must be IPv4 addresses."""
    members = {
        Group.DATA: _addresses(topology.data),
        Group.SENTINELS: _addresses(topology.sentinels),
        Group.GATEWAY: _networks([gateway.address] if gateway else []),
        Group.CLIENTS: _networks(settings.clients),
        Group.MONITORING: _networks(settings.monitoring),
        Group.CANARY: _networks([Endpoint.parse(settings.canary).host] if settings.canary else []),
    }
    present = {group for group, addresses in members.items() if addresses}
    return Firewall(topology.stack, members, rules(topology, gateway, present))


def rules(topology: Topology, gateway: Gateway | None, present: Collection[Group]) -> tuple[Rule, ...]:
    """The rules among the groups that have members."""
    return tuple(rule for rule in _rules(topology, gateway) if {rule.source, rule.destination} <= set(present))


def _rules(topology: Topology, gateway: Gateway | None) -> Iterable[Rule]:
    data, sentinels = _ports(topology.data), _ports(topology.sentinels)
    yield Rule(Group.DATA, Group.DATA, data, "replication; a starting node asks its peers")
    yield Rule(Group.DATA, Group.SENTINELS, sentinels, "a starting node asks for the master; handover")
    yield Rule(Group.SENTINELS, Group.DATA, data, "monitoring and failover")
    yield Rule(Group.SENTINELS, Group.SENTINELS, sentinels, "agreement on what is down, votes")
    yield Rule(Group.CLIENTS, Group.DATA, data, "applications that found the node through the Sentinels")
    yield Rule(Group.CLIENTS, Group.SENTINELS, sentinels, "applications ask for the master")
    yield Rule(Group.MONITORING, Group.DATA, (EXPORTER_PORT,), "metrics of the node's exporter")
    yield Rule(Group.MONITORING, Group.SENTINELS, (EXPORTER_PORT,), "metrics of the Sentinel's exporter")
    if gateway:
        yield Rule(Group.GATEWAY, Group.DATA, data, "forwards clients; asks the node for its role")
        yield Rule(Group.GATEWAY, Group.SENTINELS, sentinels, "asks which node the majority holds for the master")
        yield Rule(Group.CLIENTS, Group.GATEWAY, gateway.ports, "applications that follow the master by one address")
        yield Rule(Group.MONITORING, Group.GATEWAY, (gateway.statistics_port,), "the gateway's statistics")
        yield Rule(Group.GATEWAY, Group.CANARY, gateway.canary_ports, "a canary's share of the clients")


def describe(firewall: Firewall) -> list[str]:
    """The rules in words, as a preview shows them; the last says what happens to the rest."""
    return [*(_in_words(firewall, rule) for rule in firewall.rules), *_undeclared(firewall), DENIED]


DENIED = "everything else from or to data, sentinels and gateway is dropped; other traffic is not touched"


def _in_words(firewall: Firewall, rule: Rule) -> str:
    # The stack's own addresses are in other properties already; the settings' CIDRs are what a reader checks here.
    who = (
        rule.source if rule.source in OWN else f"{rule.source} ({', '.join(map(str, firewall.addresses(rule.source)))})"
    )
    return f"allow {who} -> {rule.destination} TCP {', '.join(map(str, rule.ports))}: {rule.reason}"


def _undeclared(firewall: Firewall) -> list[str]:
    outside = (Group.CLIENTS, Group.MONITORING)
    return [f"no {group} declared: nobody is allowed in as one" for group in outside if not firewall.addresses(group)]


def _addresses(nodes: tuple[Node, ...]) -> tuple[IPv4Network, ...]:
    return _networks(node.endpoint.host for node in nodes)


def _networks(texts: Iterable[str]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def _ports(nodes: tuple[Node, ...]) -> tuple[int, ...]:
    return tuple(sorted({node.endpoint.port for node in nodes}))
