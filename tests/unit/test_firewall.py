"""Default deny: the rules name what a deployment needs, and the rendered tables drop everything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.contract import Endpoint
from infra.firewall import DENIED, Firewall, Gateway, Group, describe, plan
from infra.targets import nftables
from infra.targets.nftables import Published
from infra.topology import Kind
from infra.topology import plan as plan_topology
from tests.unit.samples import declared

GOLDEN = Path(__file__).parent / "golden" / "firewall.nft"
PUBLISHED = (Published(Group.GATEWAY, 6379, 16379, "192.0.2.1"),)

# Who has which address in these tests; `stranger` is nobody.
ADDRESSES = {
    "data": ["10.80.0.10", "10.80.0.11", "10.80.0.12"],
    "sentinels": ["10.80.0.20", "10.80.0.21", "10.80.0.22"],
    "gateway": ["10.80.0.30"],
    "clients": ["10.80.0.128", "10.80.0.255", "172.20.1.1"],
    "monitoring": ["10.90.0.4"],
    "stranger": ["10.80.0.1", "10.80.0.13", "10.80.0.127", "10.90.0.5", "8.8.8.8"],
}
GROUP_OF = {address: group for group, addresses in ADDRESSES.items() for address in addresses}
# The specification, written out by hand: (source, destination) -> ports. Everything else is denied.
ALLOWED = {
    ("data", "data"): {6379},
    ("data", "sentinels"): {26379},
    ("sentinels", "data"): {6379},
    ("sentinels", "sentinels"): {26379},
    ("gateway", "data"): {6379},
    ("gateway", "sentinels"): {26379},
    ("clients", "data"): {6379},
    ("clients", "sentinels"): {26379},
    ("clients", "gateway"): {6379, 6380},
    ("monitoring", "data"): {9121},
    ("monitoring", "sentinels"): {9121},
    ("monitoring", "gateway"): {8404},
}
PORTS = st.sampled_from([22, 53, 80, 6378, 6379, 6380, 8404, 9121, 16379, 26379, 26380]) | st.integers(1, 65535)
ANYONE = st.sampled_from(sorted(GROUP_OF))


def firewall(*, gateway: bool = True, **overrides: str) -> Firewall:
    outside = {
        "clients": '["10.80.0.128/25", "10.80.0.192/26", "172.20.0.0/16"]',
        "monitoring": '["10.90.0.4/32"]',
    }
    settings = declared("staging", **(outside | overrides))

    def address(kind: Kind, index: int) -> Endpoint:
        group, port = ("data", 6379) if kind is Kind.DATA else ("sentinels", 26379)
        return Endpoint(ADDRESSES[group][index], port)

    topology = plan_topology("staging", settings, address)
    return plan(topology, settings, Gateway("10.80.0.30", (6379, 6380), 8404) if gateway else None)


class Tables:
    """Evaluates the text of a script, for one hook: as little of nftables as our scripts use."""

    def __init__(self, text: str, family: str) -> None:
        body = text.partition(f"table {family} redis_sentinel_staging {{\n")[2].partition("\n}")[0]
        self.sets = {
            name: [ip_network(element) for element in elements.split(", ")]
            for name, elements in re.findall(r"set (\w+) \{[^}]*?elements = \{ ([^}]*) \}", body)
        }
        self.chains = {
            name: lines.strip().split("\n\t\t")
            for name, lines in re.findall(r"\n\tchain (\w+) \{\n(.*?)\n\t\}", body, re.DOTALL)
        }

    def drops(self, hook: str, source: str, destination: str, port: int, *, opens: bool = True) -> bool:
        """Whether a TCP packet is dropped: the first of its connection, or with `opens=False` the answer to one."""
        return self._run(self.chains[hook][1:], source, destination, port, opens) == "drop"

    def _run(self, lines: list[str], source: str, destination: str, port: int, opens: bool) -> str:
        for line in lines:
            rest = self._matched(line, source, destination, port, opens)
            verdict = "" if rest is None else rest.split(" comment ")[0].split()[-1]
            if rest is not None and "jump" in rest:
                verdict = self._run(self.chains[verdict], source, destination, port, opens)
            if verdict in ("accept", "drop"):
                return verdict
        return "fell through"

    def _matched(self, line: str, source: str, destination: str, port: int, opens: bool) -> str | None:
        """What remains of a rule after all its conditions; None when one does not hold."""
        conditions: dict[str, Callable[[str], bool]] = {
            r"ip saddr (\S+) ": lambda value: self._has(value, source),
            r"ip daddr (\S+) ": lambda value: self._has(value, destination),
            r"tcp dport \{ ([^}]*) \} ": lambda value: opens and str(port) in value.split(", "),
            r"tcp dport (\d+) ": lambda value: opens and str(port) == value,
            r"tcp sport \{ ([^}]*) \} ": lambda value: not opens and str(port) in value.split(", "),
            r"tcp flags & \(syn \| ack\) == (syn) ": lambda _: opens,
            r"tcp flags & \(syn \| ack\) != (syn) ": lambda _: not opens,
            r"ct state established ct direction (reply) ": lambda _: not opens,
            r"ct state related ip protocol (icmp) ": lambda _: False,
            r"iif (lo) ": lambda _: False,
        }
        while True:
            for pattern, holds in conditions.items():
                found = re.match(pattern, line)
                if found and not holds(found[1]):
                    return None
                if found:
                    line = line[found.end() :]
                    break
            else:
                assert re.match(r"counter |jump ", line), f"the interpreter does not know {line!r}"
                return line

    def _has(self, value: str, address: str) -> bool:
        networks = self.sets[value[1:]] if value.startswith("@") else [ip_network(value)]
        return any(IPv4Address(address) in network for network in networks)


TEXT = nftables.script(firewall(), PUBLISHED)
TABLES = {family: Tables(TEXT, family) for family in nftables.FAMILIES}
HOOKS = [("inet", "forward"), ("inet", "output"), ("inet", "input"), ("bridge", "forward")]


@pytest.mark.parametrize(("family", "hook"), HOOKS)
@given(source=ANYONE, destination=ANYONE, port=PORTS)
@hypothesis_settings(max_examples=150, deadline=None)
def test_what_the_table_of_rules_does_not_allow_is_dropped(
    family: str, hook: str, source: str, destination: str, port: int
) -> None:
    ours = {GROUP_OF[source], GROUP_OF[destination]} & {"data", "sentinels", "gateway"}
    allowed = port in ALLOWED.get((GROUP_OF[source], GROUP_OF[destination]), ())
    assert TABLES[family].drops(hook, source, destination, port) == (bool(ours) and not allowed)


def test_every_allowed_path_is_open_both_ways() -> None:
    for (source, destination), ports in ALLOWED.items():
        for one, other, port in product(ADDRESSES[source], ADDRESSES[destination], ports):
            for family, hook in HOOKS:
                assert not TABLES[family].drops(hook, one, other, port)
                assert not TABLES[family].drops(hook, other, one, port, opens=False)


def product(sources: list[str], destinations: list[str], ports: set[int]) -> Iterator[tuple[str, str, int]]:
    return ((one, other, port) for one in sources for other in destinations for port in ports)


def test_on_a_bridge_an_answer_that_nobody_may_have_asked_for_is_dropped() -> None:
    assert TABLES["bridge"].drops("forward", "10.80.0.10", "10.80.0.1", 6379, opens=False)
    assert TABLES["bridge"].drops("forward", "10.80.0.10", "10.80.0.128", 9121, opens=False)


def test_dockers_proxy_serves_only_declared_clients() -> None:
    table = TABLES["inet"]
    assert table.drops("input", "10.90.0.5", "192.0.2.1", 16379)
    assert table.drops("input", "10.90.0.4", "192.0.2.1", 16379), "monitoring is no client"
    assert not table.drops("input", "172.20.1.1", "192.0.2.1", 16379)
    assert not table.drops("input", "10.90.0.5", "192.0.2.2", 16379), "another address of the host's is not ours"


def test_a_port_published_on_every_address_is_guarded_on_every_address() -> None:
    table = Tables(nftables.script(firewall(), [Published(Group.GATEWAY, 6379, 16379)]), "inet")
    assert table.drops("input", "10.90.0.5", "192.0.2.2", 16379)


def test_without_declared_clients_and_gateway_only_the_nodes_talk() -> None:
    quiet = firewall(gateway=False, clients="[]", monitoring="[]")
    assert {(rule.source, rule.destination) for rule in quiet.rules} == {
        (one, other) for one in (Group.DATA, Group.SENTINELS) for other in (Group.DATA, Group.SENTINELS)
    }
    assert "no clients declared: nobody is allowed in as one" in describe(quiet)


def test_standalone_has_one_node_and_its_clients() -> None:
    alone = firewall(gateway=False, mode="standalone", monitoring="[]")
    pairs = {(rule.source, rule.destination) for rule in alone.rules}
    assert pairs == {(Group.DATA, Group.DATA), (Group.CLIENTS, Group.DATA)}


def test_a_preview_says_every_rule_in_words() -> None:
    words = describe(firewall())
    assert len(words) == len(ALLOWED) + 1
    assert words[-1] == DENIED
    clients = "allow clients (10.80.0.128/25, 10.80.0.192/26, 172.20.0.0/16) -> gateway TCP 6379, 6380: "
    assert any(line.startswith(clients) for line in words)


def test_the_script_is_what_it_was() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == TEXT


def test_the_script_replaces_its_own_tables_and_names_no_other() -> None:
    tables = set(re.findall(r"^(?:delete )?table (\w+ \S+)", TEXT, re.MULTILINE))
    assert tables == {"inet redis_sentinel_staging", "bridge redis_sentinel_staging"}
    assert "flush" not in TEXT
    assert TEXT.startswith(nftables.removal("redis_sentinel_staging"))


def test_no_comment_is_longer_than_the_kernel_keeps() -> None:
    assert max(map(len, re.findall(r'comment "([^"]*)"', TEXT))) < 128


def test_the_version_changes_with_any_rule() -> None:
    assert nftables.version(TEXT) == nftables.version(nftables.script(firewall(), PUBLISHED))
    assert nftables.version(TEXT) != nftables.version(nftables.script(firewall()))


@pytest.mark.parametrize("stack", ["", "a b", "a;b", "x" * 101, "a\n"])
def test_a_stack_name_that_nft_would_read_differently_is_refused(stack: str) -> None:
    with pytest.raises(ValueError, match="a stack name"):
        nftables.table_name(stack)
