"""TLS end to end, on a server that has it: who is refused, and that failover, handover and renewal work as without."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from client.connect import connect
from client.handover import hand_over
from client.ledger import Ledger
from client.links import open_as
from infra import certificates
from infra.certificates import KeyPair
from infra.contract import Endpoint
from infra.targets import process_control
from infra.targets.servers import NoServerFound, Servers, find_servers
from infra.tls import CERTIFICATE_FILE, KEY_FILE
from infra.topology import Node
from tests.conformance.targets import DOCKER, KUBERNETES
from tests.deployment import Deployment, deployed
from tests.nodes import LOST_ELECTION_MS, Nodes
from tests.smoke.runner import Runner
from tests.waiting import await_that


def tls_server() -> Servers | None:
    """The first server with TLS: the one that everything else uses, else one on PATH."""
    pairs = [(shutil.which(f"{name}-server"), shutil.which(f"{name}-cli")) for name in ("redis", "valkey")]
    for server, cli in [(None, None), *pairs]:
        with pytest.MonkeyPatch.context() as patch:
            if server and cli:
                patch.setenv("REDIS_SERVER_BINARY", server)
                patch.setenv("REDIS_CLI_BINARY", cli)
            try:
                found = find_servers()
            except NoServerFound:
                continue
        if found.tls:
            return found
    return None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found = tls_server()
    if found is None:
        pytest.skip("no server with TLS on this machine: install redis-server 7+ (the Python package's has none)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_SERVER_BINARY", str(found.server))
        patch.setenv("REDIS_CLI_BINARY", str(found.cli))
        yield from deployed(tmp_path_factory.mktemp("tls"), tls="true")


@pytest.fixture
def secured(running: Deployment) -> Deployment:
    """Six nodes with TLS, converged."""
    running.heal()
    return running


@pytest.fixture(
    params=[
        pytest.param("running", id="process", marks=pytest.mark.deployment),
        DOCKER,
        KUBERNETES,
    ]
)
def encrypted(request: pytest.FixtureRequest) -> Nodes:
    """A target's nodes with TLS, converged: for what needs nothing that only a process of this machine gives."""
    nodes: Nodes = request.getfixturevalue(request.param)
    if not nodes.contract.tls:
        pytest.skip("no CLI with TLS on this machine: install redis-server 7+ (the Python package's has none)")
    nodes.heal()
    return nodes


def stranger() -> KeyPair:
    """Another stack's authority, of the same name."""
    return certificates.first_authority("test", None, certificates.utc_now()).signer


def node_of(deployment: Deployment, name: str) -> Node:
    return next(node for node in deployment.topology.nodes if node.name == name)


def answer(nodes: Nodes, name: str, tmp_path: Path, shown: KeyPair | None) -> str:
    """What a node says to PING without a password, over a connection that shows this certificate; or the refusal."""
    context = ssl.create_default_context(cafile=nodes.contract.tls_ca_file)
    if shown:
        (tmp_path / "shown.pem").write_text(shown.certificate + shown.key)
        context.load_cert_chain(tmp_path / "shown.pem")
    endpoint = nodes.endpoint(name)
    try:
        with (
            closing(socket.create_connection((endpoint.host, endpoint.port), 2)) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.host) as link,
        ):
            link.sendall(b"PING\r\n")
            return link.recv(100).decode()
    except OSError as error:
        return f"refused: {error}"


def served(node: Node) -> str:
    """The certificate that a node shows."""
    return ssl.get_server_certificate((node.endpoint.host, node.endpoint.port), timeout=2).strip()


def install(deployment: Deployment, name: str, pair: KeyPair) -> None:
    """Put a certificate where the node looks for it, as a target does."""
    tls = {CERTIFICATE_FILE: pair.certificate, KEY_FILE: pair.key}
    process_control.write_files(deployment.folder(name), tls, {})


def reload(deployment: Deployment, name: str) -> str:
    """Let a running data node read its certificate again; its answer."""
    script = '. "$1/bin/lib.sh"; load_node_env "$1/conf/node.env"; certificate_settings | ask "$ME"'
    command = ["sh", "-euc", script, "sh", str(deployment.folder(name))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()


@pytest.mark.everywhere
def test_no_node_answers_in_the_clear(encrypted: Nodes) -> None:
    for name in encrypted.names:
        endpoint = encrypted.endpoint(name)
        with closing(socket.create_connection((endpoint.host, endpoint.port), 2)) as link:
            link.sendall(b"PING\r\n")
            try:
                reply = link.recv(100)
            except ConnectionError:
                reply = b""
            assert not reply.startswith((b"+", b"-")), (name, reply)


def test_no_node_listens_on_another_port(encrypted: Nodes) -> None:
    for name in encrypted.data:
        assert encrypted.ask(name, "CONFIG", "GET", "port")[1] == "0"
        assert encrypted.ask(name, "CONFIG", "GET", "tls-port")[1] == str(encrypted.endpoint(name).port)


@pytest.mark.everywhere
def test_a_client_refuses_another_authority(encrypted: Nodes, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_text(stranger().certificate)
    other = encrypted.contract.model_copy(update={"tls_ca_file": tmp_path / "other.crt"})
    for name in encrypted.names:
        with (
            closing(open_as(other, "operator", encrypted.endpoint(name), 2.0)) as link,
            pytest.raises(redis.ConnectionError, match="certificate verify failed"),
        ):
            link.execute_command("PING")  # type: ignore[no-untyped-call]


@pytest.mark.everywhere
def test_a_node_takes_clients_without_a_certificate_and_refuses_those_with_another_authoritys(
    encrypted: Nodes, tmp_path: Path
) -> None:
    for name in encrypted.names:
        assert answer(encrypted, name, tmp_path, None).startswith("-NOAUTH"), name
        names = [encrypted.endpoint(name).host, name]
        wrong = certificates.issue(stranger(), names, 90, certificates.utc_now())
        assert answer(encrypted, name, tmp_path, wrong).startswith("refused"), name


def test_an_application_connects_with_nothing_but_the_contract(encrypted: Nodes) -> None:
    with connect(encrypted.contract.application()) as client:
        client.set("tls", "yes")
        assert client.get("tls") == "yes"


@pytest.mark.deployment
def test_a_client_refuses_another_name_and_an_old_certificate(secured: Deployment) -> None:
    for node in secured.topology.nodes:
        with (
            closing(open_as(secured.contract, "operator", Endpoint("localhost", node.endpoint.port), 2.0)) as link,
            pytest.raises(redis.ConnectionError, match="Hostname mismatch"),
        ):
            link.execute_command("PING")  # type: ignore[no-untyped-call]
    name = secured.replicas()[0]
    good = KeyPair(*((secured.folder(name) / "conf" / file).read_text() for file in (CERTIFICATE_FILE, KEY_FILE)))
    install(secured, name, secured.certificate(node_of(secured, name), age_days=91))
    assert reload(secured, name) == "OK"
    with pytest.raises(redis.ConnectionError, match="certificate has expired"):
        secured.ask(name, "PING")
    install(secured, name, good)
    # The CLI would not speak to it either.
    secured.stop_planned(name)
    secured.start(name)
    secured.await_converged()


@pytest.mark.deployment
def test_a_node_takes_clients_with_its_own_authoritys_certificate_while_that_is_valid(
    secured: Deployment, tmp_path: Path
) -> None:
    for node in secured.topology.nodes:
        assert answer(secured, node.name, tmp_path, secured.certificate(node)).startswith("-NOAUTH"), node.name
        old = secured.certificate(node, age_days=91)
        assert answer(secured, node.name, tmp_path, old).startswith("refused"), node.name


@pytest.mark.deployment
@pytest.mark.parametrize("wrong", ["another authority's", "expired", "both"])
def test_a_replica_with_a_wrong_certificate_cannot_join(secured: Deployment, wrong: str) -> None:
    name = secured.replicas()[0]
    node = node_of(secured, name)
    secured.stop_planned(name)
    authority = None if wrong == "expired" else stranger()
    install(secured, name, secured.certificate(node, authority, age_days=0 if wrong == "another authority's" else 91))
    process_control.start(secured.folder(name))
    await_that(
        lambda: "MASTER <-> REPLICA sync started" in secured.log(name).rpartition("Ready to accept")[2], 15, "a try"
    )
    master = secured.master()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert secured.ask(master, "INFO", "replication")["connected_slaves"] == 1
        time.sleep(0.2)
    secured.stop_planned(name)
    secured.start(name)  # with the files that were declared
    secured.await_converged()


@pytest.mark.timed
@pytest.mark.deployment
def test_a_handover_under_tls_loses_nothing(secured: Deployment) -> None:
    with Ledger(secured.contract) as ledger:
        ledger.wait_for_acks(300)
        done = hand_over(secured.contract)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"handover under TLS: fenced {done.fenced_ms} ms; {report}")
    assert report.lost == ()
    assert report.longest_gap_ms < secured.contract.down_after_ms
    secured.await_converged()


@pytest.mark.timed
@pytest.mark.deployment
def test_a_killed_master_is_replaced_under_tls(secured: Deployment) -> None:
    master, lost_elections = secured.master(), secured.hear_lost_elections()
    with Ledger(secured.contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        secured.kill(master)
        ledger.wait_for_acks(200)
    report, lost = ledger.verify(), lost_elections()
    print(f"kill -9 under TLS: {report}; elections without a winner: {lost}")
    assert report.lost_confirmed == ()
    assert report.longest_gap_ms < 6000 + lost * LOST_ELECTION_MS
    secured.start(master)
    secured.await_converged()
    assert secured.master() != master


@pytest.mark.timed
@pytest.mark.deployment
def test_renewed_certificates_are_taken_over_without_losing_a_write(secured: Deployment) -> None:
    """Data nodes read them again; a Sentinel has to be restarted, which no client of a data node notices."""
    pids = {name: secured.pid(name) for name in secured.data}
    master = secured.master()
    with Ledger(secured.contract) as ledger:
        ledger.wait_for_acks(200)
        for node in secured.topology.nodes:
            new = secured.certificate(node)
            install(secured, node.name, new)
            if node.name in secured.data:
                assert reload(secured, node.name) == "OK"
            else:
                secured.stop_planned(node.name)
                process_control.start(secured.folder(node.name))
                secured.await_converged()
            await_that(lambda node=node, new=new: served(node) == new.certificate.strip(), 5, f"{node.name}'s new one")  # type: ignore[misc]
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(f"six certificates renewed: {report}")
    assert report.lost == ()
    assert report.longest_gap_ms < secured.contract.down_after_ms
    assert {name: secured.pid(name) for name in secured.data} == pids
    assert secured.master() == master
    secured.await_converged()


@pytest.mark.timed
@pytest.mark.deployment
def test_the_smoke_suite_is_green_under_tls(secured: Deployment, tmp_path: Path) -> None:
    outcome = Runner(tmp_path).smoke(secured.contract)
    assert outcome.code == 0, outcome.output
    assert len(outcome.verdicts()) > 20
