"""A subscription that follows the master: redis-py's PubSub, which connects to the dead address for ever."""

from __future__ import annotations

import logging
import math
import random
import time
from typing import Any, Self, cast

import redis
from redis._parsers import Encoder
from redis.client import PubSub

from client.connections import MasterConnection
from client.errors import NotMaster, RedisUnavailable, describe, is_transient, meaning
from client.guard import CHECK_S, Guard
from client.link_to_master import MasterLink
from client.options import Options
from client.retry import delays, retry
from infra.contract import Endpoint

logger = logging.getLogger(__name__)


class Subscriber(PubSub):
    """Used like redis-py's PubSub: subscribe, psubscribe, get_message, listen, run_in_thread, close.

    When the node stops being the master, it subscribes again at the new one. What is published in between is lost, as
    everything in Redis's pub/sub is that nobody hears. While there is no master, get_message returns None in its time,
    and RedisUnavailable is raised once that has lasted for the deadline of the options; the next call goes on.
    """

    def __init__(self, link: MasterLink, guard: Guard, options: Options, **kwargs: Any) -> None:
        self._link = link
        self._guard = guard
        self._options = options
        self._node: redis.Redis | None = None
        self._away_since = math.inf
        encoder = Encoder("utf-8", "strict", options.decode_responses)  # type: ignore[no-untyped-call]
        # The pool comes with the first connection: nothing here touches the network.
        super().__init__(connection_pool=None, encoder=encoder, **kwargs)

    def execute_command(self, *args: Any) -> Any:
        """SUBSCRIBE and the like: sent to the master, found first where need be, until the options' deadline."""

        def send() -> None:
            with self._lock:
                try:
                    self._join()
                    self._connection.send_command(*args, check_health=False)
                except Exception as error:
                    self._leave(error)
                    raise

        retry(send, self._options.retry)

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:
        """The next message or confirmation; None when there is none within `timeout`."""
        end = math.inf if block else time.monotonic() + timeout
        pauses = delays(self._options.retry, random.random)
        while True:
            try:
                with self._lock:
                    self._join()
                response = self._read(min(CHECK_S, end - time.monotonic()))
                if response is not None or time.monotonic() >= end:
                    return response
            except Exception as error:
                with self._lock:
                    self._leave(error)
                self._bear(error)
                pause = min(next(pauses), end - time.monotonic())
                if pause <= 0:
                    return None
                time.sleep(pause)

    def reset(self) -> None:
        if self.connection is not None:
            self._leave()
        super().reset()

    def __enter__(self) -> Self:
        return self

    @property
    def endpoint(self) -> Endpoint | None:
        """The node that it listens to; None while it listens to nobody."""
        return None if self.connection is None else self._connection.endpoint

    @property
    def _connection(self) -> MasterConnection:
        return cast(MasterConnection, self.connection)

    def _read(self, wait_s: float) -> Any:
        connection = self._connection
        if self._guard.is_replaced(connection.endpoint):
            raise NotMaster(f"{connection.endpoint} is not the master any more")
        if not connection.can_read(max(0.0, wait_s)):
            return None
        # It has begun: it gets the time of any other reply.
        return connection.read_response(timeout=self._options.timeout_s, push_request=True)

    def _join(self) -> None:
        """A connection to the master, with everything that is subscribed to."""
        if self.connection is not None:
            if self._connection.is_connected:
                return
            self._leave()
        self._node = self._link.get()
        self.connection_pool = self._node.connection_pool
        self.connection = self.connection_pool.get_connection()
        connection = self._connection
        connection.check_health()
        self._forget_what_was_ended()
        for command, names in (
            ("SUBSCRIBE", self.channels),
            ("PSUBSCRIBE", self.patterns),
            ("SSUBSCRIBE", self.shard_channels),
        ):
            if names:
                connection.send_command(command, *names, check_health=False)
        if self._away_since < math.inf:
            logger.info("subscribed again, at %s", connection.endpoint)
        self._away_since = math.inf

    def _leave(self, error: Exception | None = None) -> None:
        """Give the connection back, unless `error` says nothing of the node. What is subscribed to stays known."""
        if error is not None:
            if not meaning(error).leave:
                return
            if self._node is not None:
                self._link.drop(self._node)
        self._node = None
        if self.connection is not None:
            self.connection.disconnect()
            self.connection_pool.release(self.connection)
            self.connection = None

    def _bear(self, error: Exception) -> None:
        """Raises what waiting does not cure."""
        if not is_transient(error):
            raise error
        now = time.monotonic()
        self._away_since = min(self._away_since, now)
        if now - self._away_since > self._options.retry.deadline_s:
            self._away_since = math.inf
            raise RedisUnavailable(
                f"not subscribed for {self._options.retry.deadline_s:g} s; last seen: {describe(error)}"
            ) from error

    def _forget_what_was_ended(self) -> None:
        """Nobody is left to confirm an UNSUBSCRIBE that was sent to the old node."""
        for names, ended in (
            (self.channels, self.pending_unsubscribe_channels),
            (self.patterns, self.pending_unsubscribe_patterns),
            (self.shard_channels, self.pending_unsubscribe_shard_channels),
        ):
            for name in ended:
                names.pop(name, None)
            ended.clear()
        if not (self.channels or self.patterns or self.shard_channels):
            self.subscribed_event.clear()
