"""PURE  Firewall -> an nftables script for the host that runs the containers.

Two tables per stack, both named by `table_name`, and nothing outside them:

- `bridge`: packets between containers of one network. They reach the `inet` hooks only where br_netfilter is loaded.
  Not every kernel tracks connections there, so answers are known by their port and by not opening a connection.
- `inet`: packets that the host routes (published ports included: the forward hook comes after their address has been
  translated, so it sees the node), that it sends itself (Docker's proxy for published ports does), and that nodes send
  to it.

A drop is final and an accept is not: packets that we accept still go through Docker's and everybody else's chains, and
their accepts cannot undo our drops. So the chains' priority decides nothing but who looks first.

Answers are accepted, and not simply what is established: the asking side of a connection is held against the rules
with every packet, so a CIDR that is taken out of the settings loses its open connections too.

ARP passes, for without it no allowed packet would find its node either, and it carries no data. ICMP passes in `inet`
as an error about an allowed connection (a packet too big); a ping is dropped: nothing here needs it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from infra.firewall import OWN, Firewall, Group, Rule

# What nft takes for a name; Pulumi's stack names are the same letters.
STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}")
FAMILIES = ("inet", "bridge")

NEW = "tcp flags & (syn | ack) == syn"
ANSWER = "tcp flags & (syn | ack) != syn"


@dataclass(frozen=True)
class Published:
    """A port of the host that Docker passes on to `port` of `group`. `address` is the host's; 0.0.0.0 is all."""

    group: Group
    port: int
    host_port: int
    address: str = "0.0.0.0"  # noqa: S104  what Docker calls every address; nothing is bound here


def table_name(stack: str) -> str:
    """The name of both tables of a stack. Raises ValueError on a stack name that Pulumi would not take either."""
    if not STACK.fullmatch(stack):
        raise ValueError(f"a stack name of letters, digits, '_', '.' and '-', not {stack!r}")
    return f"redis_sentinel_{stack}"


def script(firewall: Firewall, published: Iterable[Published] = ()) -> str:
    """The text for `nft -f`: replaces the stack's tables in one transaction, whether they were there or not."""
    table = table_name(firewall.stack)
    inet, bridge = list(_inet(firewall, tuple(published))), list(_bridge(firewall))
    digest = hashlib.sha256("\n".join(inet + bridge).encode()).hexdigest()[:12]
    lines = (*_table("inet", table, *_chain(f"version_{digest}"), *inet), *_table("bridge", table, *bridge))
    return removal(table) + "\n".join(lines) + "\n"


def removal(table: str) -> str:
    """The text for `nft -f` that leaves nothing of the stack behind, whether it was there or not."""
    # Adding a table that exists is no error, deleting one that does not is.
    return "".join(f"table {family} {table}\ndelete table {family} {table}\n" for family in FAMILIES)


def version(text: str) -> str:
    """The version that `script` wrote into its text: the rules' digest. Whoever finds another one has older rules."""
    found = re.search(r"chain version_(\w+) ", text)
    if not found:
        raise ValueError("not a script of this module")
    return found[1]


def _table(family: str, name: str, *lines: str) -> Iterator[str]:
    yield f"table {family} {name} {{"
    yield from _indented(lines)
    yield "}"


def _inet(firewall: Firewall, published: tuple[Published, ...]) -> Iterator[str]:
    yield from _sets(firewall)
    yield from _chain(
        "decide",
        'ct state established ct direction reply counter accept comment "answers"',
        'ct state related ip protocol icmp counter accept comment "errors about allowed connections"',
        *(_accept(rule) for rule in firewall.rules),
        _DROP,
    )
    yield from _hook("forward", -10, *_ENTRY)
    yield from _hook("output", -10, *_ENTRY)
    yield from _hook("input", -10, *_ENTRY, *(line for port in published for line in _proxied(firewall, port)))


def _bridge(firewall: Firewall) -> Iterator[str]:
    yield from _sets(firewall)
    pairs = ((_accept(rule), _answer(rule)) for rule in firewall.rules)
    yield from _chain("decide", *(line for pair in pairs for line in pair), _DROP)
    yield from _hook("forward", -210, *_ENTRY)


_DROP = 'counter drop comment "not allowed by any rule above"'
_ENTRY = ("ip daddr @own jump decide", "ip saddr @own jump decide")


def _accept(rule: Rule) -> str:
    return f'{_between(rule.source, rule.destination)} tcp dport {_ports(rule)} counter accept comment "{_words(rule)}"'


def _answer(rule: Rule) -> str:
    comment = f"answers: {rule.source} to {rule.destination}"
    back = _between(rule.destination, rule.source)
    return f'{back} tcp sport {_ports(rule)} {ANSWER} counter accept comment "{comment}"'


def _proxied(firewall: Firewall, published: Published) -> Iterator[str]:
    """Docker's proxy takes what its address translation does not: containers of other networks, and IPv6.

    It connects to the node in the host's name, so who asks has to be looked at here. The host itself asks over `lo`,
    and is looked at on its way to the node.
    """
    where = "" if published.address == "0.0.0.0" else f"ip daddr {published.address} "  # noqa: S104
    what = f"{where}tcp dport {published.host_port} {NEW}"
    yield f'iif lo {what} counter accept comment "the host itself: decided on its way to the node"'
    for rule in firewall.rules:
        if rule.destination == published.group and published.port in rule.ports and rule.source not in OWN:
            yield f'ip saddr @{rule.source} {what} counter accept comment "published: {_words(rule)}"'
    yield f'{what} counter drop comment "published port {published.host_port}: not a declared client"'


def _between(source: Group, destination: Group) -> str:
    return f"ip saddr @{source} ip daddr @{destination}"


def _ports(rule: Rule) -> str:
    return f"{{ {', '.join(map(str, rule.ports))} }}"


def _words(rule: Rule) -> str:
    return f"{rule.source} to {rule.destination}: {rule.reason}"


def _sets(firewall: Firewall) -> Iterator[str]:
    for group in Group:
        if firewall.addresses(group):
            yield from _set(group, firewall.addresses(group))
    yield from _set("own", [address for group in OWN for address in firewall.addresses(group)])


def _set(name: str, addresses: Sequence[IPv4Network]) -> Iterator[str]:
    # Overlapping intervals are an error of nft's, and no mistake of the user's.
    ranges = any(address.prefixlen < 32 for address in addresses)
    distinct = collapse_addresses(addresses) if ranges else sorted(set(addresses))
    yield f"set {name} {{"
    yield "\ttype ipv4_addr"
    if ranges:
        yield "\tflags interval"
    yield f"\telements = {{ {', '.join(map(_element, distinct))} }}"
    yield "}"


def _element(network: IPv4Network) -> str:
    return str(network.network_address) if network.prefixlen == 32 else str(network)


def _chain(name: str, *lines: str) -> Iterator[str]:
    yield f"chain {name} {{"
    yield from _indented(lines)
    yield "}"


def _hook(name: str, priority: int, *lines: str) -> Iterator[str]:
    yield from _chain(name, f"type filter hook {name} priority {priority}; policy accept;", *lines)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"\t{line}" for line in lines]
