"""The docker target with the real engine, provider and servers: `make up` and everything that is done to it after."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import redis

from client.connect import connect
from client.ledger import Ledger
from infra.contract import OperatorContract
from rollout import standalone
from smoke_tests.verdict import Verdict
from tests.deployment import await_that
from tests.docker import images
from tests.docker.stack import DockerStack
from tests.engine.stack import await_converged, findings_of, master_of
from tests.nodes import LOST_ELECTION_MS
from tests.waiting import SLACK

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def data_nodes(contract: OperatorContract) -> list[str]:
    return [node.name for node in contract.nodes]


def test_the_deployment_passes_the_smoke_suite(stack: DockerStack) -> None:
    assert findings_of(stack.contract()) == ()
    stack.smoke()


@pytest.mark.nightly
def test_a_second_up_does_nothing_after_a_failover_too(stack: DockerStack) -> None:
    stack.assert_unchanged()
    master = master_of(stack.contract())
    stack.make("failover")
    assert master_of(stack.contract()) != master
    stack.assert_unchanged()
    stack.make("pulumi", "ARGS=refresh --preview-only --expect-no-changes --non-interactive")


def test_the_gateway_follows_the_master_and_leads_readers_to_replicas(stack: DockerStack) -> None:
    contract = stack.contract()
    assert contract.host.endswith(".5")
    output, report = stack.up_under_load("failover", through_gateway=True)
    assert "new master" in output
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * contract.down_after_ms
    password = contract.password.get_secret_value()
    with redis.Redis(host=contract.host, port=6380, username="app", password=password, protocol=2) as reader:
        assert reader.execute_command("ROLE")[0] == b"slave"


@pytest.mark.parametrize("trouble", [pytest.param("it is gone", marks=pytest.mark.nightly), "it hangs"])
def test_a_rollback_to_a_gateway_that_does_not_serve_is_refused_and_the_cluster_serves_on(
    stack: DockerStack, trouble: str
) -> None:
    contract = stack.contract().application()
    gateway = stack.container("gateway")
    break_it, mend_it = (gateway.kill, gateway.start) if trouble == "it is gone" else (gateway.pause, gateway.unpause)
    declared: list[str] = []
    break_it()
    try:
        with Ledger(contract) as ledger:
            ledger.wait_for_acks(200)
            asked = time.monotonic()
            outcome = standalone.go(contract, lambda: declared.append("standalone"), (), 0.0)
            seconds = time.monotonic() - asked
            ledger.wait_for_acks(200)
    finally:
        mend_it()
    report = ledger.verify()
    ledger.cleanup()
    print(f"{trouble}: after {seconds:.1f} s: {outcome.reason}; {report}")
    assert outcome.verdict is Verdict.FAIL
    assert seconds < SLACK * 20
    assert outcome.reason.startswith(f"refused: {contract.host}:{contract.port} does not serve")
    assert declared == []
    assert report.lost == ()
    await_that(lambda: not standalone.refusal(contract), 30, "a gateway that serves")


def test_who_is_no_client_gets_no_answer(stack: DockerStack) -> None:
    contract = stack.contract()
    targets = [node.endpoint for node in contract.nodes] + list(contract.sentinels)
    script = "; ".join(f"timeout 2 redis-cli -h {at.host} -p {at.port} PING; echo" for at in targets)

    def answers(**address: str) -> int:
        network = f"redis-{stack.name}"
        container = stack.client.containers.create(images.REDIS, entrypoint=["sh", "-c", script])
        try:
            stack.client.networks.get("bridge").disconnect(container)
            stack.client.networks.get(network).connect(container, **address)
            container.start()
            container.wait(timeout=60)
            return int(container.logs().decode().count("NOAUTH"))
        finally:
            container.remove(force=True)

    assert answers() == len(targets)  # an address of the upper half, which the stack declares as clients
    assert answers(ipv4_address=stack.stranger) == 0


def test_a_setting_is_applied_live(stack: DockerStack) -> None:
    before = stack.ids()
    stack.set(maxmemory="80mb")
    _, report = stack.up_under_load()
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * stack.contract().down_after_ms
    assert stack.ids() == before
    for node in data_nodes(stack.contract()):
        assert stack.container(node).attrs["HostConfig"]["Memory"] == (2 * 80 + 64) * 1024 * 1024


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # four times `up`
def test_an_image_is_changed_without_a_sentinel_having_to_notice(stack: DockerStack, engine: Any) -> None:
    # So long that a handover and a crash are told apart, however busy the machine is. Applied live.
    stack.set(downAfterMs="8000", failoverTimeoutMs="16000")
    stack.make("up")
    before = stack.ids()
    stack.set(image=images.next_redis_image(engine))
    preview = stack.previewed(stack.make("preview"))
    output, report = stack.up_under_load()
    done = stack.operations(output)
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * 6000  # no Sentinel had to notice anything: every master handed over first
    assert done["replaced"] == 6
    assert preview == done
    changed = {name for name, new in stack.ids().items() if before[name] != new}
    assert len(changed) == 6
    assert findings_of(stack.contract()) == ()
    stack.assert_unchanged()
    stack.set(downAfterMs="2000", failoverTimeoutMs="10000")
    stack.make("up")


def test_a_failed_update_stops_at_its_first_node_and_the_next_one_goes_on(stack: DockerStack) -> None:
    contract, before, working = stack.contract(), stack.ids(), stack.settings["image"]
    stack.set(image=stack.settings["gatewayImage"])  # which has no server
    try:
        with Ledger(contract) as ledger:
            ledger.wait_for_acks(200)
            output = stack.make("up", fails=True)
            ledger.wait_for_acks(200)
        after = stack.ids()
    finally:  # whatever is found below, the tests that follow get a working stack
        stack.set(image=working)
        _, repaired = stack.up_under_load()
    report = ledger.verify()
    print(f"an image without a server: {report}")
    assert report.lost == ()
    assert "Traceback" not in output
    touched = {name for name, old in before.items() if after.get(name) != old}
    assert len(touched) == 1, touched
    assert repaired.lost == ()
    await_converged(contract)


@pytest.mark.nightly
def test_passwords_are_rotated_without_an_error_and_the_old_ones_end(stack: DockerStack) -> None:
    old = stack.contract()
    _, report = stack.up_under_load("rotate")
    assert report.lost == ()
    # No refusal. ACL LOAD of Redis 7.0 closes every connection, the replicas' too: the fence waits until they are back.
    slow = {"NoReply"} if SLACK > 1 else set()
    assert {kind for kind, _ in report.errors} <= {"ConnectionError", "NOREPLICAS"} | slow
    new = stack.contract()
    assert old.password != new.password
    for contract in (old, new):
        with connect(contract) as client:
            assert client.ping()
    stack.make("rotate-finish")
    with connect(new) as client:
        assert client.ping()
    master = next(node for node in new.nodes if node.name == master_of(new)).endpoint
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(
            host=master.host, port=master.port, username="app", password=old.password.get_secret_value(), protocol=2
        ).ping()
    assert findings_of(new) == ()


def test_a_removed_master_is_replaced_and_comes_back(stack: DockerStack) -> None:
    contract = stack.contract()
    master = master_of(contract)
    since = int(time.time())
    with Ledger(contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        stack.container(master).remove(force=True)
        ledger.wait_for_acks(200)
    report = ledger.verify()
    retries = stack.lost_elections(since)
    print(f"docker rm of the master: {report}; elections without a winner: {retries}")
    assert report.lost_confirmed == ()
    # Sentinels that notice at the same moment may split their votes, and then try again.
    assert report.longest_gap_ms < SLACK * 6000 + retries * LOST_ELECTION_MS
    stack.make("up")
    await_converged(contract)
    assert master_of(contract) != master


@pytest.mark.nightly
def test_all_six_killed_and_started_in_any_order(stack: DockerStack) -> None:
    contract = stack.contract()
    nodes = data_nodes(contract) + [f"sentinel-{i}" for i in range(3)]
    for seed in range(2):
        with connect(contract) as client:
            client.set("last", f"write-{seed}")
        stack.kill_nodes(*nodes)
        random.Random(seed).shuffle(nodes)  # noqa: S311
        stack.start_nodes(nodes)
        await_converged(contract)
        print(f"seed {seed}: started as {nodes}, the master is {master_of(contract)}")
        with connect(contract) as client:
            assert client.get("last") == f"write-{seed}"


@pytest.mark.nightly
def test_to_standalone_and_back_without_losing_a_write(stack: DockerStack) -> None:
    if master_of(stack.contract()) == "data-0":
        stack.make("failover")  # the harder case: the node that stays is not the master
    stack.set(mode="standalone")
    _, report = stack.up_under_load(through_gateway=True)
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * stack.contract().down_after_ms
    assert {name.rpartition(f"{stack.name}-")[2] for name in stack.ids()} == {"data-0", "gateway", "firewall"}
    stack.set(mode="sentinel")
    _, report = stack.up_under_load(through_gateway=True)
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * stack.contract().down_after_ms
    assert findings_of(stack.contract()) == ()


def test_passwords_are_in_no_inspect_log_evidence_or_plain_state(stack: DockerStack) -> None:
    if not (stack.home / "evidence").exists():
        stack.smoke()
    contract = stack.contract()
    passwords = [secret.get_secret_value() for secret in (contract.password, *contract.users.values())]
    texts = []
    for name in stack.ids():
        container = stack.client.containers.get(name)
        texts += [str(container.attrs), container.logs().decode(errors="replace"), str(container.top())]
    for folder in ("backend", "evidence"):
        files = [path for path in (stack.home / folder).rglob("*") if path.is_file()]
        assert files, folder
        texts += [path.read_text(errors="replace") for path in files]
    for password in passwords:
        assert not any(password in text for text in texts)
