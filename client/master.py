"""What an operation gets: redis-py's client, where that would go on with a node that is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.client import PubSub


class Pipeline(redis.client.Pipeline):
    """A connection that is gone watches nothing: redis-py would open it again, and wait, to say UNWATCH."""

    def reset(self) -> None:  # type: ignore[override]
        if self.connection is not None and not self.connection.is_connected:
            self.watching = False
        super().reset()


class Master(redis.Redis):
    """The node that serves. `pubsub()` gives a Subscriber, which outlives the operation and follows the master."""

    _subscribe: Callable[..., PubSub]

    @classmethod
    def of(cls, pool: redis.ConnectionPool, subscribe: Callable[..., PubSub]) -> Master:
        """`subscribe` takes what redis-py's pubsub() takes."""
        master: Master = cls.from_pool(pool)  # type: ignore[assignment]
        master._subscribe = subscribe
        return master

    def client(self) -> Master:
        one: Master = super().client()  # type: ignore[no-untyped-call]
        one._subscribe = self._subscribe
        return one

    def pubsub(self, **kwargs: Any) -> PubSub:
        return self._subscribe(**kwargs)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        return Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
