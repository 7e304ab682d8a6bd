"""Law 1: Sentinels decide, nodes ask, and doubt means wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from client.handover import hand_over
from tests.conformance.keys import read, write
from tests.deployment import Deployment, await_that, deployed

pytestmark = pytest.mark.deployment


class Watch:
    """What a node was seen to say, many times a second."""

    def __init__(self) -> None:
        self.roles: set[str] = set()
        self.sizes: set[int] = set()


@contextmanager
def watching(deployment: Deployment, name: str) -> Iterator[Watch]:
    watch, done = Watch(), threading.Event()

    def look() -> None:
        while not done.is_set():
            with suppress(RedisError, OSError):
                watch.roles.add(deployment.ask(name, "ROLE")[0])
                watch.sizes.add(deployment.ask(name, "DBSIZE"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


def test_a_first_boot_makes_the_first_node_the_master(fresh_deployment: Deployment) -> None:
    deployment = fresh_deployment
    assert deployment.master() == "data-0"
    assert all(view.config_epoch == 0 for view in deployment.observe().sentinels)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_killed_and_started_in_any_order_gives_the_same_single_master(deployment: Deployment, seed: int) -> None:
    hand_over(deployment.contract)
    master = deployment.master()
    write(deployment.contract, "last", f"write-{seed}")
    names = list(deployment.properties)
    deployment.kill(*names)
    random.Random(seed).shuffle(names)  # noqa: S311
    for name in names:
        deployment.start(name)
        time.sleep(0.2)  # not a wait for anything: nodes of a real outage come back one after the other
    deployment.await_converged()
    assert deployment.master() == master
    assert read(deployment.contract, "last") == f"write-{seed}"


@pytest.fixture
def patient_deployment(tmp_path: Path, binaries: None) -> Iterator[Deployment]:
    """Sentinels that wait so long that a restart is quicker, however busy the machine is."""
    yield from deployed(tmp_path, downAfterMs="8000", failoverTimeoutMs="16000")


def test_a_master_reborn_empty_inside_down_after_never_serves_and_nobody_loses_data(
    patient_deployment: Deployment,
) -> None:
    deployment = patient_deployment
    master = deployment.master()
    for number in range(50):
        write(deployment.contract, f"kept:{number}", "x")
    size = deployment.ask(master, "DBSIZE")
    replica = deployment.replicas()[0]
    with watching(deployment, replica) as survivor:
        deployment.kill(master)
        deployment.wipe(master)
        with watching(deployment, master) as reborn:
            deployment.start(master)
            await_that(lambda: deployment.master() != master, 30, "another master")
            deployment.await_converged()
    assert "master" not in reborn.roles
    assert min(survivor.sizes) >= size
    assert "its data is gone" in deployment.log(master)
    assert deployment.ask(master, "DBSIZE") >= size


def test_a_master_without_data_waits_for_peers_that_may_have_some(deployment: Deployment) -> None:
    write(deployment.contract, "only", "copy")
    master = deployment.master()
    deployment.kill(*deployment.properties)
    deployment.wipe(master)
    deployment.start(master, *(node.name for node in deployment.topology.sentinels))
    await_that(lambda: "which may have some, does not answer" in deployment.log(master), 15, "the reason to wait")
    with watching(deployment, master) as reborn:
        deployment.heal()
    assert "master" not in reborn.roles
    assert deployment.master() != master
    assert read(deployment.contract, "only") == "copy"


def test_replicas_come_back_and_elect_when_the_elected_master_stays_away(deployment: Deployment) -> None:
    write(deployment.contract, "survives", "yes")
    master = deployment.master()
    deployment.kill(*deployment.properties)
    deployment.start(*(name for name in deployment.properties if name != master))
    await_that(lambda: deployment.master() != master, 30, "a new master without the old one")
    assert read(deployment.contract, "survives") == "yes"


def test_a_node_without_data_is_never_promoted_over_those_who_have_some(deployment: Deployment) -> None:
    write(deployment.contract, "held", "by-others")
    master, empty, full = deployment.master(), *deployment.replicas()
    deployment.kill(*deployment.properties)
    deployment.wipe(empty)
    with watching(deployment, empty) as node:
        deployment.start(empty, *(node.name for node in deployment.topology.sentinels))
        await_that(
            lambda: "-failover-abort-no-good-slave" in "".join(map(deployment.log, deployment.sentinels)),
            30,
            "NOGOODSLAVE",
        )
        assert node.roles == {"slave"}
        deployment.start(full)
        await_that(lambda: deployment.master() == full, 60, f"{full}, which has the data, as the master")
    assert read(deployment.contract, "held") == "by-others"
    assert "master" not in node.roles
    assert master != full


def test_without_a_majority_of_sentinels_a_node_does_not_serve(deployment: Deployment) -> None:
    replica = deployment.replicas()[0]
    deployment.kill(replica, "sentinel-0", "sentinel-1")
    deployment.start(replica)
    before = deployment.log(replica).count("no majority of the Sentinels")
    await_that(lambda: deployment.log(replica).count("no majority of the Sentinels") > before, 15, "the reason to wait")
    with pytest.raises(RedisError):
        deployment.ask(replica, "PING")
    deployment.start("sentinel-0")
    await_that(lambda: deployment.ask(replica, "ROLE")[0] == "slave", 15, "the node as a replica")
