"""The client without Sentinels: behind a gateway that follows the master, and at one node's own address."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.connect import Client, connect
from client.errors import NoReply, RedisUnavailable
from client.options import Options
from tests.client.test_following import SLOW, Move, moved_by_handover, moved_by_hang, rounds_a_second
from tests.deployment import Deployment
from tests.gateway import Gateway
from tests.waiting import await_that

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH (apt-get install haproxy)"),
]


@pytest.fixture
def gateway(deployment: Deployment, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(deployment, tmp_path).running() as running:
        running.await_serving(deployment.master())
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with connect(gateway.contract) as client:
        client.ping()
        yield client


@pytest.fixture
def key() -> str:
    return f"one-address:{time.time_ns()}"


@pytest.mark.parametrize("move", [moved_by_handover, moved_by_hang], ids=["handover", "hang"])
def test_reads_messages_and_waits_move_behind_the_gateway(
    deployment: Deployment, client: Client, key: str, move: Move
) -> None:
    popped: list[Any] = []
    waiter = threading.Thread(target=lambda: popped.append(client.call(lambda node: node.blpop([key], 30))))
    waiter.start()
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe(key)
        move(deployment)

        def hears() -> bool:
            client.call(lambda node: node.publish(key, "x"))
            return subscriber.get_message(timeout=0.2) is not None

        await_that(hears, 15, "a message")
    client.call(lambda node: node.rpush(key, "item"))
    waiter.join(15)
    assert popped == [(key, "item")]


def test_a_slow_script_is_sent_once_through_the_gateway(deployment: Deployment, client: Client, key: str) -> None:
    rounds = int(1.5 * rounds_a_second(client, key))
    with pytest.raises(NoReply, match="timeout_s = 1 s"):
        client.call(lambda node: node.eval(SLOW, 1, key, rounds))
    assert client.get(key) in ("1", None)  # None: a busy machine made it long enough for a failover


def test_a_plain_command_that_a_hanging_master_has_not_answered_goes_to_its_successor(
    deployment: Deployment, client: Client, key: str
) -> None:
    deployment.stop(deployment.master())
    assert client.call(lambda node: node.set(key, "1"))
    assert client.get(key) == "1"


def test_a_node_s_own_address_is_refused_once_it_is_demoted(deployment: Deployment, key: str) -> None:
    master = deployment.endpoint(deployment.master())
    alone = deployment.contract.application(standalone=True).model_copy(
        update={"host": master.host, "port": master.port}
    )
    with connect(alone) as client:
        client.set(key, "1")
        moved_by_handover(deployment)
        refused: list[Callable[[], Any]] = [
            lambda: client.call(lambda node: node.get(key), deadline_s=0.5),
            lambda: client.call(lambda node: node.publish(key, "1"), deadline_s=0.5),
        ]
        time.sleep(1)
        for each in refused:
            with pytest.raises(RedisUnavailable, match="not the master"):
                each()
    with connect(alone) as reader:  # that was a replica from the start: a read address
        assert reader.get(key) == "1"


def test_a_read_address_serves_whichever_node_it_leads_to(deployment: Deployment, gateway: Gateway, key: str) -> None:
    with connect(gateway.contract) as writer, connect(gateway.readers, options=Options(any_role=True)) as reader:
        writer.set(key, "1")
        for replica in deployment.replicas():
            deployment.kill(replica)
        master = deployment.master()
        await_that(lambda: gateway.serves_readers() == {master}, 10, "the master as the last reader")
        assert reader.get(key) == "1"
        deployment.start()
        deployment.await_converged()
        await_that(lambda: master not in gateway.serves_readers(), 10, "replicas as readers")
        assert reader.get(key) == "1"
