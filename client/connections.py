"""Connections to data nodes: redis-py's, and what it lacks for a node that may be demoted, replaced or only slow.

- Who serves is asked when a connection is made, and again before a command once that answer is a second old: redis-py's
  pools go back to the same address silently, whatever runs there by then.
- A time-out counts from the last sign of life: each piece of a long command that the server took is one, and a blocking
  command has its own time to wait before it.
- A command that was sent and not answered in time is a `NoReply`, unlike a connection that could not be made.
- What changes the connection for those who share it is refused, with the way that works.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import redis
from redis import exceptions
from redis.utils import SENTINEL, str_if_bytes

from client.commands import MOVES, Request, request_of
from client.errors import ChangesConnection, NoReply, NotMaster
from client.guard import CHECK_S, Guard
from client.tls import VerifiedConnection
from infra.contract import Endpoint

# What a server takes from a busy network well within any time-out.
_PIECE = 256 * 1024
_RUN_ID = re.compile(r"^run_id:(\w+)", re.MULTILINE)


class PatientConnection(redis.Connection):
    """To any data node, whatever its role."""

    def __init__(self, **kwargs: Any) -> None:
        self._request = Request()
        self._ours = False  # whether the commands of this moment are the connection's own, and none of the operation's
        self.run_id = ""  # of the server process, which an address does not tell; '' when it keeps that to itself
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, self.port)

    @property
    def reply_limit_s(self) -> float:
        return math.inf if self.socket_timeout is None else self.socket_timeout

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self._prepare((args,))
        super().send_command(*args, **kwargs)  # type: ignore[no-untyped-call]

    def pack_commands(self, commands: Iterable[Sequence[Any]]) -> Any:
        listed = list(commands)
        self._prepare(listed)
        return super().pack_commands(listed)  # type: ignore[no-untyped-call]

    def _prepare(self, commands: Sequence[Sequence[Any]]) -> None:
        self._request = request_of(commands)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._sock is None:
            self.connect_check_health(check_health=False)
        if check_health:
            self.check_health()  # type: ignore[no-untyped-call]
        try:
            super().send_packed_command(_in_pieces(command), check_health=False)  # type: ignore[no-untyped-call]
        except exceptions.TimeoutError as error:
            self._unanswered(error)

    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        timeout: Any = SENTINEL,
        disconnect_on_error: bool = True,
        push_request: bool = False,
    ) -> Any:
        if timeout is not SENTINEL:  # a subscriber waits for what nobody may ever say
            return super().read_response(
                disable_decoding, timeout=timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
            )
        try:
            if self._request.block_s:
                self._wait(self._request.block_s + self.reply_limit_s)
            return super().read_response(
                disable_decoding, disconnect_on_error=disconnect_on_error, push_request=push_request
            )
        except exceptions.TimeoutError as error:
            self._unanswered(error)

    def _wait(self, limit_s: float) -> None:
        """Until a reply begins, in steps: nobody says good-bye for a host that lost its power."""
        end = time.monotonic() + limit_s
        try:
            while not self.can_read(max(0.0, min(CHECK_S, end - time.monotonic()))):
                if time.monotonic() >= end:
                    raise exceptions.TimeoutError(f"no reply within {limit_s:g} s")
                self._still_there()
        except BaseException:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise

    def _unanswered(self, error: exceptions.TimeoutError) -> NoReturn:
        """What a time-out means once something was sent that the server may have got."""
        if self._ours:
            raise error
        request = self._request
        raise NoReply(self.endpoint, self.reply_limit_s, request.block_s, request.heavy, self.run_id) from error

    def _still_there(self) -> None:
        """Called while a blocking command waits. Raises when waiting has become pointless."""


class MasterConnection(PatientConnection):
    """To the node that serves: refuses to go on with one that does not any more."""

    def __init__(self, *, guard: Guard, **kwargs: Any) -> None:
        self._guard = guard
        self._check_at = math.inf
        super().__init__(**kwargs)

    def on_connect_check_health(self, check_health: bool = True) -> None:
        with self._asking():
            try:
                super().on_connect_check_health(check_health)
            except exceptions.ResponseError as error:
                if "DB index" in str(error):
                    error.args = (f"database {self.db} (REDIS_DB, or Options.db): {error}",)
                raise
            self.send_packed_command(self.pack_commands([("ROLE",), ("INFO", "server")]), check_health=False)
            role, info = self._answer(), self._answer()
            found = _RUN_ID.search(str_if_bytes(info)) if isinstance(info, str | bytes) else None
            self.run_id = found.group(1) if found else ""
            self._judge(role)

    def check_health(self) -> None:
        if time.monotonic() < self._check_at or self._ours:
            return
        with self._asking():
            self.send_command("ROLE", check_health=False)
            self._judge(self._answer())

    def _answer(self) -> Any:
        try:
            return self.read_response()
        except exceptions.NoPermissionError:
            return None

    def _judge(self, reply: Any) -> None:
        role = str_if_bytes(reply[0]) if isinstance(reply, list) else ""
        try:
            self._guard.accept(self.endpoint, role)
        except NotMaster:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise
        self._check_at = time.monotonic() + CHECK_S

    @contextmanager
    def _asking(self) -> Iterator[None]:
        before, self._ours = self._request, True
        self._request = Request()
        try:
            yield
        finally:
            self._request, self._ours = before, False

    def _prepare(self, commands: Sequence[Sequence[Any]]) -> None:
        if self._ours:
            return
        super()._prepare(commands)
        if moves := self._request.moves:
            raise ChangesConnection(f"{moves} would change a connection that others share: {MOVES[moves]}")

    def _still_there(self) -> None:
        if self._guard.is_replaced(self.endpoint):
            raise NotMaster(f"{self.endpoint} was replaced while a blocking command waited there")


class PatientTls(PatientConnection, VerifiedConnection):
    """PatientConnection under TLS."""


class MasterTls(MasterConnection, VerifiedConnection):
    """MasterConnection under TLS."""


def _in_pieces(command: Any) -> Any:
    """The socket's time-out is for all of what it is given at once: half a gigabyte would need to pass within it."""
    items = [command] if isinstance(command, str) else command
    return items if max(map(len, items), default=0) <= _PIECE else _split(items)


def _split(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        view = memoryview(item.encode() if isinstance(item, str) else item).cast("B")
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
