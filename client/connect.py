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
from client.errors import RedisUnavailable, is_transient
from client.fallback import Fallback, Value
from client.link_to_master import MasterLink
from client.links import open_node
from client.options import Options
from client.probes import Probes
from client.retry import retry
from client.stats import Counter, Stats
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
        self._discovery = Discovery(contract, options, Probes(contract, options)) if contract.sentinel_enabled else None
        find = self._discovery.master if self._discovery else lambda: contract.standalone
        self._link = MasterLink(find, self._open)
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
        """
        wanted = self._options.retry
        limits = wanted if deadline_s is None else replace(wanted, deadline_s=deadline_s)
        return retry(lambda: self._attempt(self._link.get(), operation), limits)

    def call_once(self, operation: Callable[[redis.Redis], Result]) -> Result:
        """Run `operation` on the master at most once, for what must not be repeated (INCR, LPUSH, a payment).

        Finding the master is retried, the operation is not. After a redis-py ConnectionError or TimeoutError the server
        may or may not have run it; after RedisUnavailable or a ReadOnlyError it has not.
        """
        return self._attempt(retry(self._link.get, self._options.retry), operation)

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
        except RedisUnavailable:
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
        except RedisUnavailable:
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
        except RedisUnavailable:
            return False
        return True

    def replica(self) -> redis.Redis:
        """A plain redis-py client for one healthy replica (the node itself in standalone mode), picked at random.

        Replicas lag: what was just written may be missing. No retries; the caller closes it.
        """
        if self._discovery is None:
            return self._open(self._contract.standalone)
        found = self._discovery.replicas()
        if not found:
            raise RedisUnavailable(f"no linked replica of '{self._contract.master_name}' answers")
        return self._open(found[0])

    def close(self) -> None:
        """Close every connection. A later operation opens them again."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, endpoint: Endpoint) -> redis.Redis:
        return open_node(self._contract, self._options, endpoint)

    def _attempt(self, master: redis.Redis, operation: Callable[[redis.Redis], Result]) -> Result:
        try:
            return operation(master)
        except Exception as error:
            # Even where the node itself is well (NOREPLICAS), it may be the wrong one by now: ask again.
            if is_transient(error):
                self._link.drop(master)
            raise

    def _unless_away(self, memory: Fallback, operation: Callable[[redis.Redis], Result]) -> Result:
        if memory.is_away:
            raise RedisUnavailable("Redis was away a moment ago")
        try:
            return self.call(operation, deadline_s=memory.patience_s)
        except RedisUnavailable:
            memory.mark_away()
            raise


def _get_with_ttl(master: redis.Redis, key: str) -> tuple[Any, int]:
    pipeline = master.pipeline(transaction=False)
    pipeline.get(key)
    pipeline.pttl(key)
    value, ttl_ms = pipeline.execute()
    return value, int(ttl_ms)
