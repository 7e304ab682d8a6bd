"""Law 2: a planned stop hands over first, loses nothing, is bounded and undoes its fence.

Its gap is shorter than down-after, however busy the machine is: nobody had to notice anything.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from client.connect import connect
from client.handover import HandoverError, hand_over
from client.ledger import Ledger
from tests.conformance.keys import write
from tests.nodes import Nodes
from tests.waiting import await_that


@pytest.mark.timed
def test_a_handover_loses_nothing_and_moves_the_epoch_by_one(deployment: Nodes) -> None:
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(300)
        done = hand_over(deployment.contract)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"handover: fenced {done.fenced_ms} ms; {report}")
    assert report.lost == ()
    assert report.longest_gap_ms < deployment.contract.down_after_ms
    assert done.epoch == done.epoch_before + 1
    deployment.await_converged()


@pytest.mark.everywhere
def test_stopping_the_master_hands_over_before_the_server_gets_term(deployment: Nodes) -> None:
    master = deployment.master()
    stopping = deployment.hear(master)
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(300)
        deployment.stop_planned(master)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"planned stop: {report}")
    assert report.lost == ()
    said = stopping()
    assert "epoch_before=" in said, said
    # Not by the order of lines: the server and the scripts write to two streams. S: it was a replica by then.
    assert re.search(r":S .*User requested shutdown", said), said
    deployment.start(master)
    deployment.await_converged()
    assert deployment.master() != master


def test_a_stop_without_sentinels_gives_up_the_handover_says_so_and_ends_in_time(deployment: Nodes) -> None:
    master = deployment.master()
    stopping = deployment.hear(master)
    deployment.kill(*deployment.sentinels)
    begun = time.monotonic()
    deployment.stop_planned(master)
    assert time.monotonic() - begun < 10
    assert "gave up: no Sentinel answers at all" in stopping()


def test_a_handover_that_fails_lifts_its_fence(deployment: Nodes) -> None:
    # A hanging replica cannot confirm that it has everything: the fence must not outlive the attempt.
    replicas = deployment.replicas()
    deployment.stop(replicas[0])
    begun = time.monotonic()
    with pytest.raises(HandoverError, match=r"catch up|flags|promote|syncing|majority"):
        hand_over(deployment.contract)
    with connect(deployment.contract) as client:
        client.set("after", "the fence")
    assert time.monotonic() - begun < 30
    assert deployment.findings() != ()
    deployment.cont(replicas[0])


@contextmanager
def configured(deployment: Nodes, name: str, setting: str, value: str) -> Iterator[None]:
    """Change a setting of a running node, and change it back."""
    before = deployment.ask(name, "CONFIG", "GET", setting)[1]
    deployment.ask(name, "CONFIG", "SET", setting, value)
    try:
        yield
    finally:
        deployment.ask(name, "CONFIG", "SET", setting, before)


def test_a_master_is_not_touched_while_a_replica_syncs(deployment: Nodes) -> None:
    master, replica = deployment.master(), deployment.replicas()[0]
    write(deployment.contract, "k", "v")
    deployment.kill(replica)
    deployment.wipe(replica)
    # The full copy starts only after this delay: until then the replica is attached, but not in sync.
    with configured(deployment, master, "repl-diskless-sync-delay", "8"):
        deployment.start(replica)
        await_that(lambda: "wait_bgsave" in str(deployment.ask(master, "INFO", "replication")), 15, "a syncing replica")
        begun = time.monotonic()
        done = hand_over(deployment.contract)
    assert done.total_ms > 2000, "it did not wait for the sync"
    assert time.monotonic() - begun < 40
    deployment.await_converged()
    assert deployment.master() != master


@pytest.mark.timed
def test_a_node_that_asks_for_the_role_gets_it_without_losing_a_write(deployment: Nodes) -> None:
    """What `up` does before it removes every node but the first."""
    chosen = deployment.replicas()[1]
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(300)
        code, said = deployment.run(chosen, "handover.sh", "to-this-node")
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"handover to a chosen node: {report}")
    assert code == 0, said
    assert report.lost == ()
    assert report.longest_gap_ms < deployment.contract.down_after_ms
    deployment.await_converged()
    assert deployment.master() == chosen


def test_a_handover_that_is_killed_leaves_no_fence(deployment: Nodes) -> None:
    master = deployment.master()
    deployment.ask(master, "CLIENT", "PAUSE", str(deployment.contract.down_after_ms * 90 // 100), "WRITE")
    with Ledger(deployment.contract, writers=1) as ledger:
        ledger.wait_for_acks(50, timeout_s=5)
    assert ledger.verify().lost == ()
    assert deployment.master() == master, "a pause of this length must not look like a dead master"
