"""Nodes of the cluster drained, lost and cut off: figures are printed, promises are asserted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from threading import Event

import pytest
import redis

from client.connect import connect
from client.ledger import Ledger
from client.links import open_as, open_node
from client.options import Options
from infra.contract import Endpoint, OperatorContract
from tests.background import meanwhile
from tests.engine.stack import await_converged, master_of
from tests.kubernetes.hosts import cut_off, dns_nodes, drained, lost, make_master, others, services_by_way_of
from tests.kubernetes.lab import kubectl
from tests.kubernetes.stack import KubernetesStack
from tests.nodes import LOST_ELECTION_MS
from tests.waiting import SLACK, await_that

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def converged(stack: KubernetesStack) -> Iterator[None]:
    yield
    await_converged(stack.contract())


def endpoint_of(contract: OperatorContract, name: str) -> Endpoint:
    return next(node.endpoint for node in contract.nodes if node.name == name)


def data_on(stack: KubernetesStack, node: str) -> str:
    """The data node's pod on this node of the cluster."""
    return next(each for each in stack.names("data") if stack.node_of(each) == node)


def ready(stack: KubernetesStack, kind: str) -> int:
    """How many pods of one kind are ready."""
    return int(stack.get("statefulset", kind)["status"].get("readyReplicas", 0))


def test_draining_the_masters_node_loses_nothing_and_a_second_drain_has_to_wait(stack: KubernetesStack) -> None:
    contract = stack.contract()
    # The hardest one: the Sentinel that leads the handover goes at the same time.
    node = stack.node_of("sentinel-0")
    master = data_on(stack, node)
    if master_of(contract) != master:
        make_master(stack, master)
    with Ledger(contract) as ledger:
        ledger.wait_for_acks(200)
        with drained(node, stack):
            ledger.wait_for_acks(200)
            assert master_of_others(contract, master) != master
            second = stack.node_of(master_of_others(contract, master))
            before = stack.uids()
            ours = f"--pod-selector=app.kubernetes.io/instance={stack.name}"
            try:
                kubectl("drain", second, ours, "--delete-emptydir-data", "--timeout=8s", fails=True)
            finally:
                kubectl("uncordon", second)
            stayed = {name for name, uid in stack.uids().items() if before.get(name) == uid}
            assert stayed >= {*stack.names("data"), *stack.names("sentinel")}
        await_converged(contract)
        ledger.wait_for_acks(200)
    report = ledger.verify()
    ledger.cleanup()
    print(f"drain of the master's node: {report}")
    assert report.lost == ()
    assert stack.restarts() == 0


def master_of_others(contract: OperatorContract, gone: str) -> str:
    """The master among the nodes that are there."""
    rest = tuple(node for node in contract.nodes if node.name != gone)
    return master_of(contract.model_copy(update={"nodes": rest}))


@pytest.mark.parametrize("dns", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_a_lost_node_is_replaced_within_six_seconds(stack: KubernetesStack, dns: bool) -> None:
    contract = stack.contract()
    nodes = [stack.node_of(name) for name in stack.names("data")]
    node = next(each for each in nodes if (each in dns_nodes()) == dns)
    master = data_on(stack, node)
    if master_of(contract) != master:
        make_master(stack, master)
        await_converged(contract)
    survivors = others(node)
    sentinels = zip(stack.names("sentinel"), contract.sentinels, strict=True)
    judges = {name: each for name, each in sentinels if stack.node_of(name) != node}
    since = datetime.now(UTC)
    with services_by_way_of(survivors[0]), Ledger(contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        with lost(node):
            begun = time.monotonic()
            gone = endpoint_of(contract, master)
            await_that(
                lambda: all(named_by(contract, each) not in (None, gone) for each in judges.values()),
                30,
                "a new master",
            )
            took = time.monotonic() - begun
            ledger.wait_for_acks(200)
        await_converged(contract)
    report, retries = ledger.verify(), stack.lost_elections(since, *judges)
    ledger.cleanup()
    print(f"node of the master lost, with DNS {dns}: both Sentinels name another after {took:.1f} s; {report}")
    print(f"elections without a winner: {retries}")
    assert took < SLACK * 6 + retries * LOST_ELECTION_MS / 1000
    assert report.lost_confirmed == ()
    assert master_of(contract) != master


def named_by(contract: OperatorContract, sentinel: Endpoint) -> tuple[str, int] | Endpoint | None:
    """The master as this Sentinel names it."""
    with suppress(redis.RedisError, OSError), closing(open_as(contract, "monitor", sentinel, 0.5)) as link:
        host, port = link.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", contract.master_name)  # type: ignore[no-untyped-call]
        return Endpoint(str(host), int(port))
    return None


class Stubborn:
    """A client that is cut off with the master: writes to it alone, whatever happens, and notes when each was taken."""

    def __init__(self, contract: OperatorContract, at: Endpoint) -> None:
        self._contract, self._at = contract, at
        self.acks: dict[str, float] = {}

    def write(self, stop: Event) -> None:
        with closing(open_node(self._contract, Options(), self._at)) as link:
            for number in range(1_000_000):
                if stop.is_set():
                    return
                with suppress(redis.RedisError, OSError):
                    link.set(f"stubborn:{number}", number)
                    self.acks[f"stubborn:{number}"] = time.monotonic()
                stop.wait(0.005)


def test_a_master_that_is_cut_off_stops_acknowledging_in_time(stack: KubernetesStack) -> None:
    contract = stack.contract()
    master = master_of(contract)
    node, bound_s = stack.node_of(master), 2 + 1  # minReplicasMaxLag, and what a second's granularity adds
    old = endpoint_of(contract, master)
    stubborn = Stubborn(contract, old)
    with services_by_way_of(node), meanwhile(stubborn.write):
        await_that(lambda: len(stubborn.acks) > 200, 30, "writes before the cut")
        asked = time.monotonic()
        with cut_off(node):
            begun = time.monotonic()
            alive = [index for index in range(3) if stack.node_of(f"sentinel-{index}") != node]
            await_that(lambda: all(moved(stack, index, old) for index in alive), 30, "a new master beyond the cut")
            took = time.monotonic() - begun
            # Long enough for an acknowledgement that must not be.
            await_that(lambda: time.monotonic() - begun > 12, 15, "the end of the window")
    await_converged(contract)
    client = connect(contract)
    keys = list(stubborn.acks)
    found = client.call(lambda link: link.mget(keys))
    missing = [key for key, value in zip(keys, found, strict=True) if value is None]
    late = max((stubborn.acks[key] - begun for key in missing), default=0.0)
    after = [at - begun for at in stubborn.acks.values() if at > begun]
    print(
        f"master cut off, in {begun - asked:.2f} s: another after {took:.1f} s; of {len(keys)} writes that the "
        f"old one acknowledged, {len(after)} came after the cut; {len(missing)} lost, the last {late:.2f} s after it"
    )
    assert late <= bound_s
    assert master_of(contract) != master


def moved(stack: KubernetesStack, index: int, old: Endpoint) -> bool:
    """Whether this Sentinel, asked in its pod, names another."""
    script = '. /node/bin/lib.sh; load_node_env /node/conf/node.env; master_by "$ME"'
    named = stack.kubectl("exec", f"sentinel-{index}", "-c", "server", "--", "sh", "-c", script).strip()
    return named not in ("", str(old))
