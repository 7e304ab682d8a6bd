"""Crashes on real servers, on every target: figures are printed, promises are asserted."""

from __future__ import annotations

import pytest

from client.ledger import Ledger
from tests.conformance.keys import read, write
from tests.nodes import LOST_ELECTION_MS, Nodes
from tests.waiting import SLACK, await_that, never


def promotions(deployment: Nodes) -> int:
    """Since the beginning, as the Sentinels that led them logged it: up to a second after the fact."""
    return sum(deployment.log(name).count("+promoted-slave") for name in deployment.sentinels)


def assert_promoted_once(deployment: Nodes, before: int) -> None:
    await_that(lambda: promotions(deployment) > before, 10, "a promotion in a Sentinel's log")
    deployment.heal()
    assert promotions(deployment) == before + 1


@pytest.mark.everywhere
@pytest.mark.timed
def test_a_killed_master_is_replaced_once_and_comes_back_as_a_replica(deployment: Nodes) -> None:
    master, before, lost_elections = deployment.master(), promotions(deployment), deployment.hear_lost_elections()
    with Ledger(deployment.contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(300)
        deployment.kill(master)
        ledger.wait_for_acks(300)
    report, lost = ledger.verify(), lost_elections()
    print(f"kill of the master: {report}; elections without a winner: {lost}")
    assert report.lost_confirmed == ()
    assert report.longest_gap_ms < SLACK * 6000 + lost * LOST_ELECTION_MS
    assert_promoted_once(deployment, before)
    assert deployment.master() != master


def test_no_second_failover_follows_the_first(deployment: Nodes) -> None:
    before = promotions(deployment)
    deployment.kill(deployment.master())
    assert_promoted_once(deployment, before)
    never(lambda: promotions(deployment) > before + 1, 30, "a second failover")


@pytest.mark.everywhere
def test_a_hanging_master_is_replaced_and_accepts_nothing_when_it_resumes(deployment: Nodes) -> None:
    master, before = deployment.master(), promotions(deployment)
    with Ledger(deployment.contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(300)
        deployment.stop(master)
        ledger.wait_for_acks(300)
        deployment.cont(master)
        ledger.wait_for_acks(300)
        await_that(lambda: deployment.ask(master, "ROLE")[0] == "slave", 30, "the old master as a replica")
    report = ledger.verify()
    print(f"freeze of the master: {report}")
    assert report.lost_confirmed == ()
    assert_promoted_once(deployment, before)


@pytest.mark.timed
@pytest.mark.everywhere
def test_without_a_majority_of_sentinels_nobody_is_promoted(deployment: Nodes) -> None:
    master, before = deployment.master(), promotions(deployment)
    write(deployment.contract, "k", "kept")
    left = deployment.hear("sentinel-2")
    deployment.kill("sentinel-0", "sentinel-1")
    deployment.kill(master)
    await_that(lambda: "+sdown master" in left(), 45, "+sdown")  # also when it was in TILT
    assert all(deployment.ask(name, "ROLE")[0] == "slave" for name in deployment.data if name != master)
    deployment.start("sentinel-0", "sentinel-1")
    await_that(lambda: deployment.master() != master, 60, "a new master once the Sentinels are back")
    assert read(deployment.contract, "k") == "kept"
    assert_promoted_once(deployment, before)


def test_a_restarted_sentinel_keeps_its_identity_and_its_master(deployment: Nodes) -> None:
    before = deployment.ask("sentinel-0", "SENTINEL", "MYID")
    epoch = deployment.observe().sentinels[0].config_epoch
    deployment.kill("sentinel-0")
    deployment.heal()
    assert deployment.ask("sentinel-0", "SENTINEL", "MYID") == before
    assert deployment.observe().sentinels[0].config_epoch == epoch
