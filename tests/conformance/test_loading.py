"""A node that loads its data is alive, also while it has no time to answer."""

from __future__ import annotations

import pytest

from client.connect import connect
from tests.deployment import Deployment
from tests.waiting import await_that

pytestmark = pytest.mark.deployment

KEYS, DELAY_US = 2500, 2500
"""6 s to load, and as a server looks after its clients every 1024 commands, 2.5 s of it without an answer at a time."""


def test_a_node_that_cannot_answer_while_it_loads_is_alive(own: Deployment) -> None:
    client = connect(own.contract)
    for key in range(KEYS):
        client.set(f"filled:{key}", "x" * 100)
    own.await_converged()
    replica = next(name for name in own.data if name != own.master())
    own.kill(replica)
    own.properties[replica]["files"]["redis.conf"] += f"\nkey-load-delay {DELAY_US}\n"
    own.start(replica)
    seen = []

    def is_ready() -> bool:
        alive, live = (own.run(replica, "probe.sh", which)[0] for which in ("alive", "live"))
        seen.append((alive == 0, live == 0))
        return own.run(replica, "probe.sh", "ready")[0] == 0

    await_that(is_ready, 60, "a replica that has loaded")
    assert (True, False) in seen, seen
    assert all(alive for alive, _ in seen), seen
