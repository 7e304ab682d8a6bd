"""The client against a tiny Redis of this process: no server, no Sentinel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from redis import exceptions

from client.connect import Client, connect
from client.errors import AccessRefused, RedisUnavailable
from client.link_to_master import MasterLink
from client.links import open_node
from client.options import FallbackOptions, Options, RetryOptions
from infra.contract import Endpoint
from tests.client.fakes import contract
from tests.client.tiny_redis import TinyRedis

QUICK = Options(retry=RetryOptions(deadline_s=0.2))
WITH_MEMORY = Options(fallback=FallbackOptions(patience_s=0.05, pause_s=0.1))


@contextmanager
def client_of(server: TinyRedis, options: Options = QUICK) -> Iterator[Client]:
    with connect(contract(sentinel=False, port=server.server_address[1]), options=options) as client:
        yield client


def test_making_a_client_touches_no_network() -> None:
    with connect(contract()) as client:
        assert (client.mode, client.master) == ("sentinel", None)
    with connect(contract(sentinel=False)) as client:
        assert client.mode == "standalone"


def test_values_come_back_and_lookups_are_counted(server: TinyRedis) -> None:
    with client_of(server) as client:
        assert client.set("a", "1", ttl_s=5) is True
        assert (client.get("a"), client.get("b")) == ("1", None)
        assert client.delete("a") is True
        assert (client.stats.hits, client.stats.misses, client.stats.hit_rate) == (1, 1, 0.5)


def test_connecting_needs_no_right_but_auth(server: TinyRedis) -> None:
    with client_of(server) as client:
        client.ping()
    assert server.commands == ["AUTH", "PING"]


@pytest.mark.parametrize("refusal", ["READONLY x", "LOADING x", "MASTERDOWN x", "NOREPLICAS x"])
def test_an_operation_is_repeated_until_the_roles_have_settled(server: TinyRedis, refusal: str) -> None:
    server.refusals = [refusal, refusal]
    with client_of(server) as client:
        client.set("a", "1")
    assert server.data == {"a": "1"}
    # Each time on a new connection: the node may have been the wrong one.
    assert server.commands.count("AUTH") == 3


def test_call_once_does_not_repeat(server: TinyRedis) -> None:
    server.refusals = ["READONLY x"]
    with client_of(server) as client:
        with pytest.raises(exceptions.ReadOnlyError):
            client.call_once(lambda master: master.set("a", "1"))
        client.call_once(lambda master: master.set("b", "2"))
    assert server.data == {"b": "2"}


def test_wrong_credentials_are_not_repeated(server: TinyRedis) -> None:
    server.refusals = ["WRONGPASS invalid username-password pair"]
    with client_of(server) as client, pytest.raises(exceptions.AuthenticationError):
        client.set("a", "1")


def test_the_error_after_the_deadline_carries_no_password() -> None:
    with connect(contract(sentinel=False, port=1), options=QUICK) as client, pytest.raises(RedisUnavailable) as caught:
        client.set("a", "1")
    assert "127.0.0.1:1" in str(caught.value)
    assert "marker" not in str(caught.value)


def test_memory_answers_while_redis_is_away(server: TinyRedis) -> None:
    with client_of(server, WITH_MEMORY) as client:
        client.set("a", "1")
        server.data["theirs"] = "2"
        client.get("theirs")
        server.refusals = ["LOADING x"] * 1000
        assert (client.get("a"), client.get("theirs"), client.get("c")) == ("1", "2", None)
        assert client.set("b", "2") is False
        assert client.delete("a") is False
        assert (client.get("a"), client.get("b")) == (None, "2")
        assert (client.stats.fallback_hits, client.stats.hits, client.stats.misses) == (3, 1, 2)


def test_while_redis_is_away_only_the_first_operation_waits(server: TinyRedis) -> None:
    server.refusals = ["LOADING x"] * 1000
    with client_of(server, WITH_MEMORY) as client:
        client.set("a", "1")
        asked = len(server.commands)
        client.get("a")
        assert len(server.commands) == asked


def test_one_thread_looks_for_the_master_and_the_others_share_its_failure() -> None:
    looking, go, rounds = threading.Event(), threading.Event(), []

    def find() -> Endpoint:
        rounds.append(1)
        looking.set()
        assert go.wait(5)
        raise RedisUnavailable("no master yet")

    link = MasterLink(find, lambda _: redis.Redis())
    failures: list[str] = []

    def use() -> None:
        try:
            link.get()
        except RedisUnavailable as error:
            failures.append(str(error))

    threads = [threading.Thread(target=use) for _ in range(5)]
    threads[0].start()
    assert looking.wait(5)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(5)
    assert failures == ["no master yet"] * 5
    assert len(rounds) < 5


def test_a_pool_that_another_thread_has_replaced_is_not_dropped_again() -> None:
    link = MasterLink(lambda: Endpoint("127.0.0.1", 1), lambda _: redis.Redis())
    first = link.get()
    link.drop(first)
    second = link.get()
    link.drop(first)
    assert link.get() is second


def test_access_refused_is_not_retried_by_the_link() -> None:
    def find() -> Endpoint:
        raise AccessRefused("WRONGPASS")

    with pytest.raises(AccessRefused):
        MasterLink(find, lambda _: redis.Redis()).get()


def test_an_ipv6_address_loses_its_brackets() -> None:
    pool = open_node(contract(), Options(), Endpoint("[::1]", 1)).connection_pool
    assert pool.connection_kwargs["host"] == "::1"
