"""What a rehearsal does to a stack so that a trigger must fire. Each is undone when it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import redis
from redis.exceptions import RedisError

from client.connect import connect
from client.crosscheck import observe
from client.handover import hand_over
from client.links import open_as
from infra.contract import Endpoint, OperatorContract
from rehearsal.place import RehearsalError
from rollout.victims import victims_of
from tools.stacks import Stack

HANG_S = 6.0
# No trouble outlives a rollout that does not notice it.
LONGEST_S = 240.0


@dataclass(frozen=True)
class Trouble:
    """`by`: what the rollback's reason must name, one of them. `before_drill`: lasts into the controlled failover."""

    what: str
    by: tuple[str, ...]
    make: Callable[[OperatorContract, Stack, Event], None]
    before_drill: bool = False


class Going:
    """A trouble under way, in a thread."""

    def __init__(self, trouble: Trouble, contract: OperatorContract, stack: Stack) -> None:
        self.began = time.time()
        self._stop = Event()
        self._failed: list[Exception] = []
        self._thread = Thread(target=self._run, args=(trouble, contract, stack), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Undo it, without waiting for that."""
        self._stop.set()

    def end(self) -> None:
        """Undo it. Raises RehearsalError when it could not be made or undone."""
        self._stop.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise RehearsalError("a trouble was not undone within 60 s")
        if self._failed:
            raise RehearsalError(f"a trouble could not be made or undone: {self._failed[0]}") from self._failed[0]

    def _run(self, trouble: Trouble, contract: OperatorContract, stack: Stack) -> None:
        try:
            trouble.make(contract, stack, self._stop)
        except Exception as error:
            self._failed.append(error)


def _slow(contract: OperatorContract, _stack: Stack, stop: Event) -> None:
    end = time.monotonic() + LONGEST_S
    with _at(contract, _master(contract)) as link:
        while not stop.is_set() and time.monotonic() < end:
            try:
                link.execute_command("CLIENT", "PAUSE", 8, "WRITE")  # type: ignore[no-untyped-call]
            except RedisError:
                return  # it is being replaced: the trouble is over
            stop.wait(0.009)


def _full(contract: OperatorContract, _stack: Stack, stop: Event) -> None:
    at = _master(contract)
    with _at(contract, at) as link:
        before = str(link.config_get("maxmemory")["maxmemory"])
        link.config_set("maxmemory", "1")
    stop.wait(LONGEST_S)
    with _at(contract, at) as link:
        link.config_set("maxmemory", before)


def _move(contract: OperatorContract, _stack: Stack, _stop: Event) -> None:
    hand_over(contract)


def _forget(contract: OperatorContract, _stack: Stack, stop: Event) -> None:
    """Removes what the prober wrote, as long as it is not told to stop."""
    with connect(contract.application()) as client:
        while not stop.wait(0.5):
            found = client.call(lambda master: list(master.scan_iter("prober:*", count=1000)))
            for key in found:
                client.call(lambda master, key=key: master.unlink(key))  # type: ignore[misc]


def _hang_master(contract: OperatorContract, stack: Stack, stop: Event) -> None:
    master = next(node.name for node in observe(contract).masters)
    _freeze(stack, (master,), stop, HANG_S)


def _hang_sentinels(contract: OperatorContract, stack: Stack, stop: Event) -> None:
    count = len(contract.sentinels)
    _freeze(stack, [f"sentinel-{index}" for index in range(count - contract.quorum + 1)], stop, LONGEST_S)


def _freeze(stack: Stack, nodes: Sequence[str], stop: Event, seconds: float) -> None:
    with victims_of(stack) as victims:
        try:
            for node in nodes:
                victims.freeze(node)
            stop.wait(seconds)
        finally:
            for node in nodes:
                victims.revive(node)


def _unfit_replicas(contract: OperatorContract, _stack: Stack, stop: Event) -> None:
    replicas = [node.endpoint for node in contract.nodes if node.endpoint != _master(contract)]
    before: dict[Endpoint, str] = {}
    for each in replicas:
        with _at(contract, each) as link:
            before[each] = str(link.config_get("replica-priority")["replica-priority"])
            link.config_set("replica-priority", "0")
    stop.wait(LONGEST_S)
    for each, priority in before.items():
        with _at(contract, each) as link:
            link.config_set("replica-priority", priority)


def _master(contract: OperatorContract) -> Endpoint:
    return observe(contract).masters[0].endpoint


@contextmanager
def _at(contract: OperatorContract, endpoint: Endpoint) -> Iterator[redis.Redis]:
    with closing(open_as(contract, "operator", endpoint, 2.0)) as link:
        yield link


SLOW = Trouble("every write waits 8 ms", ("trigger.latency", "trigger.throughput"), _slow)
HANG = Trouble("the master hangs", ("trigger.error-rate", "trigger.more-errors", "trigger.sentinels"), _hang_master)
FULL = Trouble("the master has no memory left", ("trigger.error-rate", "trigger.more-errors"), _full)
UNREST = Trouble("the master moves, and nobody planned it", ("trigger.sentinels",), _move)
NO_QUORUM = Trouble("too many Sentinels hang", ("trigger.quorum",), _hang_sentinels)
LOSS = Trouble("acknowledged keys vanish", ("trigger.lost-acks",), _forget)
NO_FAILOVER = Trouble("no replica can be promoted", ("failover",), _unfit_replicas, before_drill=True)

FEW = {"canary": (SLOW,), "prod": (HANG,)}
EVERY = {
    "canary": (SLOW, FULL, UNREST, NO_QUORUM, LOSS, NO_FAILOVER),
    "prod": (SLOW, FULL, UNREST, NO_QUORUM, LOSS, HANG),
}
