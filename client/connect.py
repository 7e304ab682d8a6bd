"""The client of the contract: `connect(contract)` gives a Client that survives failovers, in either mode.

with connect(Contract.from_env(os.environ)) as client:
    client.set("greeting", "hello", ttl_s=60)
    client.call(lambda redis: redis.hset("user:1", "name", "Ada"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Self, TypeVar

import redis

from client.discovery import Discovery
from client.errors import AccessRefused, NoReply, RedisUnavailable, meaning
from client.fallback import Fallback, Value
from client.guard import Guard
from client.link_to_master import MasterLink
from client.links import open_master, open_node
from client.master import Master
from client.options import Options
from client.probes import Probes
from client.retry import retry
from client.stats import Counter, Stats
from client.subscriber import Subscriber
from infra.contract import Contract, Endpoint

Result = TypeVar("Result")
Mode = Literal["sentinel", "standalone"]


def connect(contract: Contract, *, options: Options | None = None) -> Client:
    """A client for this contract. Touches the network only when it is first used."""
    return Client(contract, options or Options())


class Client:
    """Thread-safe. Every operation runs against the current master, or against a replica where it says so."""

    def __init__(self, contract: Contract, options: Options) -> None:
        self._contract = contract
        self._options = options
        self._probes = Probes(contract, options)
        self._discovery = Discovery(contract, options, self._probes) if contract.sentinel_enabled else None
        find = self._discovery.master if self._discovery else lambda: contract.standalone
        self._guard = Guard(master_only=contract.sentinel_enabled, any_role=options.any_role, ask=self._is_replaced)
        self._link = MasterLink(find, self._open_master)
        self._counter = Counter()
        self._fallback = Fallback(options.fallback) if options.fallback else None

    @property
    def mode(self) -> Mode:
        return "sentinel" if self._contract.sentinel_enabled else "standalone"

    @property
    def master(self) -> Endpoint | None:
        """The master as last seen, without asking anybody; None before the first operation."""
        return self._link.endpoint

    @property
    def stats(self) -> Stats:
        """Hits and misses of get()."""
        return self._counter.stats

    def call(self, operation: Callable[[redis.Redis], Result], *, deadline_s: float | None = None) -> Result:
        """Run `operation` on the master, again after a failover or a lost connection, until the deadline.

        Only for operations that are safe to repeat (SET, HSET, DEL, SADD, reads; not INCR or LPUSH): a reply can be
        lost after the server has run the command. Raises RedisUnavailable after `deadline_s` seconds (None: as in the
        options), AccessRefused or the server's own error at once when trying again is pointless.

        Slow is not dead: what a node was sent and did not answer in time is sent again only once that node has been
        replaced, once at most, and not at all when it may be the cause itself (scripts, many megabytes). Else NoReply.

        Pipelines, transactions, locks and scripts are made and used within `operation`: outside they stay with their
        node, unrepeated, and refuse to go on when it is the master no longer. Commands that change the connection
        (SELECT, AUTH, ...) are refused. `pubsub()` alone is meant to be kept.
        """
        wanted = self._options.retry
        limits = wanted if deadline_s is None else replace(wanted, deadline_s=deadline_s)
        lost: NoReply | None = None

        def attempt() -> Result:
            nonlocal lost
            master = self._link.get()
            if lost is not None and not self._replaced(lost, master):
                raise lost
            try:
                return self._attempt(master, operation)
            except NoReply as error:
                if error.heavy or lost is not None:
                    raise  # it may be the operation that stops its nodes; after two in a row it is
                lost = error
                raise RedisUnavailable(str(error)) from error

        return retry(attempt, limits)

    def call_once(self, operation: Callable[[redis.Redis], Result]) -> Result:
        """Run `operation` on the master at most once, for what must not be repeated (INCR, LPUSH, a payment).

        Finding the master is retried, the operation is not. After a redis-py ConnectionError or TimeoutError (NoReply)
        the server may or may not have run it; after RedisUnavailable or a ReadOnlyError it has not.
        """
        return self._attempt(retry(self._link.get, self._options.retry), operation)

    def pubsub(self, **kwargs: Any) -> Subscriber:
        """A subscription that follows the master, used like redis-py's PubSub; the caller closes it.

        Takes redis-py's `ignore_subscribe_messages`. Touches the network when something is subscribed to.
        """
        return Subscriber(self._link, self._guard, self._options, **kwargs)

    def ping(self) -> bool:
        """Whether the master answers, retried like `call`."""
        return self.call(lambda master: master.ping())

    def get(self, key: str) -> Value | None:
        """The value of `key`, None when there is none; from memory while Redis is away, where that is enabled."""
        memory = self._fallback
        if memory is None:
            value: Value | None = self.call(lambda master: master.get(key))
            self._counter.looked_up(value is not None, in_memory=False)
            return value
        try:
            # The remaining time to live comes along, so that memory never serves an entry that Redis has let expire.
            value, ttl_ms = self._unless_away(memory, lambda master: _get_with_ttl(master, key))
        except (RedisUnavailable, NoReply):
            value = memory.get(key)
            self._counter.looked_up(value is not None, in_memory=True)
            return value
        if value is None:
            memory.forget(key)
        else:
            memory.put(key, value, ttl_ms / 1000 if ttl_ms >= 0 else None)
        self._counter.looked_up(value is not None, in_memory=False)
        return value

    def set(self, key: str, value: Value, *, ttl_s: float | None = None) -> bool:
        """Store `value`, for `ttl_s` seconds if given. True: Redis has it; False: only this process's memory has it."""
        px = None if ttl_s is None else max(1, round(ttl_s * 1000))
        memory = self._fallback
        if memory is None:
            self.call(lambda master: master.set(key, value, px=px))
            return True
        memory.put(key, value, ttl_s)
        try:
            self._unless_away(memory, lambda master: master.set(key, value, px=px))
        except (RedisUnavailable, NoReply):
            return False
        return True

    def delete(self, *keys: str) -> bool:
        """Remove `keys`. True: from Redis; False: only from this process's memory, Redis being away."""
        memory = self._fallback
        if memory is None:
            self.call(lambda master: master.delete(*keys))
            return True
        for key in keys:
            memory.forget(key)
        try:
            self._unless_away(memory, lambda master: master.delete(*keys))
        except (RedisUnavailable, NoReply):
            return False
        return True

    def replica(self) -> redis.Redis:
        """A plain redis-py client for one healthy replica (the node itself in standalone mode), picked at random.

        Replicas lag: what was just written may be missing. No retries; the caller closes it.
        """
        if self._discovery is None:
            return open_node(self._contract, self._options, self._contract.standalone)
        found = self._discovery.replicas()
        if not found:
            raise RedisUnavailable(f"no linked replica of '{self._contract.master_name}' answers")
        return open_node(self._contract, self._options, found[0])

    def close(self) -> None:
        """Close every connection. A later operation opens them again."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_master(self, endpoint: Endpoint) -> redis.Redis:
        return Master.of(open_master(self._contract, self._options, endpoint, self._guard), self.pubsub)

    def _attempt(self, master: redis.Redis, operation: Callable[[redis.Redis], Result]) -> Result:
        try:
            return operation(master)
        except Exception as error:
            if meaning(error).leave:
                self._link.drop(master)
            raise

    def _replaced(self, lost: NoReply, master: redis.Redis) -> bool:
        """Whether `master` is another server process than the one that did not answer. Raises until one answers."""
        return self._attempt(master, _run_id) != lost.run_id

    def _is_replaced(self, silent: Endpoint) -> bool:
        """Whether somebody else is the master now, for a connection that waits at this node."""
        role = self._probes.role(silent)
        if role.role:
            return not self._guard.accepts(role.role)
        if self._discovery is None:
            return False
        try:
            return Discovery(self._contract, self._options, self._probes).master() != silent
        except (RedisUnavailable, AccessRefused):
            return False

    def _unless_away(self, memory: Fallback, operation: Callable[[redis.Redis], Result]) -> Result:
        if memory.is_away:
            raise RedisUnavailable("Redis was away a moment ago")
        try:
            return self.call(operation, deadline_s=memory.patience_s)
        except (RedisUnavailable, NoReply):
            memory.mark_away()
            raise


def _run_id(master: redis.Redis) -> str:
    pool = master.connection_pool
    connection: Any = pool.get_connection()
    try:
        return str(connection.run_id)
    finally:
        pool.release(connection)


def _get_with_ttl(master: redis.Redis, key: str) -> tuple[Any, int]:
    pipeline = master.pipeline(transaction=False)
    pipeline.get(key)
    pipeline.pttl(key)
    value, ttl_ms = pipeline.execute()
    return value, int(ttl_ms)
