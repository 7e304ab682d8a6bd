"""Certificates of a deployed stack: renewed under load, and wrong ones refused by clients and nodes alike."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from client.crosscheck import observe
from client.ledger_report import LedgerReport
from client.links import open_as
from infra import certificates
from infra.certificates import KeyPair
from infra.contract import NodeAddress
from infra.targets import docker_control
from infra.tls import CERTIFICATE_FILE, KEY_FILE
from tests.deployment import await_that
from tests.docker.stack import DockerStack
from tests.engine.certificates import authority, let_certificates_age, nodes, served
from tests.engine.stack import await_converged, findings_of, master_of
from tests.waiting import SLACK, await_settled

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def stranger() -> KeyPair:
    """Another stack's authority, of the same name."""
    return certificates.first_authority("test", None, certificates.utc_now()).signer


def noticed(report: LedgerReport) -> set[str]:
    """The kinds of errors that clients saw; beside other tests, an answer may take longer than they wait."""
    slow = {"NoReply", "TimeoutError"} if SLACK > 1 else set()
    return {kind for kind, _ in report.errors} - slow


def test_certificates_are_renewed_when_due_without_losing_a_write(secured: DockerStack) -> None:
    before = {node.name: served(node) for node in nodes(secured)}
    containers, master = secured.ids(), master_of(secured.contract())
    let_certificates_age(secured, days=61)  # of 90: under a third is left
    output, report = secured.up_under_load()
    assert secured.operations(output)["updated"] >= 12  # the certificates and the nodes' files
    assert report.lost == ()
    assert noticed(report) == set()
    for node in nodes(secured):
        assert served(node) != before[node.name], node.name
    assert secured.ids() == containers
    assert master_of(secured.contract()) == master
    assert findings_of(secured.contract()) == ()
    secured.assert_unchanged()


@pytest.mark.nightly
def test_another_life_of_the_certificates_is_a_renewal_too(secured: DockerStack) -> None:
    secured.set(certificateDays="30")
    _, report = secured.up_under_load()
    assert report.lost == ()
    assert noticed(report) == set()
    assert findings_of(secured.contract()) == ()


def test_no_node_answers_in_the_clear(secured: DockerStack) -> None:
    for node in nodes(secured):
        with closing(socket.create_connection((node.endpoint.host, node.endpoint.port), 2)) as link:
            link.sendall(b"PING\r\n")
            try:
                reply = link.recv(100)
            except ConnectionError:
                reply = b""
            assert not reply.startswith((b"+", b"-")), (node.name, reply)


def answer(stack: DockerStack, node: NodeAddress, shown: KeyPair | None) -> str:
    """What a node says to PING without a password, over a connection that shows this certificate; or the refusal."""
    context = ssl.create_default_context(cafile=str(stack.contract().tls_ca_file))
    if shown:
        (stack.home / "shown.pem").write_text(shown.certificate + shown.key)
        context.load_cert_chain(stack.home / "shown.pem")
    endpoint = node.endpoint
    try:
        with (
            closing(socket.create_connection((endpoint.host, endpoint.port), 2)) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.host) as link,
        ):
            link.sendall(b"PING\r\n")
            return link.recv(100).decode()
    except OSError as error:
        return f"refused: {error}"


def aged_certificate(node: NodeAddress, signer: KeyPair, age_days: int = 0) -> KeyPair:
    """A certificate of 90 days for this node, issued `age_days` ago."""
    issued_at = certificates.utc_now() - timedelta(days=age_days)
    return certificates.issue(signer, [node.endpoint.host, node.name], 90, issued_at)


def test_nodes_refuse_clients_that_show_a_wrong_certificate(secured: DockerStack) -> None:
    ours, theirs = authority(secured), stranger()
    for node in nodes(secured):
        assert answer(secured, node, None).startswith("-NOAUTH"), node.name
        assert answer(secured, node, aged_certificate(node, ours)).startswith("-NOAUTH"), node.name
        for wrong in (aged_certificate(node, theirs), aged_certificate(node, ours, age_days=91)):
            assert answer(secured, node, wrong).startswith("refused"), node.name


def test_a_client_refuses_another_authority(secured: DockerStack, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_text(stranger().certificate)
    other = secured.contract().model_copy(update={"tls_ca_file": tmp_path / "other.crt"})
    for node in nodes(secured):
        with (
            closing(open_as(other, "monitor", node.endpoint, 2.0)) as link,
            pytest.raises(redis.ConnectionError, match="certificate verify failed"),
        ):
            link.ping()


def by_another_authority(node: NodeAddress, _ours: KeyPair) -> KeyPair:
    return aged_certificate(node, stranger())


def expired(node: NodeAddress, ours: KeyPair) -> KeyPair:
    return aged_certificate(node, ours, age_days=91)


def of_another_name(_node: NodeAddress, ours: KeyPair) -> KeyPair:
    return certificates.issue(ours, ["198.51.100.1", "elsewhere"], 90, certificates.utc_now())


@contextmanager
def showing(stack: DockerStack, node: NodeAddress, pair: KeyPair) -> Iterator[None]:
    """The node, restarted with this certificate; afterwards with its own again, and all agree."""
    own = KeyPair(*(read(stack, node.name, name) for name in (CERTIFICATE_FILE, KEY_FILE)))
    restart_with(stack, node.name, pair)
    try:
        await_that(lambda: served(node) == pair.certificate.strip(), 60, f"{node.name} with the wrong certificate")
        yield
    finally:
        restart_with(stack, node.name, own)
        await_converged(stack.contract())


def read(stack: DockerStack, node: str, name: str) -> str:
    """A file of a node's configuration."""
    done = stack.container(node).exec_run(["cat", f"{docker_control.CONF}/{name}"])
    assert done.exit_code == 0, done.output
    return str(done.output.decode())


def restart_with(stack: DockerStack, node: str, pair: KeyPair) -> None:
    texts = {CERTIFICATE_FILE: pair.certificate, KEY_FILE: pair.key}
    files = {f"{docker_control.CONF}/{name}": text for name, text in texts.items()}
    volumes = {docker_control.FILES: f"redis-{stack.name}-{node}-files"}
    stack.container(node).kill()
    docker_control.write_files(stack.client, stack.settings["image"], volumes, files)
    stack.container(node).start()


def assert_refused_by_clients(stack: DockerStack, node: NodeAddress, reason: str) -> None:
    with (
        closing(open_as(stack.contract(), "monitor", node.endpoint, 2.0)) as link,
        pytest.raises(redis.ConnectionError, match=reason),
    ):
        link.ping()


WRONG = pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (by_another_authority, "certificate verify failed"),
        pytest.param(expired, "certificate has expired", marks=pytest.mark.nightly),
    ],
)


@WRONG
def test_a_replica_with_a_wrong_certificate_cannot_join(
    secured: DockerStack, wrong: Callable[[NodeAddress, KeyPair], KeyPair], reason: str
) -> None:
    contract = secured.contract()
    master = master_of(contract)
    node = next(node for node in contract.nodes if node.name != master)
    at = next(node.endpoint for node in contract.nodes if node.name == master)
    with (
        showing(secured, node, wrong(node, authority(secured))),
        closing(open_as(contract, "monitor", at, 2.0)) as link,
    ):
        assert_refused_by_clients(secured, node, reason)
        tries = "MASTER <-> REPLICA sync started"
        started = time.monotonic()
        await_that(lambda: tries in latest_start(secured, node.name), 20, "its attempt to join")
        while time.monotonic() < started + 5:
            assert link.info("replication")["connected_slaves"] == 1
            time.sleep(0.2)


def latest_start(stack: DockerStack, node: str) -> str:
    """A node's log since its last start."""
    return str(stack.container(node).logs().decode(errors="replace").rpartition(": starting as ")[2])


@WRONG
def test_a_sentinel_with_a_wrong_certificate_cannot_join(
    secured: DockerStack, wrong: Callable[[NodeAddress, KeyPair], KeyPair], reason: str
) -> None:
    contract = secured.contract()
    node = nodes(secured)[-1]

    def taken_in() -> list[str]:
        """The other Sentinels that do not call it down, each with its flags; silence for a moment is not a word."""
        views = [view for view in observe(contract).sentinels if view.name != node.name and not view.error]
        assert views, "no other Sentinel answers"
        flags = {view.name: (view.peers or {}).get(node.endpoint) for view in views}
        return [f"{name}: {said}" for name, said in flags.items() if said and "s_down" not in said]

    with showing(secured, node, wrong(node, authority(secured))):
        assert_refused_by_clients(secured, node, reason)
        # One of them may hear of it, or answer, later than another: what counts is what they settle on.
        await_settled(taken_in, 5, 30, "the others' word that it is down")


def test_a_client_refuses_a_node_of_another_name(secured: DockerStack) -> None:
    """Servers look at the authority and the dates only; the name is the client's to check."""
    contract = secured.contract()
    node = next(node for node in contract.nodes if node.name != master_of(contract))
    with showing(secured, node, of_another_name(node, authority(secured))):
        assert_refused_by_clients(secured, node, "IP address mismatch")
