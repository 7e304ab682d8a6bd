"""A master that is not dead, but was away for as long as it takes to be replaced."""

from __future__ import annotations

import pytest

from client.ledger import Ledger
from tests.deployment import Deployment
from tests.waiting import await_that

pytestmark = pytest.mark.deployment


def test_a_master_that_is_back_while_it_is_replaced_is_fenced_and_told(kept: Deployment) -> None:
    old = kept.master()
    heard = [kept.hear(name) for name in kept.sentinels]
    with Ledger(kept.contract) as ledger:
        ledger.wait_for_acks(100)
        kept.stop(old)
        await_that(lambda: any("+try-failover" in each() for each in heard), 30, "a failover")
        kept.cont(old)
        await_that(lambda: any("+switch-master" in each() for each in heard), 30, "its end")
        ledger.wait_for_acks(100)
        await_that(
            lambda: kept.ask(old, "ROLE")[0] == "slave", 4, "the old master as a replica, without Sentinel's 8 s"
        )
    # What it acknowledged between its return and the fence may be lost, as in any crash: no WAIT, no promise.
    print(ledger.verify())
    said = "".join(each() for each in heard)
    assert f"{kept.endpoint(old)} answers, and is being replaced: it takes no writes" in said, said
    kept.await_converged()
