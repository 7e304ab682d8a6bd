"""The client's one link: a connection pool to the current master, dropped and found again when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock

import redis

from client.errors import RedisUnavailable
from infra.contract import Endpoint

logger = logging.getLogger(__name__)


class MasterLink:
    """Shared by the application's threads. One of them looks for the master, the others wait for what it finds."""

    def __init__(self, find: Callable[[], Endpoint], open_node: Callable[[Endpoint], redis.Redis]) -> None:
        self._find = find
        self._open_node = open_node
        self._lock = Lock()
        self._redis: redis.Redis | None = None
        self._endpoint: Endpoint | None = None
        self._rounds = 0
        self._failure: RedisUnavailable | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """The master as last seen, without asking again; None before the first use."""
        return self._endpoint

    def get(self) -> redis.Redis:
        """The pool to the master, discovering it when there is none. Raises RedisUnavailable or AccessRefused."""
        before = self._rounds
        with self._lock:
            if self._redis is not None:
                return self._redis
            if self._rounds != before and self._failure is not None:
                # Another thread asked while we waited: a crowd of threads asks the Sentinels no more than one does.
                raise RedisUnavailable(str(self._failure))
            self._rounds += 1
            try:
                endpoint = self._find()
            except RedisUnavailable as failure:
                self._failure = failure
                raise
            self._failure = None
            if endpoint != self._endpoint:
                logger.info("master is %s (was %s)", endpoint, self._endpoint or "not known")
            self._redis, self._endpoint = self._open_node(endpoint), endpoint
            return self._redis

    def drop(self, failed: redis.Redis) -> None:
        """Forget a pool that failed, unless another thread has replaced it already.

        Its idle connections close now; those in use by other threads fail or finish by themselves, and close then.
        """
        with self._lock:
            if self._redis is failed:
                self._redis = None
        failed.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        with self._lock:
            if self._redis is not None:
                self._redis.close()
            self._redis = None
