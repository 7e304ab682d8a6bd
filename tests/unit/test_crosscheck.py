"""Declared = actual = agreed: each single break of a healthy deployment gives a finding that tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from client.crosscheck import NodeView, Observation, SentinelView, findings, observe_by
from infra.contract import OPERATOR_USERS, Endpoint, NodeAddress, OperatorContract

DATA = tuple(Endpoint("10.0.0.1", 7380 + index) for index in range(3))
SENTINELS = tuple(Endpoint("10.0.0.1", 27380 + index) for index in range(3))
STRANGER = Endpoint("10.9.9.9", 6379)
REPLID, OTHER_REPLID = "a" * 40, "b" * 40
DOWN = "connection refused"
OPTIONS = {"down-after-milliseconds": "2000", "failover-timeout": "10000", "parallel-syncs": "1"}

CONTRACT = OperatorContract(
    sentinel_enabled=True,
    master_name="redis-dev",
    sentinels=SENTINELS,
    username="app",
    password=SecretStr("app-password"),
    sentinel_username="app",
    sentinel_password=SecretStr("app-password"),
    tls=False,
    tls_ca_file=None,
    host=DATA[0].host,
    port=DATA[0].port,
    stack="dev",
    nodes=tuple(NodeAddress(f"data-{index}", endpoint) for index, endpoint in enumerate(DATA)),
    quorum=2,
    down_after_ms=2000,
    users={user: SecretStr(f"{user}-password") for user in OPERATOR_USERS},
)
STANDALONE = CONTRACT.model_copy(update={"sentinel_enabled": False, "sentinels": (), "nodes": CONTRACT.nodes[:1]})


def healthy(master: int = 0) -> Observation:
    """What `observe` sees when all is well and data node `master` is the master."""
    replicas = frozenset(DATA) - {DATA[master]}
    nodes = tuple(
        NodeView(f"data-{index}", endpoint, role="master", replid=REPLID, offset=100, attached=replicas)
        if index == master
        else NodeView(
            f"data-{index}", endpoint, role="slave", replid=REPLID, offset=99, follows=DATA[master], link_up=True
        )
        for index, endpoint in enumerate(DATA)
    )
    sentinels = tuple(
        SentinelView(
            name=f"sentinel-{index}",
            endpoint=endpoint,
            master=DATA[master],
            flags="master",
            quorum=2,
            config_epoch=7,
            options=OPTIONS,
            replicas=dict.fromkeys(sorted(replicas), "slave"),
            promotable=2,
            peers={peer: "sentinel" for peer in SENTINELS if peer != endpoint},
            ckquorum="OK 3 usable Sentinels. Quorum and failover authorization can be reached",
        )
        for index, endpoint in enumerate(SENTINELS)
    )
    return Observation(nodes, sentinels)


Break = Callable[[Observation], Observation]


def node(index: int, **changes: Any) -> Break:
    """Data node `index` says something else."""

    def broken(seen: Observation) -> Observation:
        nodes = list(seen.nodes)
        nodes[index] = replace(nodes[index], **changes)
        return replace(seen, nodes=tuple(nodes))

    return broken


def dead_node(index: int) -> Break:
    """Data node `index` says nothing."""

    def broken(seen: Observation) -> Observation:
        nodes = list(seen.nodes)
        nodes[index] = NodeView(nodes[index].name, nodes[index].endpoint, error=DOWN)
        return replace(seen, nodes=tuple(nodes))

    return broken


def sentinel(index: int, **changes: Any) -> Break:
    """Sentinel `index` says something else."""

    def broken(seen: Observation) -> Observation:
        sentinels = list(seen.sentinels)
        sentinels[index] = replace(sentinels[index], **changes)
        return replace(seen, sentinels=tuple(sentinels))

    return broken


def dead_sentinel(index: int) -> Break:
    """Sentinel `index` says nothing."""

    def broken(seen: Observation) -> Observation:
        sentinels = list(seen.sentinels)
        sentinels[index] = SentinelView(sentinels[index].name, sentinels[index].endpoint, error=DOWN)
        return replace(seen, sentinels=tuple(sentinels))

    return broken


REPLICAS = {DATA[1]: "slave", DATA[2]: "slave"}
PEERS = {SENTINELS[1]: "sentinel", SENTINELS[2]: "sentinel"}  # those of sentinel-0

# what is broken, how, and what one of the findings says
BREAKS: list[tuple[str, Break, str]] = [
    ("master down", dead_node(0), f"data-0 ({DATA[0]}) does not answer: {DOWN}"),
    ("replica down", dead_node(2), f"data-2 ({DATA[2]}) does not answer: {DOWN}"),
    ("Sentinel down", dead_sentinel(1), f"sentinel-1 ({SENTINELS[1]}) does not answer: {DOWN}"),
    (
        "orphan master: a replica after REPLICAOF NO ONE, no Sentinel names it",
        node(1, role="master", follows=None, link_up=False),
        "exactly one data node must say role:master, found: data-0, data-1",
    ),
    ("no master", node(0, role="slave", follows=DATA[1]), "must say role:master, found: none"),
    (
        "replica follows a replica",
        node(2, follows=DATA[1]),
        f"data-2 follows {DATA[1]}, not the master data-0 ({DATA[0]})",
    ),
    ("replica follows a stranger", node(2, follows=STRANGER), f"data-2 follows {STRANGER}, not the master"),
    ("replica link down", node(1, link_up=False), "the link of data-1 to the master is down"),
    (
        "replica whose disk is full",
        node(2, unwritten=("aof_last_write_status",)),
        "data-2 could not write to its disk: aof_last_write_status",
    ),
    (
        "replica of another history",
        node(1, replid=OTHER_REPLID),
        f"data-1 has the replication id {OTHER_REPLID}, the master {REPLID}",
    ),
    (
        "undeclared replica attached",
        node(0, attached=frozenset({DATA[1], DATA[2], STRANGER})),
        f"replicas attached to data-0: {STRANGER} is not declared",
    ),
    (
        "replica not attached",
        node(0, attached=frozenset({DATA[1]})),
        f"replicas attached to data-0: {DATA[2]} is missing",
    ),
    (
        "Sentinel names another master",
        sentinel(2, master=DATA[1]),
        f"sentinel-2 names {DATA[1]} as the master, but data-0 ({DATA[0]}) is",
    ),
    ("Sentinel knows no master", sentinel(2, master=None), "sentinel-2 names None as the master"),
    ("Sentinel holds the master for down", sentinel(0, flags="s_down,master"), "sees the master as s_down,master"),
    ("failover under way", sentinel(0, flags="master,failover_in_progress"), "master,failover_in_progress"),
    ("wrong quorum", sentinel(1, quorum=1), "sentinel-1 has quorum 1, declared 2"),
    (
        "left by a promotion that was killed",
        sentinel(1, options=OPTIONS | {"down-after-milliseconds": "9000"}),
        "sentinel-1 has down-after-milliseconds 9000, the others 2000",
    ),
    (
        "left by an election that was killed",
        sentinel(2, options=OPTIONS | {"failover-timeout": "1000"}),
        "sentinel-2 has failover-timeout 1000, the others 10000",
    ),
    (
        "left by a handover that was killed, on the old master",
        node(1, min_replicas=1000000),
        "data-1 takes writes with min-replicas-to-write 1000000 only, declared 2",
    ),
    (
        "left by a handover that was killed, on the new master",
        node(1, priority=1),
        "data-1 has replica-priority 1, declared 100",
    ),
    ("epochs differ", sentinel(1, config_epoch=8), "the Sentinels disagree on the config-epoch: [7, 8]"),
    (
        "ghost replica",
        sentinel(0, replicas=REPLICAS | {STRANGER: "s_down,slave,disconnected"}),
        f"replicas known to sentinel-0: {STRANGER} is not declared",
    ),
    (
        "replica unknown to a Sentinel",
        sentinel(0, replicas={DATA[1]: "slave"}),
        f"replicas known to sentinel-0: {DATA[2]} is missing",
    ),
    (
        "replica held for down",
        sentinel(0, replicas=REPLICAS | {DATA[1]: "s_down,slave"}),
        f"sentinel-0 sees {DATA[1]} as s_down,slave",
    ),
    (
        "ghost peer",
        sentinel(0, peers=PEERS | {STRANGER: "sentinel"}),
        f"Sentinels known to sentinel-0: {STRANGER} is not declared",
    ),
    (
        "missing peer",
        sentinel(0, peers={SENTINELS[1]: "sentinel"}),
        f"Sentinels known to sentinel-0: {SENTINELS[2]} is missing",
    ),
    (
        "peer held for down",
        sentinel(0, peers=PEERS | {SENTINELS[2]: "s_down,sentinel"}),
        f"sentinel-0 sees {SENTINELS[2]} as s_down,sentinel",
    ),
    ("a replica cannot be promoted", sentinel(2, promotable=1), "sentinel-2 could promote 1 of 2 replicas"),
    (
        "CKQUORUM fails",
        sentinel(1, ckquorum="NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the majority"),
        "sentinel-1 fails CKQUORUM: NOQUORUM 1 usable Sentinels",
    ),
    ("CKQUORUM says nothing", sentinel(1, ckquorum=""), "sentinel-1 fails CKQUORUM"),
]


@pytest.mark.parametrize("master", [0, 1, 2])
def test_a_healthy_deployment_has_no_findings_whoever_is_master(master: int) -> None:
    assert findings(CONTRACT, healthy(master)) == ()


def test_a_healthy_standalone_node_has_no_findings() -> None:
    alone = NodeView("data-0", DATA[0], role="master", replid=REPLID, offset=5)
    assert findings(STANDALONE, Observation((alone,), ())) == ()


@pytest.mark.parametrize(("broken", "told"), [(each[1], each[2]) for each in BREAKS], ids=[each[0] for each in BREAKS])
def test_a_break_is_told(broken: Break, told: str) -> None:
    found = findings(CONTRACT, broken(healthy()))
    assert [finding for finding in found if told in finding], found


def test_each_break_alone_is_one_finding() -> None:
    """So the words point at the break and not at its neighbours: except where a break has two sides."""
    two_sides = {"master down", "ghost replica"}
    for name, broken, _ in BREAKS:
        assert len(findings(CONTRACT, broken(healthy()))) == (2 if name in two_sides else 1), name


def test_breaks_add_up() -> None:
    seen = healthy()
    for broken in (dead_sentinel(2), node(1, link_up=False), sentinel(0, quorum=3), sentinel(1, quorum=1)):
        seen = broken(seen)
    assert len(findings(CONTRACT, seen)) == 4


def test_a_dead_standalone_node_is_told() -> None:
    seen = Observation((NodeView("data-0", DATA[0], error=DOWN),), ())
    assert f"data-0 ({DATA[0]}) does not answer: {DOWN}" in findings(STANDALONE, seen)


def test_a_standalone_node_with_a_replica_is_told() -> None:
    alone = NodeView("data-0", DATA[0], role="master", replid=REPLID, attached=frozenset({STRANGER}))
    assert findings(STANDALONE, Observation((alone,), ())) == (
        f"replicas attached to data-0: {STRANGER} is not declared",
    )


def test_a_standalone_node_that_is_a_replica_is_told() -> None:
    seen = Observation((NodeView("data-0", DATA[0], role="slave", follows=STRANGER, link_up=True),), ())
    assert findings(STANDALONE, seen) == ("exactly one data node must say role:master, found: none",)


def test_nobody_answering_is_told_of_everybody() -> None:
    seen = healthy()
    for index in range(3):
        seen = dead_sentinel(index)(dead_node(index)(seen))
    assert len([finding for finding in findings(CONTRACT, seen) if DOWN in finding]) == 6


def test_nodes_that_are_about_to_go_can_be_left_out_but_nothing_else() -> None:
    seen = healthy()
    going = Observation(
        tuple(replace(each, attached=each.attached | {STRANGER}) if each.attached else each for each in seen.nodes),
        tuple(
            replace(
                each,
                replicas=dict(each.replicas or {}) | {STRANGER: "s_down,slave"},
                peers=dict(each.peers or {}) | {Endpoint("10.9.9.9", 26379): "sentinel"},
            )
            for each in seen.sentinels
        ),
    )
    assert len(findings(CONTRACT, going)) == 1 + 3 * 3
    assert findings(CONTRACT, going, undeclared_too=True) == ()
    broken = dead_sentinel(2)(node(1, link_up=False)(going))
    assert len(findings(CONTRACT, broken, undeclared_too=True)) == 2


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("invalid username-password pair"),
        redis.ResponseError("WRONGPASS invalid username-password pair or user is disabled."),
        redis.ResponseError("NOAUTH Authentication required."),
    ],
    ids=["redis-py", "inside the node", "no login"],
)
def test_who_refuses_the_login_is_told_from_who_is_not_there(error: Exception) -> None:
    def ask(address: NodeAddress, _questions: Sequence[str]) -> list[Any]:
        raise error if address.name == "data-0" else redis.ConnectionError("Connection refused")

    found = findings(CONTRACT, observe_by(CONTRACT, ask))
    assert any(each.startswith(f"data-0 ({DATA[0]}) is there and refuses the login: ") for each in found)
    assert any(each.startswith(f"data-1 ({DATA[1]}) does not answer: ") for each in found)
