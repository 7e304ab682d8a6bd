"""Law 2: a planned stop hands over first, loses nothing, is bounded and undoes its fence."""

from __future__ import annotations

import time

import pytest

from client.connect import connect
from client.handover import HandoverError, hand_over
from client.ledger import Ledger
from tests.conformance.keys import write
from tests.deployment import Deployment, await_that

pytestmark = pytest.mark.deployment


def test_a_handover_loses_nothing_and_moves_the_epoch_by_one(deployment: Deployment) -> None:
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(300)
        done = hand_over(deployment.contract)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"handover: fenced {done.fenced_ms} ms; {report}")
    assert report.lost == ()
    assert report.longest_gap_ms < 1200
    assert done.epoch == done.epoch_before + 1
    deployment.await_converged()


def test_stopping_the_master_hands_over_before_the_server_gets_term(deployment: Deployment) -> None:
    master = deployment.master()
    with Ledger(deployment.contract) as ledger:
        ledger.wait_for_acks(300)
        deployment.stop_planned(master)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"planned stop: {report}")
    assert report.lost == ()
    log = deployment.log(master)
    assert log.rindex("epoch_before=") < log.rindex("signal-handler") or log.rindex("epoch_before=") < log.rindex(
        "exit"
    )
    deployment.start(master)
    deployment.await_converged()
    assert deployment.master() != master


def test_a_stop_without_sentinels_gives_up_the_handover_says_so_and_ends_in_time(deployment: Deployment) -> None:
    master = deployment.master()
    deployment.kill(*deployment.sentinels)
    begun = time.monotonic()
    deployment.stop_planned(master)
    assert time.monotonic() - begun < 10
    assert "gave up: no Sentinel answers at all" in deployment.log(master)


def test_a_handover_that_fails_lifts_its_fence(deployment: Deployment) -> None:
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


def test_a_master_is_not_touched_while_a_replica_syncs(fresh_deployment: Deployment) -> None:
    deployment = fresh_deployment
    master, replica = deployment.master(), deployment.replicas()[0]
    write(deployment.contract, "k", "v")
    # The full copy starts only after this delay: until then the replica is attached, but not in sync.
    deployment.ask(master, "CONFIG", "SET", "repl-diskless-sync-delay", "8")
    deployment.kill(replica)
    deployment.wipe(replica)
    deployment.start(replica)
    await_that(lambda: "wait_bgsave" in str(deployment.ask(master, "INFO", "replication")), 15, "a syncing replica")
    begun = time.monotonic()
    done = hand_over(deployment.contract)
    assert done.total_ms > 2000, "it did not wait for the sync"
    assert time.monotonic() - begun < 40
    deployment.await_converged()
    assert deployment.master() != master


def test_a_handover_that_is_killed_leaves_no_fence(deployment: Deployment) -> None:
    master = deployment.master()
    deployment.ask(master, "CLIENT", "PAUSE", str(deployment.settings.down_after_ms * 45 // 100), "WRITE")
    with Ledger(deployment.contract, writers=1) as ledger:
        ledger.wait_for_acks(50, timeout_s=5)
    assert ledger.verify().lost == ()
    assert deployment.master() == master, "a pause of this length must not look like a dead master"
