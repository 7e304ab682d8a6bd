"""A Sentinel or a data node that says what a test wants: whole, cut, endless, slow, out of any range."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from infra.contract import Endpoint

Reply = bytes | Callable[[socket.socket], None]
"""What is sent as an answer, or what sends it."""


def array(*parts: str | bytes) -> bytes:
    """A RESP array; a part that is bytes is RESP already."""
    return b"*%d\r\n" % len(parts) + b"".join(part if isinstance(part, bytes) else bulk(part) for part in parts)


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


def named(endpoint: Endpoint) -> bytes:
    """GET-MASTER-ADDR-BY-NAME."""
    return array(endpoint.host, str(endpoint.port))


def state(**fields: str | bytes) -> bytes:
    """SENTINEL MASTER, or one entry of SENTINEL REPLICAS."""
    return array(*(part for name, value in fields.items() for part in (name.replace("_", "-"), value)))


def role_master() -> bytes:
    return array("master", b":7\r\n", b"*0\r\n")


def role_slave(master: Endpoint, link: str = "connected") -> bytes:
    return array("slave", master.host, b":%d\r\n" % master.port, link, b":7\r\n")


def drip(reply: bytes, pause_s: float = 0.2) -> Callable[[socket.socket], None]:
    """The reply, a byte at a time."""

    def send(link: socket.socket) -> None:
        for index in range(len(reply)):
            link.sendall(reply[index : index + 1])
            time.sleep(pause_s)

    return send


def without_end(beginning: bytes, more: bytes) -> Callable[[socket.socket], None]:
    """As fast as it is taken, until the other side closes."""

    def send(link: socket.socket) -> None:
        link.sendall(beginning)
        while True:
            link.sendall(more * 1000)

    return send


def silence(_link: socket.socket) -> None:
    """Takes the question, and says nothing."""


def hang_up(link: socket.socket) -> None:
    link.close()


class Liar:
    """Listens at `endpoint` and answers each command by `replies`: its words, joined by a blank, from the left."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("127.0.0.1", self._listener.getsockname()[1])
        self.replies: Mapping[str, Reply] = {}
        self.asked = 0
        """Commands that were answered by `replies`."""
        self.users: set[str] = set()
        """Who has logged in."""

    @contextmanager
    def answering(self) -> Iterator[Liar]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def say(self, **replies: Reply) -> None:
        """From now on: `ROLE`, `SENTINEL_MASTER`, ... and this reply."""
        self.replies = {name.replace("_", " "): reply for name, reply in replies.items()}
        self.asked = 0

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with suppress(OSError, ValueError, IndexError), link, link.makefile("rb") as lines:
            while True:
                words = self._command(lines)
                if words[0] == "AUTH":
                    self.users.add(words[1])
                    link.sendall(b"+OK\r\n")
                    continue
                command = " ".join(words)
                reply = next((reply for name, reply in self.replies.items() if command.startswith(name)), b"-ERR\r\n")
                self.asked += 1
                if isinstance(reply, bytes):
                    link.sendall(reply)
                else:
                    reply(link)

    def _command(self, lines: object) -> list[str]:
        read: Callable[[], bytes] = lines.readline  # type: ignore[attr-defined]
        count = int(read()[1:])
        words = []
        for _ in range(count):
            read()
            words.append(read().rstrip(b"\r\n").decode())
        return words
