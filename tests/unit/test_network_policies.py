"""The policies say what the rules say: who is named, on which ports, and that the rest is denied."""

from __future__ import annotations

from typing import Any

from infra import firewall
from infra.firewall import Group
from infra.targets.network_policies import CLIENT, policies
from infra.topology import plan
from tests.unit.samples import declared


def made(**overrides: str) -> dict[str, Any]:
    settings = declared(target="kubernetes", image=IMAGE, gatewayImage=IMAGE, **overrides)
    from infra.targets.kubernetes import KubernetesTarget

    topology = plan("dev", settings, KubernetesTarget(settings).address)
    in_front = firewall.Gateway("0.0.0.0", (6379, 6380), 8404)  # noqa: S104
    return policies(firewall.rules(topology, in_front, set(Group)), settings)


IMAGE = f"sha256:{'0123456789abcdef' * 4}"


def ports(rules: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


def test_everything_is_denied_in_and_out_unless_a_policy_allows_it() -> None:
    assert made()["deny-everything-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_rule_has_peers_and_ports() -> None:
    """An empty list of either means everybody, or every port."""
    for name, spec in made(clients='["10.1.0.0/16"]').items():
        for direction, end in (("ingress", "from"), ("egress", "to")):
            for rule in spec.get(direction, []):
                assert rule[end], name
                assert rule["ports"], name
                assert all(rule[end]), name


def test_names_are_asked_for_on_udp_and_tcp() -> None:
    for name, spec in made().items():
        if name != "deny-everything-else":
            assert {("UDP", 53), ("TCP", 53)} <= ports(spec["egress"]), name


def test_nodes_go_nowhere_else() -> None:
    assert ports(made()["data"]["egress"]) == {("TCP", 6379), ("TCP", 26379), ("UDP", 53), ("TCP", 53)}


def test_clients_are_labelled_pods_here_networks_and_pods_elsewhere() -> None:
    spec = made(clients='["10.1.0.0/16"]', clientPods='["shop", "tools:app=cron,tier=batch"]')["data"]
    (peers,) = [rule["from"] for rule in spec["ingress"] if {"ipBlock": {"cidr": "10.1.0.0/16"}} in rule["from"]]
    assert {"podSelector": {"matchLabels": CLIENT}} in peers
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}} in peers
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}},
        "podSelector": {"matchLabels": {"app": "cron", "tier": "batch"}},
    } in peers
