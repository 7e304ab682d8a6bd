"""Faults of containers and networks: figures are printed, promises are asserted."""

from __future__ import annotations

import subprocess

import pytest
from redis.exceptions import RedisError

from client.ledger import Ledger
from client.links import open_as
from tests.deployment import await_that
from tests.docker.stack import DockerStack
from tests.engine.stack import await_converged, findings_of, master_of

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.mark.parametrize("fence", ["1", pytest.param("0", marks=pytest.mark.nightly)])
def test_a_master_cut_off_from_its_network_is_replaced(stack: DockerStack, fence: str) -> None:
    """Its clients are cut off with it, as the ledger's are here: what they got acknowledged is still there."""
    stack.set(minReplicasToWrite=fence)
    stack.make("up")
    contract = stack.contract()
    master = master_of(contract)
    network = stack.client.networks.get(f"redis-{stack.name}")
    address = next(node.endpoint.host for node in contract.nodes if node.name == master)
    with Ledger(contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        network.disconnect(stack.container(master), force=True)
        try:
            ledger.wait_for_acks(200)
        finally:
            network.connect(stack.container(master), ipv4_address=address)
    report = ledger.verify()
    print(f"network of the master cut, minReplicasToWrite {fence}: {report}; plain acks lost {len(report.lost)}")
    assert report.lost_confirmed == ()
    await_converged(contract)
    assert master_of(contract) != master


def test_two_stacks_on_one_network_cannot_merge(stack: DockerStack) -> None:
    """A Sentinel of another stack, told to watch a node of this one, gets no further than its password."""
    contract = stack.contract()
    target = next(node.endpoint for node in contract.nodes if node.name == master_of(contract))
    stranger = f"redis-{stack.name}-stranger"
    # From the clients' half of the network, so that the firewall lets it try.
    command = (
        f"printf 'port 26379\\nsentinel monitor other {target.host} {target.port} 1\\n"
        "sentinel auth-user other sentinel\\nsentinel auth-pass other not-ours\\n' > /tmp/s.conf;"
        " exec redis-server /tmp/s.conf --sentinel"
    )
    network = f"redis-{stack.name}"
    container = stack.client.containers.run(
        stack.settings["image"], entrypoint=["sh", "-c", command], name=stranger, network=network, detach=True
    )
    try:
        await_that(
            lambda: "+sdown master other" in container.logs().decode(), 60, "the stranger's Sentinel sees nothing"
        )
        assert "+slave" not in container.logs().decode()
        assert "+sentinel" not in container.logs().decode()
        assert findings_of(contract) == ()
    finally:
        container.remove(force=True)


def test_rules_stay_when_their_guard_is_killed_and_it_comes_back(stack: DockerStack) -> None:
    def tables() -> str:
        return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout

    table = f"redis_sentinel_{stack.name}"
    assert table in tables()
    stack.container("firewall").kill()
    assert table in tables()
    stack.make("up")
    assert stack.container("firewall").status == "running"
    contract = stack.contract()
    with pytest.raises((RedisError, AssertionError)):
        # The host is a client, and no client reaches a port that nothing declares.
        undeclared = type(contract.sentinels[0])(contract.nodes[0].endpoint.host, 6399)
        open_as(contract, "monitor", undeclared, 1.0).ping()
