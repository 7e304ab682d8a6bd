"""A pause longer than Sentinel trusts its replicas for: there is a master again all the same.

Plain Sentinel promotes no replica whose link was down for more than 10 x down-after plus the time for which it has
known the master down, and both grow alike: none ever. With the smallest down-after that is safe, that is 20 s.
"""

from __future__ import annotations

import time

import pytest

from client.connect import connect
from tests.conformance.test_what_a_node_would_load import KEEP_A_COPY, NOTED_S, OLD_FOLDER_BACK
from tests.deployment import Deployment, await_that

pytestmark = pytest.mark.deployment

PAUSE_S = 23
AGAIN_S = 12
"""From Sentinels that start to a new master: down-after, a first attempt that finds nobody, and this."""


def replaced(nodes: Deployment, old: str) -> str:
    return next((name for name in nodes.data if name != old and nodes.ask(name, "ROLE")[0] == "master"), "")


def settings(nodes: Deployment) -> list[dict[str, str]]:
    """What each Sentinel goes by."""
    kept = ("quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs")
    states = [nodes.ask(name, "SENTINEL", "MASTER", nodes.contract.master_name) for name in nodes.sentinels]
    return [{field: dict(zip(state[::2], state[1::2], strict=True))[field] for field in kept} for state in states]


def epoch(nodes: Deployment) -> int:
    return max(view.config_epoch for view in nodes.observe().sentinels)


def test_sentinels_that_were_away_too_long_promote_a_replica_that_is_well(own: Deployment) -> None:
    old, before, declared = own.master(), epoch(own), settings(own)
    own.kill(*own.sentinels, old)
    time.sleep(PAUSE_S)
    own.start(*own.sentinels)
    begun = time.monotonic()
    await_that(lambda: replaced(own, old), 60, "a new master")
    took = time.monotonic() - begun
    own.start(old)
    own.await_converged()
    print(f"a new master {took:.1f} s after the Sentinels were back; epochs used: {epoch(own) - before}")
    assert took < AGAIN_S
    assert epoch(own) - before <= 4
    assert settings(own) == declared


@pytest.mark.nightly
def test_a_master_that_ends_while_all_are_in_tilt_is_replaced(own: Deployment) -> None:
    old, declared = own.master(), settings(own)
    for name in own.names:
        own.stop(name)
    time.sleep(4)
    for name in own.names:
        own.cont(name)
    await_that(lambda: all("+tilt" in own.log(name) for name in own.sentinels), 10, "TILT")
    time.sleep(5)
    own.kill(old)
    begun = time.monotonic()
    await_that(lambda: replaced(own, old), 60, "a new master")
    print(f"a new master {time.monotonic() - begun:.1f} s after the old one ended")
    own.start(old)
    own.await_converged()
    assert settings(own) == declared


@pytest.mark.nightly
def test_a_master_that_stepped_back_after_such_a_pause_is_replaced(own: Deployment) -> None:
    """It is alive, as a replica of one that has more, and the Sentinels name it all the same."""
    old, declared = own.master(), settings(own)
    with connect(own.contract) as client:
        client.set("copied", "1")
        time.sleep(NOTED_S)
        own.damage(old, KEEP_A_COPY)
        for number in range(100):
            client.set(f"after-the-copy:{number}", "x" * 50)
    keys = own.ask(old, "DBSIZE")
    own.kill(*own.sentinels, old)
    own.damage(old, OLD_FOLDER_BACK)
    time.sleep(PAUSE_S)
    own.start(*own.sentinels, old)
    await_that(lambda: "they must promote another" in own.log(old), 30, "the reason to step back")
    await_that(lambda: replaced(own, old), 60, "a new master")
    own.await_converged()
    assert [own.ask(name, "DBSIZE") for name in own.data] == [keys] * 3
    assert settings(own) == declared
