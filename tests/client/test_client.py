"""The client against a tiny Redis of this process: no server, no Sentinel."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
import redis
from redis import exceptions

from client.connect import Client, connect
from client.errors import AccessRefused, NoReply, RedisUnavailable
from client.link_to_master import MasterLink
from client.links import open_node
from client.options import FallbackOptions, Options, RetryOptions
from infra.contract import Endpoint
from tests.client.fakes import contract
from tests.client.tiny_redis import TinyRedis

QUICK = Options(retry=RetryOptions(deadline_s=0.2))
SOON = Options(timeout_s=0.2)
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
    server.tells = False  # ROLE and INFO are refused
    with client_of(server) as client:
        client.ping()
    assert server.commands == ["AUTH", "ROLE", "INFO", "PING"]


@pytest.mark.parametrize("refusal", ["READONLY x", "LOADING x", "MASTERDOWN x", "NOREPLICAS x"])
def test_an_operation_is_repeated_until_the_roles_have_settled(server: TinyRedis, refusal: str) -> None:
    server.refusals = [refusal, refusal]
    with client_of(server, Options()) as client:
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


def test_a_demotion_is_noticed_while_reads_are_answered_on_the_same_connection(server: TinyRedis) -> None:
    with client_of(server) as client:
        client.set("a", "1")
        server.role = "slave"
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match="not the master"):
            while time.monotonic() < began + 2:
                assert client.get("a") == "1"
        server.role = "master"
        assert client.get("a") == "1"


def test_an_idle_connection_is_checked_before_it_is_used_again(server: TinyRedis) -> None:
    with client_of(server) as client:
        client.set("a", "1")
        server.role = "slave"
        time.sleep(1.1)
        before = server.commands.count("GET")
        with pytest.raises(RedisUnavailable, match="not the master"):
            client.get("a")
        assert server.commands.count("GET") == before


def test_an_address_that_led_to_a_replica_from_the_start_serves_reads(server: TinyRedis) -> None:
    server.role, server.data["a"] = "slave", "1"
    with client_of(server) as client:
        assert client.get("a") == "1"


def test_a_read_address_may_lead_to_the_master_and_then_to_replicas(server: TinyRedis) -> None:
    with client_of(server, replace(QUICK, any_role=True)) as client:
        client.set("a", "1")
        server.role = "slave"
        client.close()
        assert client.get("a") == "1"


def test_what_a_slow_server_did_not_answer_in_time_is_sent_once(server: TinyRedis) -> None:
    with client_of(server, SOON) as client:
        client.ping()
        server.naps = [0.5]
        with pytest.raises(NoReply, match=r"timeout_s = 0\.2 s"):
            client.set("a", "1")
        assert server.commands.count("SET") == 1
        server.naps = [0.5]
        with pytest.raises(NoReply):
            client.call_once(lambda master: master.set("a", "1"))
    assert server.commands.count("SET") == 2


def test_what_a_replaced_server_did_not_answer_is_sent_once_more(server: TinyRedis) -> None:
    with client_of(server, SOON) as client:
        client.ping()
        server.run_id, server.naps = "b2", [0.5]  # what answers at this address from now on is another process
        client.set("a", "1")
        assert server.commands.count("SET") == 2
        server.run_id, server.naps = "c3", [0.5, 0.5]
        with pytest.raises(NoReply):
            client.set("a", "2")
    assert server.commands.count("SET") == 4


def test_a_script_is_not_sent_again_to_a_replaced_server(server: TinyRedis) -> None:
    with client_of(server, SOON) as client:
        client.ping()
        server.run_id, server.naps = "b2", [0.5]
        with pytest.raises(NoReply):
            client.call(lambda master: master.eval("return 1", 0))
    assert server.commands.count("EVAL") == 1


def test_memory_answers_for_a_slow_server_too(server: TinyRedis) -> None:
    with client_of(server, replace(WITH_MEMORY, timeout_s=0.02)) as client:
        client.set("a", "1")
        server.naps = [0.2] * 3
        assert client.get("a") == "1"
        assert client.stats.fallback_hits == 1


def test_a_long_value_may_take_longer_than_the_time_out_while_it_is_taken() -> None:
    """A reader that takes a piece at a time, each well within the time-out, all of them not."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        taken: list[int] = []

        def take_slowly() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
                connection.recv(4096)  # AUTH
                connection.sendall(b"+OK\r\n")
                connection.recv(4096)  # ROLE and INFO
                connection.sendall(b"*1\r\n$6\r\nmaster\r\n$11\r\nrun_id:a1\r\n\r\n")
                while sum(taken) < 12_000_000:
                    time.sleep(0.02)
                    piece = connection.recv(128 * 1024)
                    if not piece:
                        return  # the client gave up: the test says so
                    taken.append(len(piece))
                connection.sendall(b"+OK\r\n")

        reader = threading.Thread(target=take_slowly)
        reader.start()
        at = contract(sentinel=False, port=listener.getsockname()[1])
        began = time.monotonic()
        with connect(at, options=Options(timeout_s=1.0)) as client:
            client.call_once(lambda master: master.set("a", b"x" * 12_000_000))
        assert time.monotonic() - began > 1
        reader.join(5)
