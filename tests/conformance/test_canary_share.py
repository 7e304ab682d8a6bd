"""A share of production's clients on the canary: two deployments, each behind a real HAProxy, 400 client addresses."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.connect import connect
from client.handover import hand_over
from infra.gateway import SHARE_FILE
from tests.deployment import PASSWORDS, Deployment, deployed
from tests.gateway import LOOPBACK, Gateway
from tests.waiting import await_that

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH (apt-get install haproxy)"),
]

CLIENTS = [f"127.1.{number // 200}.{number % 200 + 1}" for number in range(400)]
MOVED_S = 2.0
# The server is given up 10 s after its last good answer, and checked twice a second.
GIVEN_UP_S = 15.0


class Client:
    """One connection from one address, kept open."""

    def __init__(self, source: str, port: int) -> None:
        self.source = source
        self._socket = socket.create_connection((LOOPBACK, port), 5, (source, 0))

    def side(self) -> str:
        """Which deployment answers on this connection: prod or canary; '' when it has been closed."""
        try:
            self._socket.sendall(f"AUTH app {PASSWORDS['app']}\r\nGET side\r\n".encode())
            reply = b""
            while not reply.endswith((b"prod\r\n", b"canary\r\n")):
                more = self._socket.recv(100)
                if not more:
                    return ""
                reply += more
        except (ConnectionError, BrokenPipeError):
            return ""
        return reply.split(b"\r\n")[-2].decode()

    def is_cut(self) -> bool:
        """Whether the gateway has closed this connection, on which no answer is awaited."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self._socket.settimeout(5)

    def close(self) -> None:
        self._socket.close()


def cut(clients: list[Client]) -> set[str]:
    return {client.source for client in clients if client.is_cut()}


@dataclass
class Pair:
    """Production's gateway, which knows the canary's; the clients' connections at production's."""

    prod: Gateway
    canary: ExitStack
    canary_nodes: Deployment
    folder: Path

    def share(self, percent: int) -> None:
        """Set it at run time."""
        (self.folder / SHARE_FILE).write_text(f"{percent}\n")

    def sides(self, port: str = "gatewayPort") -> dict[str, str]:
        """Each client's side on a new connection."""
        found = {}
        for source in CLIENTS:
            client = Client(source, self.prod.ports[port])
            found[source] = client.side()
            client.close()
        return found

    def on_canary(self, port: str = "gatewayPort") -> set[str]:
        sides = self.sides(port)
        assert set(sides.values()) <= {"prod", "canary"}, "a client that is served nowhere"
        return {source for source, side in sides.items() if side == "canary"}

    def await_share(self, percent: int) -> set[str]:
        """Set the share and wait for it; who is on the canary then."""
        self.share(percent)
        said = f"the canary gets {percent} % of the clients"
        await_that(
            lambda: self.prod.log().rstrip().rpartition("the canary gets ")[2].startswith(f"{percent} "), 2, said
        )
        return self.on_canary()


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    (folder / "prod").mkdir()
    (folder / "canary").mkdir()
    with ExitStack() as stack:
        nodes = {}
        for name in ("prod", "canary"):
            up = deployed(folder / f"{name}-nodes")
            nodes[name] = next(up)
            stack.callback(next, up, None)
        canary = Gateway(nodes["canary"], folder / "canary")
        running = stack.enter_context(ExitStack())
        running.enter_context(canary.running())
        canary.await_serving(nodes["canary"].master())
        prod = Gateway(
            nodes["prod"],
            folder / "prod",
            canary=f"{LOOPBACK}:{canary.ports['gatewayPort']}",
            canary_read_port=canary.ports["gatewayReadPort"],
        )
        stack.enter_context(prod.running())
        prod.await_serving(nodes["prod"].master())
        for name, gateway in (("prod", prod), ("canary", canary)):
            with connect(gateway.contract) as client:
                client.set("side", name)
        yield Pair(prod, running, nodes["canary"], folder / "prod")


@pytest.fixture
def pair(shared_pair: Pair) -> Pair:
    shared_pair.await_share(0)
    return shared_pair


def test_nobody_is_on_the_canary_without_a_share(pair: Pair) -> None:
    assert pair.on_canary() == set()


def test_ten_percent_are_ten_percent_and_a_client_stays_on_its_side(pair: Pair) -> None:
    on_canary = pair.await_share(10)
    measured = 100 * len(on_canary) / len(CLIENTS)
    print(f"share 10 %: {measured:.1f} % of {len(CLIENTS)} addresses")
    assert 8 <= measured <= 12
    assert pair.on_canary() == on_canary
    assert pair.on_canary("gatewayReadPort") == on_canary


def test_raising_the_share_only_adds_clients(pair: Pair) -> None:
    before: set[str] = set()
    for percent in (1, 5, 10, 50, 100):
        now = pair.await_share(percent)
        print(f"share {percent} %: {100 * len(now) / len(CLIENTS):.2f} %")
        assert before < now or (percent == 1 and before <= now)
        before = now
    assert before == set(CLIENTS)


def test_lowering_the_share_moves_those_whose_side_changes_and_drops_no_other_connection(pair: Pair) -> None:
    few, more = pair.await_share(5), pair.await_share(20)
    clients = [Client(source, pair.prod.ports["gatewayPort"]) for source in CLIENTS]
    try:
        assert {client.source for client in clients if client.side() == "canary"} == more
        for percent, wanted in ((5, more - few), (0, more)):
            started = time.monotonic()
            pair.share(percent)
            await_that(lambda wanted=wanted: cut(clients) == wanted, MOVED_S, f"the share of {percent} %")  # type: ignore[misc]
            print(f"share {percent} %: {len(wanted)} connections closed after {time.monotonic() - started:.2f} s")
        assert {client.side() for client in clients if client.source not in more} == {"prod"}
        pair.await_share(50)
        assert cut(clients) == more, "a greater share drops no connection"
        assert {client.side() for client in clients if client.source not in more} == {"prod"}
        pair.await_share(0)
        assert pair.on_canary() == set()
    finally:
        for client in clients:
            client.close()


def test_the_canarys_own_failover_moves_nobody_to_production(pair: Pair) -> None:
    (source, *_) = pair.await_share(10)
    hand_over(pair.canary_nodes.contract)
    sides = set()

    def answers() -> bool:
        with suppress(OSError):
            client = Client(source, pair.prod.ports["gatewayPort"])
            sides.add(side := client.side())
            client.close()
            return side == "canary"
        return False

    await_that(answers, 5, "the canary after its handover")
    assert "prod" not in sides


def test_when_the_canary_is_down_its_clients_are_served_by_production(pair: Pair) -> None:
    """The last one: it ends the canary's gateway."""
    on_canary = pair.await_share(10)
    assert on_canary
    pair.canary.close()
    await_that(lambda: "the canary is down" in pair.prod.log(), GIVEN_UP_S, "the canary given up")
    assert pair.on_canary() == set()
