"""Many clients of one gateway, each with an address of its own. Runs in a container; standard library only.

crowd.py run      each client in turn writes a key, later reads it back; on SIGTERM prints one line of JSON
crowd.py where    every client asks once which side it is on; prints {"clients": 500, "canary": 52}

Reads /tmp/crowd.json: {"hosts": where gateways are, "port", "password", "network": the clients' addresses, such as
10.9.6.0/23, "count", "ways": other networks that are reached by way of an address, "pause_s" between two visits}.
Needs CAP_NET_ADMIN: the whole network becomes this network namespace's own (a local route) until `run` ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path
from types import FrameType

SIDE_KEY = "rehearsal:side"
SETTINGS = Path("/tmp/crowd.json")  # noqa: S108 - in a container of its own
TIMEOUT_S = 2.0
DEADLINE_S = 30.0
_RTM_NEWROUTE, _RTM_DELROUTE, _REQUEST_ACK, _CREATE = 24, 25, 0x0005, 0x0400
_TABLE_MAIN, _TABLE_LOCAL, _STATIC, _SCOPE_HOST, _TYPE_UNICAST, _TYPE_LOCAL = 254, 255, 4, 254, 1, 2
_DESTINATION, _INTERFACE, _GATEWAY, _LOOPBACK = 1, 4, 5, 1
_EXISTS, _NO_SUCH = 17, 3


class Unserved(Exception):
    """The gateway gave no answer, or an error."""


def route(network: IPv4Network, by: str | None, *, there: bool = True) -> None:
    """Make every address of the network this namespace's own, or reached by way of another; or undo that.

    Raises OSError.
    """
    to = (_TABLE_MAIN, _STATIC, 0, _TYPE_UNICAST) if by else (_TABLE_LOCAL, _STATIC, _SCOPE_HOST, _TYPE_LOCAL)
    message = struct.pack("=BBBBBBBBI", socket.AF_INET, network.prefixlen, 0, 0, *to, 0)
    message += struct.pack("=HH4s", 8, _DESTINATION, network.network_address.packed)
    if by:
        message += struct.pack("=HH4s", 8, _GATEWAY, socket.inet_aton(by))
    else:
        message += struct.pack("=HHI", 8, _INTERFACE, _LOOPBACK)
    kind, flags = (_RTM_NEWROUTE, _REQUEST_ACK | _CREATE) if there else (_RTM_DELROUTE, _REQUEST_ACK)
    header = struct.pack("=IHHII", 16 + len(message), kind, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.send(header + message)
        code = -struct.unpack("=i", link.recv(4096)[16:20])[0]
    if code not in (0, _EXISTS if there else _NO_SUCH):
        raise OSError(code, os.strerror(code))


class Clients:
    """The addresses, and one short connection from any of them."""

    def __init__(
        self,
        hosts: list[str],
        port: int,
        password: str,
        network: str,
        count: int,
        ways: dict[str, str],
        pause_s: float,
    ) -> None:
        self._hosts, self._port = hosts, port
        self.pause_s = pause_s
        self._password = password
        self.addresses = [str(each) for each in list(IPv4Network(network).hosts())[:count]]
        self._routes: list[tuple[IPv4Network, str | None]] = [(IPv4Network(network), None)]
        self._routes += [(IPv4Network(other), by) for other, by in ways.items()]
        for each in self._routes:
            route(*each)
        self._asked = 0

    def leave(self) -> None:
        """The addresses are nobody's again. Raises OSError."""
        for each in self._routes:
            route(*each, there=False)

    def ask(self, source: str, *commands: tuple[str, ...]) -> list[str | None]:
        """The replies to `commands` on a new connection from `source`, to each gateway in turn. Raises Unserved."""
        self._asked += 1
        host = self._hosts[self._asked % len(self._hosts)]
        try:
            with socket.create_connection((host, self._port), TIMEOUT_S, (source, 0)) as link:
                everything = (("AUTH", "app", self._password), *commands)
                link.sendall(b"".join(map(_encoded, everything)))
                with link.makefile("rb") as stream:
                    return [_reply(stream.readline, stream.read) for _ in everything][1:]
        except OSError as error:
            raise Unserved(type(error).__name__) from None


def _encoded(words: tuple[str, ...]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def _reply(line_of, bytes_of) -> str | None:  # type: ignore[no-untyped-def]
    line = line_of().decode().rstrip("\r\n")
    if not line:
        raise Unserved("closed")
    kind, rest = line[0], line[1:]
    if kind == "$":
        return None if rest == "-1" else bytes_of(int(rest) + 2)[:-2].decode()
    if kind == "-":
        raise Unserved(rest.split(" ", 1)[0])
    return str(rest)


def where(clients: Clients) -> dict[str, float]:
    """How many there are, and how many are on the canary. Raises Unserved when one is served nowhere."""
    sides = [_insist(clients, source, ("GET", SIDE_KEY))[0] for source in clients.addresses]
    if strangers := set(sides) - {"prod", "canary"}:
        raise Unserved(f"sides {strangers}")
    return {"clients": len(sides), "canary": sides.count("canary")}


def _insist(clients: Clients, source: str, *commands: tuple[str, ...]) -> list[str | None]:
    """As an application does: again until it is served, at most DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return clients.ask(source, *commands)
        except Unserved:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def run(clients: Clients) -> dict[str, float]:
    """Visit after visit until SIGTERM. A write is lost when its client is on the same side and does not find it."""
    stopping: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, stop)
    written: dict[str, tuple[str, str]] = {}
    found = {"visits": 0.0, "acknowledged": 0.0, "lost": 0.0, "moved": 0.0, "unserved": 0.0, "longest_gap_s": 0.0}
    last, number = time.monotonic(), 0
    while not stopping:
        source = clients.addresses[number % len(clients.addresses)]
        number += 1
        key, value = f"crowd:{source}", str(number)
        try:
            side, before, _ = clients.ask(source, ("GET", SIDE_KEY), ("GET", key), ("SET", key, value))
        except Unserved:
            found["unserved"] += 1
            written.pop(source, None)  # whether its write arrived is not known
            time.sleep(0.05)
            continue
        if source in written:
            was_side, was = written[source]
            found["moved"] += side != was_side
            found["lost"] += side == was_side and before != was
        written[source] = (str(side), value)
        found["visits"] += 1
        found["acknowledged"] += 1
        now = time.monotonic()
        found["longest_gap_s"] = max(found["longest_gap_s"], round(now - last, 3))
        last = now
        time.sleep(clients.pause_s)
    return found


def main(what: str) -> None:
    """Prints one line of JSON."""
    clients = Clients(**json.loads(SETTINGS.read_text()))
    if what == "where":
        seen = where(clients)
    else:
        try:
            seen = run(clients)
        finally:
            clients.leave()
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
