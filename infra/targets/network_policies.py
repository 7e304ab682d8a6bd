"""PURE  Firewall rules -> NetworkPolicies. Everything in the stack's namespace is denied unless one of these allows it.

Policies add up, so they work beside others' in the namespace, one that denies everything included. Addresses are those
of pods: a cluster applies policies behind its Services.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from infra.firewall import OWN, Group, Rule
from infra.settings import Settings

Manifest = dict[str, Any]

COMPONENT = "app.kubernetes.io/component"
CLIENT = {"redis-sentinel/client": "true"}
"""Pods of the stack's own namespace with this label are clients: the smoke tests are."""

DNS = (("kube-system", {"k8s-app": "kube-dns"}), ("UDP", "TCP"), 53)


def component(group: Group) -> dict[str, str]:
    """The label by which the group's pods are selected; for those of the stack itself."""
    return {COMPONENT: {Group.DATA: "data", Group.SENTINELS: "sentinel", Group.GATEWAY: "gateway"}[group]}


def policies(rules: Collection[Rule], settings: Settings) -> dict[str, Manifest]:
    """Name -> spec of every policy of the stack's namespace."""
    specs: dict[str, Manifest] = {"deny-everything-else": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    for group in OWN:
        specs[component(group)[COMPONENT]] = _policy(component(group), group, rules, settings)
    specs["clients"] = _policy(CLIENT, Group.CLIENTS, rules, settings)
    return specs


def _policy(selector: dict[str, str], group: Group, rules: Collection[Rule], settings: Settings) -> Manifest:
    # A rule without peers would be one for everybody, one without ports for all of them.
    rules = [rule for rule in rules if rule.ports and any(_peers(rule.source, settings))]
    into = [rule for rule in rules if rule.destination is group]
    out = [rule for rule in rules if rule.source is group]
    return {
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": list(_peers(rule.source, settings)), "ports": _ports("TCP", rule.ports)} for rule in into],
        "egress": [
            *({"to": list(_peers(rule.destination, settings)), "ports": _ports("TCP", rule.ports)} for rule in out),
            _dns(),
        ],
    }


def _dns() -> Manifest:
    (namespace, labels), protocols, port = DNS
    ports = [{"protocol": protocol, "port": port} for protocol in protocols]
    return {"to": [_pods(namespace, labels)], "ports": ports}


def _peers(group: Group, settings: Settings) -> Iterable[Manifest]:
    if group in OWN:
        yield {"podSelector": {"matchLabels": component(group)}}
        return
    if group is Group.CANARY:
        # Another stack's gateway, in whichever namespace: its Service's address is none that a policy sees.
        yield {"namespaceSelector": {}, "podSelector": {"matchLabels": component(Group.GATEWAY)}}
        return
    clients = group is Group.CLIENTS
    if clients:
        yield {"podSelector": {"matchLabels": CLIENT}}
    for network in settings.clients if clients else settings.monitoring:
        yield {"ipBlock": {"cidr": network}}
    for pods in settings.client_pods if clients else settings.monitoring_pods:
        namespace, _, labels = pods.partition(":")
        yield _pods(namespace, dict(label.split("=", 1) for label in labels.split(",") if label))


def _pods(namespace: str, labels: dict[str, str]) -> Manifest:
    peer: Manifest = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return peer | ({"podSelector": {"matchLabels": labels}} if labels else {})


def _ports(protocol: str, ports: Iterable[int]) -> list[Manifest]:
    return [{"protocol": protocol, "port": port} for port in ports]
