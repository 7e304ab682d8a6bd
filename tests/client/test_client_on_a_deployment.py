"""The client and its ledger against real servers: what an application sees of each fault.

The thresholds are LIMITS of the fault matrix (down-after 2000 ms), not what a quiet machine reaches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import RedisError

from client.connect import connect
from client.errors import AccessRefused, RedisUnavailable
from client.ledger import Ledger
from client.links import open_node
from client.options import Options
from infra.contract import OperatorContract
from tests.nodes import LOST_ELECTION_MS
from tests.waiting import await_that

pytestmark = pytest.mark.deployment

KILL_GAP_MS = 5_000
STOP_GAP_MS = 6_000
DISCOVERY_S = 1.0


class Deployment(Protocol):
    """What these tests need of the fixture, which heals every node before each test."""

    contract: OperatorContract

    def kill(self, node: str) -> None: ...
    def stop(self, node: str) -> None: ...
    def cont(self, node: str) -> None: ...
    def hear_lost_elections(self) -> Callable[[], int]: ...


def master_name(contract: OperatorContract) -> str:
    """The declared name of the node that is master now."""
    with connect(contract) as client:
        client.ping()
        return next(node.name for node in contract.nodes if node.endpoint == client.master)


@contextmanager
def as_user(contract: OperatorContract, user: str, name: str) -> Iterator[redis.Redis]:
    """A connection to the declared node `name`, whatever its role."""
    endpoint = next(node.endpoint for node in contract.nodes if node.name == name)
    password = contract.users.get(user, contract.password)
    with open_node(contract.model_copy(update={"username": user, "password": password}), Options(), endpoint) as node:
        yield node


@pytest.mark.timed
def test_writes_go_on_after_the_master_is_killed(deployment: Deployment) -> None:
    lost_elections = deployment.hear_lost_elections()
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(200)
        deployment.kill(master_name(deployment.contract))
        ledger.wait_for_acks(200)
    report = ledger.verify()
    ledger.cleanup()
    assert report.abandoned == 0, report
    assert 2_000 <= report.longest_gap_ms <= KILL_GAP_MS + lost_elections() * LOST_ELECTION_MS, report


def test_what_wait_confirmed_survives_a_killed_master(deployment: Deployment) -> None:
    with Ledger(deployment.contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(100)
        deployment.kill(master_name(deployment.contract))
        ledger.wait_for_acks(100)
    report = ledger.verify()
    ledger.cleanup()
    assert report.confirmed >= 100, report
    assert report.lost_confirmed == (), report


@pytest.mark.timed
def test_writes_go_on_after_the_master_hangs(deployment: Deployment) -> None:
    old, lost_elections = master_name(deployment.contract), deployment.hear_lost_elections()
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(200)
        deployment.stop(old)
        ledger.wait_for_acks(200)
        deployment.cont(old)
        ledger.wait_for_acks(500)
    report = ledger.verify()
    ledger.cleanup()
    assert report.abandoned == 0, report
    assert report.longest_gap_ms <= STOP_GAP_MS + lost_elections() * LOST_ELECTION_MS, report
    assert master_name(deployment.contract) != old


@pytest.mark.timed
def test_a_black_holed_first_sentinel_costs_less_than_a_second(deployment: Deployment) -> None:
    # A stopped process is a black hole: the kernel accepts connections, nobody ever answers.
    deployment.stop("sentinel-0")
    with connect(deployment.contract) as client:
        started = time.monotonic()
        assert client.ping()
        assert time.monotonic() - started < DISCOVERY_S


def test_an_orphan_master_is_never_followed(deployment: Deployment) -> None:
    contract = deployment.contract
    old = master_name(contract)
    orphan = next(node.name for node in contract.nodes if node.name != old)
    key = f"orphan:{time.time_ns()}"
    with (
        as_user(contract, "operator", orphan) as operator,
        as_user(contract, contract.username, orphan) as node,
        connect(contract) as client,
    ):
        # The old master hangs, so nobody but the orphan says master; for less than down-after, so no failover either.
        deployment.stop(old)
        operator.replicaof("NO", "ONE")
        with pytest.raises(RedisUnavailable, match="no master"):
            client.call(lambda master: master.set(key, "1", ex=60), deadline_s=0.5)
        assert node.role()[0] == "master"
        assert not node.exists(key)


def test_replica_reads_see_what_the_master_wrote(deployment: Deployment) -> None:
    key = f"replica-read:{time.time_ns()}"
    replicas = len(deployment.contract.nodes) - 1
    with connect(deployment.contract) as client:

        def write_and_wait(master: redis.Redis) -> int:
            pipeline = master.pipeline(transaction=False)
            pipeline.set(key, "1", ex=60)
            pipeline.wait(replicas, 500)
            return int(pipeline.execute()[1])

        await_that(lambda: client.call(write_and_wait) == replicas, 10, "a write that every replica confirms")
        with client.replica() as replica:
            assert replica.get(key) == "1"
            with pytest.raises(RedisError):
                replica.set(key, "2")


@pytest.mark.timed
def test_wrong_credentials_are_said_at_once(deployment: Deployment) -> None:
    wrong = deployment.contract.model_copy(update={"sentinel_password": SecretStr("wrong-marker")})
    started = time.monotonic()
    with connect(wrong) as client, pytest.raises(AccessRefused) as caught:
        client.ping()
    assert time.monotonic() - started < DISCOVERY_S
    assert "wrong-marker" not in str(caught.value)
