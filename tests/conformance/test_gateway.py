"""One address that follows the master: a real HAProxy in front of real nodes, on every target."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from client.connect import connect
from client.errors import RedisUnavailable
from client.handover import hand_over
from client.ledger import Ledger
from infra import certificates
from tests.conformance.test_tls import tls_server
from tests.deployment import Deployment, deployed
from tests.gateway import LOOPBACK, Gateway, GatewayAddress
from tests.nodes import LOST_ELECTION_MS, Nodes
from tests.waiting import SLACK, await_that

needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH (apt-get install haproxy)")


@pytest.fixture
def gateway(deployment: Nodes, tmp_path: Path) -> Iterator[GatewayAddress]:
    """In front of `deployment`, leading to its master: the target's own, else one for the test.

    A Sentinel that has not seen an orphan (or a stale master) turn into a replica yet, takes its next promotion for the
    same orphan and undoes it: those that a test before this one made have to be forgotten first.
    """
    await_that(lambda: reported_roles(deployment) == {"slave"}, 15, "every Sentinel seeing the replicas as replicas")
    if deployment.gateway:
        deployment.gateway.await_serving(deployment.master())
        yield deployment.gateway
        return
    assert isinstance(deployment, Deployment)
    if not shutil.which("haproxy"):
        pytest.skip("no haproxy on PATH (apt-get install haproxy)")
    with Gateway(deployment, tmp_path).running() as running:
        running.await_serving(deployment.master())
        yield running


def reported_roles(deployment: Nodes) -> set[str]:
    """What replicas said of themselves when each Sentinel last asked."""
    name = deployment.contract.master_name
    lists = [deployment.ask(sentinel, "SENTINEL", "REPLICAS", name) for sentinel in deployment.sentinels]
    return {replica[replica.index("role-reported") + 1] for replicas in lists for replica in replicas}


def server_of(connection: redis.Redis) -> str:
    """The id of the server's life that a connection leads to."""
    return str(connection.info("server")["run_id"])


def assert_cut(connection: redis.Redis, server: str, seconds: float) -> None:
    """A connection to this server is closed by the gateway.

    An end that comes between two commands is no error to redis-py: it connects again, and is led to another server.
    """

    def is_cut() -> bool:
        try:
            return server_of(connection) != server
        except redis.ConnectionError:
            return True

    await_that(is_cut, seconds, "the end of an established connection")


def restart(deployment: Nodes, *names: str) -> None:
    """Start killed nodes. More than once: one whose supervisor is about to end still counts as running."""
    for name in names:
        await_that(lambda name=name: deployment.start(name) or deployment.ask(name, "PING"), 30, name)  # type: ignore[misc]


def plain_failover(deployment: Nodes) -> None:
    """SENTINEL FAILOVER alone, which leaves the old master a master for seconds."""
    deployment.ask("sentinel-0", "SENTINEL", "FAILOVER", deployment.contract.master_name)


@pytest.mark.everywhere
@pytest.mark.timed
def test_it_follows_a_fenced_handover_without_losing_a_write(deployment: Nodes, gateway: GatewayAddress) -> None:
    with Ledger(gateway.contract) as ledger:
        ledger.wait_for_acks(300)
        hand_over(deployment.contract)
        ledger.wait_for_acks(300)
    report = ledger.verify()
    print(f"handover through the gateway: {report}")
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * deployment.contract.down_after_ms
    assert gateway.serves() == deployment.master()


@pytest.mark.timed
def test_it_follows_a_crash(deployment: Nodes, gateway: GatewayAddress) -> None:
    lost_elections = deployment.hear_lost_elections()
    with Ledger(gateway.contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(300)
        deployment.kill(deployment.master())
        ledger.wait_for_acks(300)
    report, lost = ledger.verify(), lost_elections()
    print(f"kill of the master through the gateway: {report}; elections without a winner: {lost}")
    assert report.lost_confirmed == ()
    assert report.longest_gap_ms < 6000 + lost * LOST_ELECTION_MS


@pytest.mark.everywhere
def test_an_orphan_master_is_never_served(deployment: Nodes, gateway: GatewayAddress) -> None:
    master, orphan = deployment.master(), deployment.replicas()[0]
    with gateway.open() as connection:
        connection.ping()
        deployment.ask(orphan, "REPLICAOF", "NO", "ONE")
        other = set(deployment.data) - {master, orphan}
        await_that(lambda: gateway.serves_readers() == other, 4, "readers without the orphan")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert gateway.serves() == master
            assert gateway.serves_readers() == other
            assert deployment.ask(orphan, "ROLE")[0] == "master", "too late to see that an orphan is not served"
        connection.ping()
    deployment.await_converged()


def test_a_master_that_the_majority_no_longer_names_loses_its_connections(
    deployment: Nodes, gateway: GatewayAddress
) -> None:
    old = deployment.master()
    with gateway.open() as connection:
        server = server_of(connection)
        plain_failover(deployment)
        assert_cut(connection, server, 5)
        gateway.await_another_than(old)
    deployment.await_converged()


def test_a_plain_failover_loses_no_acknowledged_write_but_those_under_way(
    deployment: Nodes, gateway: GatewayAddress
) -> None:
    with Ledger(gateway.contract) as ledger:
        ledger.wait_for_acks(300)
        plain_failover(deployment)
        ledger.wait_for_acks(600)
    report = ledger.verify()
    print(f"SENTINEL FAILOVER through the gateway: {report}")
    # Through a connection to the old master it is 11 s of writes; the gateway leaves it within a quarter of one.
    assert len(report.lost) < 0.25 * SLACK * report.acknowledged / (report.duration_s - report.longest_gap_ms / 1000)
    deployment.await_converged()


def test_without_a_majority_of_sentinels_nobody_is_served(deployment: Nodes, gateway: GatewayAddress) -> None:
    master = deployment.master()
    with gateway.open() as connection:
        server = server_of(connection)
        deployment.kill("sentinel-0")
        end = time.monotonic() + 3  # longer than its last answer counts
        while time.monotonic() < end:
            connection.ping()
            assert gateway.serves() == master
        deployment.kill("sentinel-1")
        assert_cut(connection, server, 5)
    assert gateway.serves() is None
    assert deployment.ask(master, "ROLE")[0] == "master"
    restart(deployment, "sentinel-0", "sentinel-1")
    gateway.await_serving(master)


def test_reads_are_balanced_over_in_sync_replicas(deployment: Nodes, gateway: GatewayAddress) -> None:
    first, second = deployment.replicas()
    await_that(lambda: gateway.serves_readers() == {first, second}, 5, "both replicas as readers")
    reader = connect(gateway.readers)
    with reader, pytest.raises(RedisUnavailable, match="ReadOnlyError"):
        reader.call(lambda node: node.set("k", "v"), deadline_s=0.3)
    deployment.stop(first)
    await_that(lambda: gateway.serves_readers() == {second}, 10, "the hanging replica without readers")
    deployment.kill(second)
    deployment.kill(first)
    master = deployment.master()
    await_that(lambda: gateway.serves_readers() == {master}, 10, "the master as the last reader")


@pytest.mark.deployment
@needs_haproxy
def test_statistics_are_readable(process_nodes: Deployment, tmp_path: Path) -> None:
    """By a process of this machine: a stack's own gateway shows them to the declared monitoring alone."""
    process_nodes.heal()
    with Gateway(process_nodes, tmp_path).running() as gateway:
        gateway.await_serving(process_nodes.master())
        base = f"http://{LOOPBACK}:{gateway.ports['gatewayStatsPort']}"
        with urllib.request.urlopen(f"{base}/metrics", timeout=5) as reply:  # noqa: S310  # our own http address
            text = reply.read().decode()
        up = [
            line for line in text.splitlines() if line.startswith("haproxy_backend_active_servers") and "master" in line
        ]
        assert up == ['haproxy_backend_active_servers{proxy="master"} 1']
        with urllib.request.urlopen(f"{base}/health", timeout=5) as reply:  # noqa: S310
            assert reply.status == 200


@pytest.mark.deployment
@needs_haproxy
@pytest.mark.usefixtures("binaries")
def test_a_standalone_node_is_followed_without_sentinels(tmp_path: Path) -> None:
    (tmp_path / "gw").mkdir()
    for alone in deployed(tmp_path / "nodes", mode="standalone"):
        with Gateway(alone, tmp_path / "gw").running() as gateway:
            gateway.await_serving("data-0")
            assert gateway.serves_readers() == {"data-0"}
            alone.kill("data-0")
            gateway.await_serving(None)
            restart(alone, "data-0")
            gateway.await_serving("data-0")


@pytest.mark.deployment
@needs_haproxy
def test_under_tls_clients_and_the_gateway_verify_the_node_itself(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tls_server()
    if found is None:
        pytest.skip("no server with TLS on this machine")
    monkeypatch.setenv("REDIS_SERVER_BINARY", str(found.server))
    monkeypatch.setenv("REDIS_CLI_BINARY", str(found.cli))
    folder = tmp_path_factory.mktemp("gw")  # short: a socket's path has at most 97 characters
    for secure in deployed(tmp_path_factory.mktemp("nodes"), tls="true"):
        stranger = secure.home / "stranger.crt"
        stranger.write_text(certificates.first_authority("other", None, certificates.utc_now()).trust)
        with Gateway(secure, folder).running() as gateway:
            gateway.await_serving(secure.master())
            with Ledger(gateway.contract) as ledger:
                ledger.wait_for_acks(100)
                hand_over(secure.contract)
                ledger.wait_for_acks(100)
            report = ledger.verify()
            print(f"handover through the gateway under TLS: {report}")
            assert report.lost == ()
            with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                gateway.open(ca_file=stranger).ping()
        with Gateway(secure, folder, ca_file=stranger).running() as gateway:
            await_that(lambda: "no answer from data-0" in gateway.log(), 5, "a word about the refused node")
            assert gateway.serves() is None
