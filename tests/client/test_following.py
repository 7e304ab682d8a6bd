"""The client on real servers: a master that moves, is slow, or can do its work no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis import exceptions

from client.connect import Client, connect
from client.errors import ChangesConnection, NoReply, NotMaster
from client.handover import HandoverError, hand_over
from client.options import Options
from tests.client.test_client_on_a_deployment import as_user
from tests.deployment import Deployment
from tests.waiting import SLACK, await_that

pytestmark = pytest.mark.deployment

NOTICED_S = 2.0
# Notes that it ran, then keeps its server busy: scripts of an application have no clock.
SLOW = "redis.call('incr', KEYS[1]); for _ = 1, ARGV[1] do end; return 'done'"


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    with connect(deployment.contract.application()) as client:
        client.ping()
        yield client


@pytest.fixture
def key() -> str:
    return f"following:{time.time_ns()}"


def moved_by_handover(deployment: Deployment) -> None:
    try:
        hand_over(deployment.contract)
    except HandoverError as error:  # a busy machine: no matter here how well it was fenced
        assert "the master moved" in str(error), error


def moved_by_crash(deployment: Deployment) -> None:
    old = deployment.master()
    deployment.kill(old)
    await_that(lambda: deployment.master() != old, 20, "another master")


def moved_by_hang(deployment: Deployment) -> None:
    """The old master answers nobody and closes nothing."""
    old = deployment.master()
    deployment.stop(old)
    await_that(lambda: deployment.master() != old, 20, "another master")


MOVES = pytest.mark.parametrize(
    "move", [moved_by_handover, moved_by_crash, moved_by_hang], ids=["handover", "crash", "hang"]
)
Move = Callable[[Deployment], None]


def epoch(deployment: Deployment) -> int:
    return max(view.config_epoch for view in deployment.observe().sentinels if not view.error)


# --- a demotion is noticed, whatever the traffic (B1) ---


def test_what_is_published_after_a_handover_reaches_the_master_s_subscribers(
    deployment: Deployment, client: Client, key: str
) -> None:
    client.call(lambda node: node.publish(key, "0"))
    moved_by_handover(deployment)
    with connect(deployment.contract.application()) as other, other.pubsub() as subscriber:
        subscriber.subscribe(key)
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
        time.sleep(NOTICED_S)
        assert [client.call(lambda node: node.publish(key, "1")) for _ in range(50)] == [1] * 50


# `Any`: redis-py gives one type to commands that are sent and to those that a pipeline keeps.
READS: dict[str, Callable[[Any, str], Any]] = {
    "GET": lambda node, key: node.get(key),
    "pipeline": lambda node, key: node.pipeline(transaction=False).get(key).execute()[0],
    "transaction": lambda node, key: node.pipeline().get(key).execute()[0],
    "script": lambda node, key: node.eval("return redis.call('get', KEYS[1])", 1, key),
    "single connection": lambda node, key: node.client().get(key),
}


def test_reads_follow_the_master_though_the_old_node_answers_them_too(
    deployment: Deployment, client: Client, key: str
) -> None:
    """The old master's replication is broken off, so a read from it is seen."""
    client.set(key, "old")
    read = {name: client.call(lambda node, read=read: read(node, key)) for name, read in READS.items()}  # type: ignore[misc]
    assert set(read.values()) == {"old"}
    old = deployment.master()
    moved_by_handover(deployment)
    with connect(deployment.contract.application()) as other:
        await_that(lambda: other.master is None and other.ping() and other.master != deployment.endpoint(old), 5, "it")
        deployment.ask(old, "REPLICAOF", "127.0.0.1", "1")  # until a Sentinel mends it, some seconds later
        other.set(key, "new")
        read = {name: client.call(lambda node, read=read: read(node, key)) for name, read in READS.items()}  # type: ignore[misc]
    assert set(read.values()) == {"new"}
    assert client.master != deployment.endpoint(old)


def test_a_demotion_that_closes_no_connection_is_noticed(deployment: Deployment, client: Client, key: str) -> None:
    client.set(key, "1")
    kept: list[Any] = []
    client.call(kept.append)
    held = kept[0].client()
    master = deployment.master()
    target = deployment.endpoint(deployment.replicas()[0])
    # On the node itself: an operator's typing. No Sentinel cuts connections for it until it mends the role.
    deployment.ask(master, "REPLICAOF", target.host, target.port)
    await_that(lambda: deployment.ask(master, "ROLE")[0] == "slave", 5, "a demoted master")
    began = time.monotonic()
    with pytest.raises(NotMaster):
        while time.monotonic() < began + NOTICED_S:
            held.get(key)
            time.sleep(0.02)
    deployment.await_converged()


@MOVES
def test_a_subscriber_follows_the_master(deployment: Deployment, client: Client, key: str, move: Move) -> None:
    by_pattern: list[str] = []
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe(key)
        # The one pattern that the application's rights allow.
        subscriber.psubscribe(**{"[^_]*": lambda message: by_pattern.append(message["data"])})

        def hears(text: str) -> bool:
            client.call(lambda node: node.publish(key, text))
            messages = [subscriber.get_message(timeout=0.1) for _ in range(4)]
            return text in [message["data"] for message in messages if message] and text in by_pattern

        await_that(lambda: hears("before"), 5, "a message")
        move(deployment)
        await_that(lambda: hears("after"), 10, "a message from the new master")
        assert subscriber.endpoint == deployment.endpoint(deployment.master())


def test_a_subscriber_from_call_follows_too(deployment: Deployment, client: Client, key: str) -> None:
    subscriber: Any = client.call(lambda node: node.pubsub(ignore_subscribe_messages=True))  # type: ignore[no-untyped-call]
    subscriber.subscribe(key)
    moved_by_crash(deployment)

    def hears() -> bool:
        client.call(lambda node: node.publish(key, "x"))
        return subscriber.get_message(timeout=0.2) is not None

    await_that(hears, 10, "a message")
    subscriber.close()


def test_a_listener_in_a_thread_goes_on_after_a_crash(deployment: Deployment, client: Client, key: str) -> None:
    heard = threading.Event()
    subscriber = client.pubsub()
    subscriber.subscribe(**{key: lambda _: heard.set()})
    listener = subscriber.run_in_thread(sleep_time=0.1)
    moved_by_crash(deployment)
    await_that(lambda: client.call(lambda node: node.publish(key, "x")) and heard.wait(0.2), 10, "a message")
    listener.stop()
    listener.join(5)


# --- slow is not dead (B4) ---


@pytest.fixture
def count_runs(deployment: Deployment) -> Callable[[], int]:
    """How many scripts the nodes have run since now, all together."""

    def statistics(name: str) -> Any:
        return await_that(lambda: deployment.ask(name, "INFO", "commandstats"), 20, f"the statistics of {name}")

    def total() -> int:
        found = 0
        for name in deployment.data:
            said = statistics(name)
            scripts, by_digest = said.get("cmdstat_eval", {}), said.get("cmdstat_evalsha", {})
            # A digest that the server does not know counts as a call that failed.
            found += scripts.get("calls", 0) + by_digest.get("calls", 0) - by_digest.get("failed_calls", 0)
        return found

    before = total()
    return lambda: total() - before


@pytest.fixture
def rounds_per_s(client: Client, key: str) -> float:
    return rounds_a_second(client, key)


def rounds_a_second(client: Client, key: str) -> float:
    """How many rounds of SLOW's loop take a second here and now, as nothing else slows them down."""
    few, best = 10_000_000, 0.0
    for _ in range(3):
        began = time.monotonic()
        client.call(lambda node: node.eval(SLOW, 1, f"{key}:warm-up", few))
        best = max(best, few / (time.monotonic() - began))
    return best


Operation = Callable[[Any], Any]
SLOW_OPERATIONS: dict[str, Callable[[str, int], Operation]] = {
    "script": lambda key, rounds: lambda node: node.eval(SLOW, 1, key, rounds),
    "in a transaction": lambda key, rounds: lambda node: node.pipeline().eval(SLOW, 1, key, rounds).execute(),
    "in a pipeline": lambda key, rounds: lambda node: node.pipeline(False).eval(SLOW, 1, key, rounds).execute(),
    "registered script": lambda key, rounds: lambda node: node.register_script(SLOW)([key], [rounds]),
    "watched transaction": lambda key, rounds: lambda node: watched(node, key, rounds),
}


def watched(node: Any, key: str, rounds: int) -> Any:
    def run(pipe: redis.client.Pipeline) -> None:
        pipe.get(key)
        pipe.multi()
        pipe.eval(SLOW, 1, key, str(rounds))

    return node.transaction(run, f"{key}:watched")


@pytest.mark.timed
@pytest.mark.parametrize("operation", SLOW_OPERATIONS.values(), ids=SLOW_OPERATIONS)
def test_what_a_slow_master_did_not_answer_in_time_is_not_sent_again(
    deployment: Deployment,
    client: Client,
    key: str,
    rounds_per_s: float,
    count_runs: Callable[[], int],
    operation: Callable[[str, int], Operation],
) -> None:
    before = epoch(deployment)
    with pytest.raises(NoReply, match=r"timeout_s = 1 s"):
        client.call(operation(key, int(1.5 * rounds_per_s)))
    assert client.ping()
    assert count_runs() == 1
    assert epoch(deployment) <= before + 1


@pytest.mark.timed
def test_a_script_that_costs_a_failover_does_not_cost_another(
    deployment: Deployment, client: Client, key: str, rounds_per_s: float, count_runs: Callable[[], int]
) -> None:
    before = epoch(deployment)
    with pytest.raises(NoReply):
        client.call(lambda node: node.eval(SLOW, 1, key, int(3 * rounds_per_s)))
    deployment.await_converged()
    assert client.ping()
    assert count_runs() == 1
    assert epoch(deployment) <= before + 1


# --- blocking commands have their own time (B4) ---

EMPTY_HANDED: dict[str, Callable[[Any, str], Any]] = {
    "BLPOP": lambda node, key: node.blpop([key], 1.3),
    "BRPOP": lambda node, key: node.brpop([key], 1.3),
    "BLMOVE": lambda node, key: node.blmove(key, key, 1.3),
    "BRPOPLPUSH": lambda node, key: node.brpoplpush(key, key, 2),
    "BLMPOP": lambda node, key: node.blmpop(1.3, 1, key, direction="LEFT"),
    "BZPOPMIN": lambda node, key: node.bzpopmin([key], 1.3),
    "BZPOPMAX": lambda node, key: node.bzpopmax([key], 1.3),
    "BZMPOP": lambda node, key: node.bzmpop(1.3, 1, [key], min=True),
    "XREAD": lambda node, key: node.xread({key: "$"}, block=1300),
    "WAIT": lambda node, _: node.wait(9, 1300),
    "in a pipeline": lambda node, key: node.pipeline(False).blpop([key], 1.3).execute()[0],
}


@pytest.mark.parametrize("wait", EMPTY_HANDED.values(), ids=EMPTY_HANDED)
def test_a_blocking_command_ends_empty_handed_in_its_own_time(
    client: Client, key: str, wait: Callable[[Any, str], Any]
) -> None:
    began = time.monotonic()
    found = client.call_once(lambda node: wait(node, key))
    assert found in (None, [], {}) or isinstance(found, int)
    assert time.monotonic() - began >= 1.25


@pytest.mark.parametrize(
    ("move", "seconds"),
    [(moved_by_handover, 20), (moved_by_crash, 0), (moved_by_hang, 0), (moved_by_hang, 20)],
    ids=["handover", "crash, for ever", "hang, for ever", "hang"],
)
def test_a_blocking_command_moves_with_the_master(
    deployment: Deployment, client: Client, key: str, move: Move, seconds: int
) -> None:
    popped: list[Any] = []
    waiter = threading.Thread(target=lambda: popped.append(client.call(lambda node: node.blpop([key], seconds))))
    waiter.start()
    move(deployment)
    with connect(deployment.contract.application()) as other:
        # A push that was not answered in time may have been done all the same: a second one does no harm here.
        await_that(lambda: other.call(lambda node: node.rpush(key, "item")), 15, "a push")
        waiter.join(10)
    assert popped == [(key, "item")]


# --- a node that cannot do its work is left (B3) ---


def test_a_master_that_cannot_write_to_its_disk_is_left(deployment: Deployment, client: Client, key: str) -> None:
    """A folder in the place of its snapshot: what a full disk does to it, and the Sentinels replace it."""
    old = deployment.master()
    snapshot = deployment.folder(old) / "data" / "dump.rdb"
    kept = snapshot.with_name("kept.rdb")
    if snapshot.exists():
        snapshot.rename(kept)
    snapshot.mkdir()
    (snapshot / "full").touch()
    try:
        deployment.ask(old, "CONFIG", "SET", "save", "1 1")
        await_that(lambda: refuses_writes(deployment, old, key), 30, "MISCONF")
        client.set(key, "1")
        assert client.master != deployment.endpoint(old)
    finally:
        (snapshot / "full").unlink()
        snapshot.rmdir()
        if kept.exists():
            kept.rename(snapshot)
        deployment.kill(old)
        deployment.start(old)
        deployment.await_converged()


def refuses_writes(deployment: Deployment, name: str, key: str) -> bool:
    with as_user(deployment.contract, deployment.contract.username, name) as node:
        try:
            node.set(key, "0")
        except exceptions.ResponseError as error:
            return "MISCONF" in str(error) or "READONLY" in str(error) or "read only" in str(error)
    return False


# --- databases (B5) ---


def test_a_database_is_named_in_the_contract_or_the_options(deployment: Deployment, client: Client, key: str) -> None:
    contract = deployment.contract.application()
    named = contract.model_copy(update={"db": 1})
    with connect(named) as first, connect(contract, options=Options(db=1, timeout_s=SLACK)) as second:
        first.set(key, "1")
        assert (first.get(key), second.get(key), client.get(key)) == ("1", "1", None)
        moved_by_crash(deployment)
        written: Operation = lambda node: node.pipeline().set(f"{key}:2", "2").execute()  # noqa: E731
        assert second.call(written) == [True]
        assert (first.get(f"{key}:2"), client.get(f"{key}:2")) == ("2", None)


MOVERS: dict[str, Operation] = {
    "SELECT": lambda node: node.select(1),
    "select in lower case": lambda node: node.execute_command("select", 1),
    "SELECT in a pipeline": lambda node: node.pipeline(False).select(1).execute(),
    "SELECT in a transaction": lambda node: node.pipeline().select(1).execute(),
    "AUTH": lambda node: node.auth("x", "y"),
    "RESET": lambda node: node.reset(),
    "HELLO": lambda node: node.execute_command("HELLO", 3),
    "MULTI": lambda node: node.execute_command("MULTI"),
    "CLIENT REPLY": lambda node: node.client_reply("OFF"),
}


@pytest.mark.parametrize("mover", MOVERS.values(), ids=MOVERS)
def test_what_would_change_the_shared_connection_is_refused_with_the_way(
    client: Client, key: str, mover: Operation
) -> None:
    client.set(key, "1")
    with pytest.raises(ChangesConnection, match=r"would change a connection that others share: \w+"):
        client.call(mover)
    assert client.get(key) == "1"


def test_a_database_that_is_not_there_is_named(deployment: Deployment) -> None:
    with (
        connect(deployment.contract.application(), options=Options(db=99)) as client,
        pytest.raises(exceptions.ResponseError, match=r"database 99 \(REDIS_DB"),
    ):
        client.ping()
