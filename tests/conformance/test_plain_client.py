"""Clients that go by Sentinel and nothing else, as any library's: after a handover they are at the new master."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import pytest
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

from client.ledger import Ledger
from tests.deployment import PASSWORDS, Deployment
from tests.waiting import SLACK

pytestmark = pytest.mark.deployment


def plain(nodes: Deployment) -> Any:
    """redis-py's own client, as its documentation has it."""
    login: dict[str, Any] = {"username": "app", "password": PASSWORDS["app"]}
    addresses = [(endpoint.host, endpoint.port) for endpoint in nodes.contract.sentinels]
    sentinel = Sentinel(addresses, sentinel_kwargs=login, socket_timeout=1, **login)  # type: ignore[no-untyped-call]
    return sentinel.master_for(nodes.contract.master_name)  # type: ignore[no-untyped-call]


@contextmanager
def reading(client: Any) -> Iterator[None]:
    """What never gets an error of a replica: it comes back where it was as soon as it can."""
    done = Event()

    def read() -> None:
        while not done.wait(0.005):
            with suppress(RedisError, OSError):
                client.get("any")

    thread = Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("attempt", [1, 2])
def test_one_that_only_reads_reads_from_the_new_master(kept: Deployment, attempt: int) -> None:
    del attempt
    client, old = plain(kept), kept.master()
    with Ledger(kept.contract) as ledger, reading(client):
        ledger.wait_for_acks(100)
        code, output = kept.run(old, "handover.sh")
        ledger.wait_for_acks(100)
    assert code == 0, output
    assert client.info("replication")["role"] == "master"
    report = ledger.verify()
    print(output, report)
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * kept.contract.down_after_ms
