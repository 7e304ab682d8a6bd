"""The gateway among peers that lie or break: what one Sentinel or one node says changes nothing that the others decide.

A real HAProxy before real nodes, one of which is not one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from infra.contract import Endpoint
from tests.conformance.test_gateway import assert_cut, needs_haproxy, server_of
from tests.deployment import Deployment
from tests.gateway import Gateway
from tests.liars import (
    Liar,
    Reply,
    array,
    bulk,
    drip,
    hang_up,
    named,
    role_master,
    role_slave,
    silence,
    state,
    without_end,
)
from tests.waiting import await_that

pytestmark = [pytest.mark.deployment, needs_haproxy]

A_POLL_S = 0.4
"""Several of the gateway's questions."""


@contextmanager
def gateway_with(
    deployment: Deployment, folder: Path, *, sentinel: Liar, node: Liar | None = None
) -> Iterator[Gateway]:
    """A gateway that takes the liar for the third Sentinel, and another for the last replica."""
    topology = deployment.topology
    sentinels = (*topology.sentinels[:2], replace(topology.sentinels[2], endpoint=sentinel.endpoint))
    data = topology.data
    if node:
        place = deployment.data.index(deployment.replicas()[-1])
        data = (*data[:place], replace(data[place], endpoint=node.endpoint), *data[place + 1 :])
    told = replace(topology, sentinels=sentinels, data=data)
    with Gateway(deployment, folder, topology=told).running() as running:
        running.await_serving(deployment.master())
        yield running


def honest(master: Endpoint, **changed: Reply) -> dict[str, Reply]:
    said: dict[str, Reply] = {
        "SENTINEL_GET-MASTER-ADDR-BY-NAME": named(master),
        "SENTINEL_MASTER": state(name="m", flags="master", config_epoch="1"),
        "SENTINEL_REPLICAS": array(),
    }
    return said | changed


def malformed(master: Endpoint, orphan: Endpoint) -> dict[str, dict[str, Reply]]:
    """Answers of a Sentinel, by what is wrong with them. `orphan`: a node that is no master."""
    address = "SENTINEL_GET-MASTER-ADDR-BY-NAME"

    def master_is(**fields: str | bytes) -> dict[str, Reply]:
        return {"SENTINEL_MASTER": state(**fields)}

    def promoting(replica: bytes) -> dict[str, Reply]:
        moving = state(flags="master,failover_in_progress", config_epoch="1")
        return {"SENTINEL_MASTER": moving, "SENTINEL_REPLICAS": array(replica)}

    return {
        "no config-epoch": master_is(flags="master"),
        "an empty config-epoch": master_is(flags="master", config_epoch=""),
        "no number for config-epoch": master_is(flags="master", config_epoch="nan"),
        "a negative config-epoch": master_is(flags="master", config_epoch="-1"),
        "a fraction for config-epoch": master_is(flags="master", config_epoch="1.5"),
        "a hexadecimal config-epoch": master_is(flags="master", config_epoch="0x10"),
        "a huge config-epoch": master_is(flags="master", config_epoch="9" * 40),
        "a list for config-epoch": master_is(flags="master", config_epoch=array("1")),
        "nil for config-epoch": master_is(flags="master", config_epoch=b"$-1\r\n"),
        "no flags": master_is(config_epoch="1"),
        "a list for flags": master_is(flags=array("master"), config_epoch="1"),
        "half a pair": {"SENTINEL_MASTER": array("flags", "master", "config-epoch")},
        "no state": {"SENTINEL_MASTER": array()},
        "nil for a state": {"SENTINEL_MASTER": b"*-1\r\n"},
        "a string for a state": {"SENTINEL_MASTER": bulk("master")},
        "a number for a state": {"SENTINEL_MASTER": b":1\r\n"},
        "no master": {address: b"*-1\r\n"},
        "an empty address": {address: array()},
        "an address without a port": {address: array(master.host)},
        "a list for an address": {address: array(array("x"), array("y"))},
        "no number for a port": {address: array(master.host, "redis")},
        "another node as the master": {address: named(orphan)},
        "another node, of a later epoch": {
            address: named(orphan),
            **master_is(flags="master", config_epoch="99999"),
        },
        "a failover to a node that is no master": promoting(
            state(ip=orphan.host, port=str(orphan.port), flags="slave,promoted")
        ),
        "a failover to no address": promoting(state(flags="slave,promoted")),
        "a failover and a replica without flags": promoting(state(ip="x", port="1")),
        "a failover and a string for a replica": promoting(bulk("replica")),
        "a refusal": {"SENTINEL_MASTER": b"-NOPERM no\r\n"},
        "no RESP": {"SENTINEL_MASTER": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        "NUL bytes": {"SENTINEL_MASTER": b"\0" * 100},
        "a negative length": {"SENTINEL_MASTER": b"$-7\r\n"},
        "a huge string": {"SENTINEL_MASTER": b"$999999999\r\n"},
        "a huge list": {"SENTINEL_MASTER": b"*999999999\r\n"},
        "lists in lists without end": {"SENTINEL_MASTER": without_end(b"", b"*1\r\n")},
        "a list without end": {"SENTINEL_MASTER": without_end(b"*4000\r\n", b"$1\r\nx\r\n")},
        "a line without end": {"SENTINEL_MASTER": without_end(b"+", b"x")},
        "an error without end": {"SENTINEL_MASTER": without_end(b"-", b"x")},
        "half an answer": {"SENTINEL_MASTER": b"*40\r\n$4\r\nname\r\n$5\r\n"},
        "a slow answer": {"SENTINEL_MASTER": drip(state(flags="master", config_epoch="1"))},
        "silence": {"SENTINEL_MASTER": silence},
        "the end of the connection": {"SENTINEL_MASTER": hang_up},
    }


def test_no_answer_of_one_sentinel_moves_the_write_address(process_nodes: Deployment, tmp_path: Path) -> None:
    process_nodes.heal()
    master = process_nodes.master()
    at = process_nodes.endpoint(master)
    orphan = process_nodes.endpoint(process_nodes.replicas()[0])
    with Liar().answering() as liar, gateway_with(process_nodes, tmp_path, sentinel=liar) as gateway:
        with gateway.open() as connection:
            connection.ping()
            lies = malformed(at, orphan)
            heard = gateway.log()
            for lie, replies in lies.items():
                liar.say(**honest(at, **replies))
                await_that(lambda: liar.asked >= 2, 5, f"questions to a Sentinel that says {lie}")
                end = time.monotonic() + A_POLL_S
                while time.monotonic() < end:
                    assert gateway.serves() == master, lie
                    connection.ping()
                decided = [line for line in gateway.log().removeprefix(heard).splitlines() if " served" in line]
                assert not decided, (lie, decided)
        liar.say(**honest(at))
        process_nodes.kill("sentinel-1")
        # With the liar, now honest, there are two of three again, and it alone keeps the majority.
        end = time.monotonic() + process_nodes.contract.down_after_ms / 1000 + 1
        while time.monotonic() < end:
            assert gateway.serves() == master
        liar.say(**honest(at, SENTINEL_MASTER=state(flags="master")))
        gateway.await_serving(None, 5)
    process_nodes.heal()


NODE_LIES: dict[str, Reply] = {
    "no role": array(),
    "nil": b"*-1\r\n",
    "a string": b"+master\r\n",
    "an unknown role": array("sentinel", array()),
    "a list for a role": array(array("master")),
    "a replica of nobody": array("slave"),
    "a replica of a list": array("slave", array("x"), array("y"), "connected", b":7\r\n"),
    "a replica of a port that is none": array("slave", "127.0.0.1", "x", "connected", b":7\r\n"),
    "a master": role_master(),
    "a replica of itself, linked": array("slave", "127.0.0.1", b":1\r\n", "connected", b":7\r\n"),
    "a line without end": without_end(b"+", b"x"),
    "a list without end": without_end(b"*4000\r\n", b":1\r\n"),
    "a huge list": b"*99999\r\n",
    "half an answer": b"*5\r\n$5\r\nslave\r\n",
    "silence": silence,
    "the end of the connection": hang_up,
}


def test_no_answer_of_one_node_moves_the_write_address_nor_the_other_readers(
    process_nodes: Deployment, tmp_path: Path
) -> None:
    process_nodes.heal()
    master = process_nodes.master()
    at = process_nodes.endpoint(master)
    other = process_nodes.replicas()[0]
    with Liar().answering() as liar, Liar().answering() as node:
        liar.say(**honest(at))
        node.say(ROLE=silence)
        with gateway_with(process_nodes, tmp_path, sentinel=liar, node=node) as gateway, gateway.open() as connection:
            await_that(lambda: gateway.serves_readers() == {other}, 5, "the other replica as the reader")
            for lie, reply in NODE_LIES.items():
                node.say(ROLE=reply)
                await_that(lambda: node.asked >= 2, 5, f"questions to a node that says {lie}")
                end = time.monotonic() + A_POLL_S
                while time.monotonic() < end:
                    assert gateway.serves() == master, lie
                    assert gateway.serves_readers() == {other}, lie
                    connection.ping()
        assert node.users == {"monitor"}, "nobody but the gateway was led to it"


def chosen(node: Endpoint) -> list[dict[str, Reply]]:
    """Two ways in which a Sentinel claims that this node is, or is about to be, the master."""
    elsewhere: dict[str, Reply] = {"SENTINEL_GET-MASTER-ADDR-BY-NAME": named(node)}
    later: dict[str, Reply] = {"SENTINEL_MASTER": state(flags="master", config_epoch="99999")}
    moving: dict[str, Reply] = {
        "SENTINEL_MASTER": state(flags="master,s_down,o_down,failover_in_progress", config_epoch="1")
    }
    replica: dict[str, Reply] = {
        "SENTINEL_REPLICAS": array(state(ip=node.host, port=str(node.port), flags="slave,promoted"))
    }
    return [elsewhere | later, moving | replica]


@pytest.mark.parametrize("way", [0, 1], ids=["a later epoch", "a failover"])
def test_a_sentinel_and_a_node_together_never_get_the_writes_of_a_silent_master(
    process_nodes: Deployment, tmp_path: Path, way: int
) -> None:
    """The others' majority goes on naming the master, for longer than its last answer counts."""
    process_nodes.heal()
    master = process_nodes.master()
    at, name = process_nodes.endpoint(master), process_nodes.contract.master_name
    with Liar().answering() as liar, Liar().answering() as node:
        liar.say(**honest(at))
        node.say(ROLE=role_slave(at))
        with gateway_with(process_nodes, tmp_path, sentinel=liar, node=node) as gateway:
            await_that(lambda: node.asked > 2, 5, "questions to the node")
            for sentinel in process_nodes.sentinels:
                process_nodes.ask(sentinel, "SENTINEL", "SET", name, "down-after-milliseconds", 60000)
            try:
                with gateway.open() as connection:
                    server = server_of(connection)
                    process_nodes.stop(master)
                    liar.say(**honest(at, **chosen(node.endpoint)[way]))
                    node.say(ROLE=role_master())
                    assert_cut(connection, server, 6)
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    assert gateway.serves() is None
                assert node.users == {"monitor"}, "nobody but the gateway was led to it"
            finally:
                process_nodes.cont(master)
                for sentinel in process_nodes.sentinels:
                    process_nodes.ask(
                        sentinel,
                        "SENTINEL",
                        "SET",
                        name,
                        "down-after-milliseconds",
                        process_nodes.contract.down_after_ms,
                    )
    process_nodes.heal()


@pytest.mark.parametrize("way", [0, 1], ids=["a later epoch", "a failover"])
def test_a_sentinel_and_a_node_together_hold_the_writes_back_for_seconds_at_most(
    process_nodes: Deployment, tmp_path: Path, way: int
) -> None:
    process_nodes.heal()
    master = process_nodes.master()
    at = process_nodes.endpoint(master)
    with Liar().answering() as liar, Liar().answering() as node:
        liar.say(**honest(at))
        node.say(ROLE=role_slave(at))
        with gateway_with(process_nodes, tmp_path, sentinel=liar, node=node) as gateway:
            await_that(lambda: node.asked > 2, 5, "questions to the node")
            liar.say(**honest(at, **chosen(node.endpoint)[way]))
            node.say(ROLE=role_master())
            gateway.await_serving(None, 2)
            gateway.await_serving(master, 5)
            with gateway.open() as connection:
                end = time.monotonic() + 6
                while time.monotonic() < end:
                    connection.ping()
                    assert gateway.serves() == master
                    # Neither going back and forth gives a new claim to the writes.
                    node.say(ROLE=role_slave(at))
                    time.sleep(0.1)
                    node.say(ROLE=role_master())
            assert node.users == {"monitor"}, "nobody but the gateway was led to it"
