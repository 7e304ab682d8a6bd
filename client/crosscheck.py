"""Declared = actual = agreed: compares the declared nodes, each node's own word and every Sentinel's view.

`observe` asks everybody at once, `observe_by` by whatever way there is to the nodes: the questions are the same.
`findings` is pure and says in words what does not fit. An empty answer is the only good one: an unreachable node, an
orphan master or a ghost replica each is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from redis.exceptions import RedisError

from client.errors import describe, is_refusal
from client.links import open_as
from infra.contract import Endpoint, NodeAddress, OperatorContract

T = TypeVar("T")

ORDINARY_PRIORITY = 100
"""A replica's `replica-priority` when nobody prefers it and nothing keeps it from being promoted."""

NODE_QUESTIONS = ("INFO replication", "INFO persistence", "CONFIG GET min-replicas-to-write replica-priority")
# What Sentinels go by, as SENTINEL MASTER names it.
_OPTIONS = ("down-after-milliseconds", "failover-timeout", "parallel-syncs")
# What a server says of its disk; each is `ok` or `err`.
_DISK = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
SENTINEL_QUESTIONS = (
    "SENTINEL GET-MASTER-ADDR-BY-NAME {}",
    "SENTINEL MASTER {}",
    "SENTINEL REPLICAS {}",
    "SENTINEL SENTINELS {}",
    "SENTINEL CKQUORUM {}",
)
Ask = Callable[[NodeAddress, Sequence[str]], Sequence[Any]]
"""Puts questions to a node: a reply each, as redis-py gives it, INFO as text; a refusal is an exception among them.

Raises RedisError or OSError when there is no answer.
"""


@dataclass(frozen=True)
class NodeView:
    """What a data node says of itself. `error` tells why it says nothing: it is not there, or `refused` the login."""

    name: str
    endpoint: Endpoint
    error: str = ""
    refused: bool = False
    role: str = ""
    replid: str = ""
    offset: int = 0
    follows: Endpoint | None = None
    link_up: bool = False
    attached: frozenset[Endpoint] = frozenset()
    unwritten: tuple[str, ...] = ()
    """What it could not write to its disk when it last tried."""
    priority: int = ORDINARY_PRIORITY
    min_replicas: int = 0


@dataclass(frozen=True)
class SentinelView:
    """What a Sentinel knows. `replicas` and `peers`: address -> flags, such as `slave` or `slave,s_down`.

    `voted_epoch`: the latest epoch in which a peer voted for it. Beyond `config_epoch`, nobody was promoted in it.
    """

    name: str
    endpoint: Endpoint
    error: str = ""
    refused: bool = False
    master: Endpoint | None = None
    flags: str = ""
    quorum: int = 0
    config_epoch: int = 0
    voted_epoch: int = 0
    options: Mapping[str, str] | None = None
    replicas: Mapping[Endpoint, str] | None = None
    promotable: int = 0
    peers: Mapping[Endpoint, str] | None = None
    ckquorum: str = ""


@dataclass(frozen=True)
class Observation:
    """Everybody's word at about one moment."""

    nodes: tuple[NodeView, ...]
    sentinels: tuple[SentinelView, ...]

    @property
    def everybody(self) -> tuple[NodeView | SentinelView, ...]:
        return (*self.nodes, *self.sentinels)

    @property
    def masters(self) -> tuple[NodeView, ...]:
        return tuple(node for node in self.nodes if node.role == "master")


def observe(contract: OperatorContract, *, timeout_s: float = 1.0) -> Observation:
    """Ask every declared node and Sentinel at once. Never raises for one that is down.

    As user `monitor`; for settings as `operator`, who alone may read them.
    """

    def ask(address: NodeAddress, questions: Sequence[str]) -> list[Any]:
        replies: dict[str, Any] = {}
        for user, asks in groupby(questions, lambda each: "operator" if each.startswith("CONFIG") else "monitor"):
            mine = list(asks)
            replies |= zip(mine, ask_as(user, address, mine), strict=True)
        return [replies[question] for question in questions]

    def ask_as(user: str, address: NodeAddress, questions: Sequence[str]) -> list[Any]:
        with closing(open_as(contract, user, address.endpoint, timeout_s)) as link:
            # INFO as the server sends it.
            link.set_response_callback("INFO", lambda reply, **_: reply)
            pipeline = link.pipeline(transaction=False)
            for question in questions:
                pipeline.execute_command(*question.split())  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    return observe_by(contract, ask, at_once=len(contract.nodes) + len(contract.sentinels))


def observe_by(contract: OperatorContract, ask: Ask, *, at_once: int = 1) -> Observation:
    """The same by another way to the nodes than the network; as many of them `at_once`."""
    sentinels = [NodeAddress(f"sentinel-{i}", endpoint) for i, endpoint in enumerate(contract.sentinels)]
    name = contract.master_name

    def view(address: NodeAddress, questions: Sequence[str], read: Callable[..., T], failed: Callable[..., T]) -> T:
        try:
            return read(address, *ask(address, questions))
        except (RedisError, OSError) as error:
            return failed(
                name=address.name, endpoint=address.endpoint, error=describe(error), refused=is_refusal(error)
            )

    def node(address: NodeAddress) -> NodeView:
        return view(address, NODE_QUESTIONS, _node_view, NodeView)

    def sentinel(address: NodeAddress) -> SentinelView:
        return view(address, [each.format(name) for each in SENTINEL_QUESTIONS], _sentinel_view, SentinelView)

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        nodes, views = pool.map(node, contract.nodes), pool.map(sentinel, sentinels)
        return Observation(tuple(nodes), tuple(views))


def findings(contract: OperatorContract, seen: Observation, *, undeclared_too: bool = False) -> tuple[str, ...]:
    """PURE  Everything that is not as declared, one sentence each; empty when all is well.

    `undeclared_too`: others than the declared nodes may be there too, whatever their state.
    """
    if undeclared_too:
        seen = _without_undeclared(contract, seen)
    return tuple(_findings(contract, seen))


def _without_undeclared(contract: OperatorContract, seen: Observation) -> Observation:
    nodes = frozenset(node.endpoint for node in contract.nodes)
    declared = nodes | frozenset(contract.sentinels)

    def only(known: Mapping[Endpoint, str] | None) -> Mapping[Endpoint, str]:
        return {endpoint: flags for endpoint, flags in (known or {}).items() if endpoint in declared}

    return Observation(
        tuple(replace(node, attached=node.attached & nodes) for node in seen.nodes),
        tuple(replace(view, replicas=only(view.replicas), peers=only(view.peers)) for view in seen.sentinels),
    )


def _findings(contract: OperatorContract, seen: Observation) -> Iterator[str]:
    for view in seen.everybody:
        if view.error:
            what = "is there and refuses the login" if view.refused else "does not answer"
            yield f"{view.name} ({view.endpoint}) {what}: {view.error}"
    for node in seen.nodes:
        if node.unwritten:
            yield f"{node.name} could not write to its disk: {', '.join(node.unwritten)} in its INFO persistence"
        yield from _left_behind(contract, node)
    masters = seen.masters
    if len(masters) != 1:
        names = ", ".join(node.name for node in masters) or "none"
        yield f"exactly one data node must say role:master, found: {names}"
        return
    master = masters[0]
    replicas = frozenset(address.endpoint for address in contract.nodes) - {master.endpoint}
    for node in seen.nodes:
        if node.role == "slave":
            yield from _replica_findings(node, master)
    yield from _difference(f"replicas attached to {master.name}", master.attached, replicas)
    for option in _OPTIONS:
        yield from _odd_ones_out(option, seen.sentinels)
    epochs = {view.config_epoch for view in seen.sentinels if not view.error}
    if len(epochs) > 1:
        yield f"the Sentinels disagree on the config-epoch: {sorted(epochs)}"
    for view in seen.sentinels:
        if not view.error:
            yield from _sentinel_findings(contract, view, master, replicas)


def _left_behind(contract: OperatorContract, node: NodeView) -> Iterator[str]:
    """What a handover changes for a moment, and one that was killed leaves."""
    declared = contract.min_replicas_to_write
    most = len(contract.nodes) - 1 if declared is None else declared
    if node.min_replicas > most:
        yield f"{node.name} takes writes with min-replicas-to-write {node.min_replicas} only, declared {most}"
    if node.priority not in (0, ORDINARY_PRIORITY):  # 0: counted by what the Sentinels could promote
        yield f"{node.name} has replica-priority {node.priority}, declared {ORDINARY_PRIORITY}"


def _replica_findings(node: NodeView, master: NodeView) -> Iterator[str]:
    if node.follows != master.endpoint:
        yield f"{node.name} follows {node.follows}, not the master {master.name} ({master.endpoint})"
    elif not node.link_up:
        yield f"the link of {node.name} to the master is down"
    elif node.replid != master.replid:
        yield f"{node.name} has the replication id {node.replid}, the master {master.replid}"


def _odd_ones_out(option: str, sentinels: Sequence[SentinelView]) -> Iterator[str]:
    """All of them were told the same; what one is told for a moment and is left with tells it from the others."""
    values = {view.name: view.options[option] for view in sentinels if view.options and option in view.options}
    if not values:
        return
    usual, _ = Counter(values.values()).most_common(1)[0]
    for name, value in values.items():
        if value != usual:
            yield f"{name} has {option} {value}, the others {usual}"


def _sentinel_findings(
    contract: OperatorContract, view: SentinelView, master: NodeView, replicas: frozenset[Endpoint]
) -> Iterator[str]:
    if view.master != master.endpoint:
        yield f"{view.name} names {view.master} as the master, but {master.name} ({master.endpoint}) is"
    if view.flags != "master":
        yield f"{view.name} sees the master as {view.flags}"
    if view.quorum != contract.quorum:
        yield f"{view.name} has quorum {view.quorum}, declared {contract.quorum}"
    yield from _difference(f"replicas known to {view.name}", frozenset(view.replicas or {}), replicas)
    peers = frozenset(contract.sentinels) - {view.endpoint}
    yield from _difference(f"Sentinels known to {view.name}", frozenset(view.peers or {}), peers)
    for kind, known in (("slave", view.replicas or {}), ("sentinel", view.peers or {})):
        for endpoint, flags in known.items():
            if flags != kind:
                yield f"{view.name} sees {endpoint} as {flags}"
    if view.promotable < len(replicas):
        yield f"{view.name} could promote {view.promotable} of {len(replicas)} replicas"
    if not view.ckquorum.startswith("OK"):
        yield f"{view.name} fails CKQUORUM: {view.ckquorum}"


def _difference(what: str, actual: frozenset[Endpoint], declared: frozenset[Endpoint]) -> Iterator[str]:
    for endpoint in sorted(declared - actual):
        yield f"{what}: {endpoint} is missing"
    for endpoint in sorted(actual - declared):
        yield f"{what}: {endpoint} is not declared"


def _node_view(address: NodeAddress, replication: Any, persistence: Any, settings: Any) -> NodeView:
    info, disk, values = _info(replication), _info(persistence), _pairs(settings)
    replica = info["role"] == "slave"
    attached = [
        dict(pair.split("=", 1) for pair in info[f"slave{index}"].split(","))
        for index in range(int(info["connected_slaves"]))
    ]
    return NodeView(
        name=address.name,
        endpoint=address.endpoint,
        role=info["role"],
        replid=info["master_replid"],
        offset=int(info["slave_repl_offset"] if replica else info["master_repl_offset"]),
        follows=Endpoint(info["master_host"], int(info["master_port"])) if replica else None,
        link_up=replica and info["master_link_status"] == "up" and not int(info["master_sync_in_progress"]),
        attached=frozenset(_endpoint(each) for each in attached if each["state"] == "online"),
        unwritten=tuple(status for status in _DISK if disk.get(status) == "err"),
        priority=int(values["replica-priority"]),
        min_replicas=int(values["min-replicas-to-write"]),
    )


def _sentinel_view(
    address: NodeAddress, named: Any, master: Any, replicas: Any, peers: Any, ckquorum: Any
) -> SentinelView:
    of_master, of_replicas = _pairs(master), [_pairs(each) for each in _answered(replicas)]
    of_peers = [_pairs(each) for each in _answered(peers)]
    at = _answered(named)
    return SentinelView(
        name=address.name,
        endpoint=address.endpoint,
        master=Endpoint(at[0], int(at[1])) if at else None,
        flags=of_master["flags"],
        quorum=int(of_master["quorum"]),
        config_epoch=int(of_master["config-epoch"]),
        voted_epoch=max((int(each.get("voted-leader-epoch", 0)) for each in of_peers), default=0),
        options={option: of_master[option] for option in _OPTIONS if option in of_master},
        replicas={_endpoint(each): each["flags"] for each in of_replicas},
        promotable=sum(each["master-link-status"] == "ok" and each["slave-priority"] != "0" for each in of_replicas),
        peers={_endpoint(each): each["flags"] for each in of_peers},
        ckquorum=str(ckquorum),
    )


def _answered(reply: Any) -> Any:
    """The reply; raises the one that is a refusal."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _info(reply: Any) -> dict[str, str]:
    lines = str(_answered(reply)).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _pairs(reply: Any) -> dict[str, str]:
    flat = _answered(reply)
    return dict(zip(map(str, flat[::2]), map(str, flat[1::2]), strict=True))


def _endpoint(fields: Mapping[str, str]) -> Endpoint:
    return Endpoint(fields["ip"], int(fields["port"]))
