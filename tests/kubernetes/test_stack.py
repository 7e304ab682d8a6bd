"""The Kubernetes target with the real engine, provider, kubelets and policies: `make up`, and what follows it."""

from __future__ import annotations

import base64
import json
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from client.connect import connect
from client.links import open_as
from infra.contract import Endpoint
from tests.deployment import await_that
from tests.engine.stack import await_converged, findings_of, master_of
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]


def epoch(stack: KubernetesStack) -> int:
    contract = stack.contract()
    with closing(open_as(contract, "operator", contract.sentinels[0], 2.0)) as link:
        state = link.execute_command("SENTINEL", "MASTER", contract.master_name)  # type: ignore[no-untyped-call]
    fields = dict(zip(state[::2], state[1::2], strict=True)) if isinstance(state, list) else state
    return int(fields["config-epoch"])


def test_every_node_has_a_host_of_its_own_and_they_agree(stack: KubernetesStack) -> None:
    contract = stack.contract()
    assert findings_of(contract) == ()
    for kind in ("data", "sentinel"):
        assert len({stack.node_of(f"{kind}-{index}") for index in range(3)}) == 3
    with closing(open_as(contract, "operator", Endpoint(contract.host, contract.port), 2.0)) as link:
        assert link.execute_command("ROLE")[0] in ("master", b"master")  # type: ignore[no-untyped-call]


def test_nothing_that_a_node_reads_has_a_name(stack: KubernetesStack) -> None:
    texts = json.dumps([item.get("data") for item in stack.get("configmaps")["items"]])
    secrets = [item for item in stack.get("secrets")["items"] if item["metadata"]["name"].startswith("sentinel-secret")]
    texts += "".join(base64.b64decode(value).decode() for item in secrets for value in item["data"].values())
    assert f".{stack.namespace}.svc" not in texts


def test_a_second_up_does_nothing_after_a_failover_too(stack: KubernetesStack) -> None:
    before = stack.uids()
    stack.make("failover")
    stack.up_unchanged()
    stack.make("pulumi", "ARGS=refresh --preview-only --expect-no-changes --non-interactive")
    assert stack.uids() == before


@pytest.mark.nightly
def test_a_setting_is_rolled_out_without_losing_a_write(stack: KubernetesStack) -> None:
    await_converged(stack.contract())
    before, restarts = epoch(stack), stack.restarts_by_uid()
    stack.set(maxmemory="80mb")
    _, report = stack.up_under_load()
    print(f"failovers: {epoch(stack) - before}")
    assert report.lost == ()
    assert findings_of(stack.contract()) == ()
    assert all(count == restarts.get(uid, 0) for uid, count in stack.restarts_by_uid().items())


def test_an_image_is_rolled_out_without_losing_a_write(stack: KubernetesStack, cluster_images: dict[str, str]) -> None:
    stack.set(image=cluster_images["next"])
    _, report = stack.up_under_load()
    assert report.lost == ()
    for index in range(3):
        assert stack.get("pod", f"data-{index}")["spec"]["containers"][0]["image"] == cluster_images["next"]
    assert findings_of(stack.contract()) == ()


def test_all_six_pods_deleted_at_once_give_the_same_data_and_one_master(stack: KubernetesStack) -> None:
    contract = stack.contract()
    names = [node.name for node in contract.nodes] + [f"sentinel-{index}" for index in range(len(contract.sentinels))]
    await_that(lambda: connect(contract).set("survives", "1"), 30, "a write")
    started, before = time.monotonic(), stack.uids()
    stack.kubectl("delete", "pod", *names, "--grace-period=0", "--force", "--wait=false")
    await_that(lambda: _are_new(stack, names, before), 60, "six new pods")
    await_that(lambda: _serves(stack, "1"), 120, "the data")
    print(f"all six deleted: served again after {time.monotonic() - started:.1f} s")
    await_converged(contract)


def _are_new(stack: KubernetesStack, names: list[str], before: dict[str, str]) -> bool:
    now = stack.uids()
    return all(name in now and now[name] != before[name] for name in names)


def _serves(stack: KubernetesStack, value: str) -> bool:
    with suppress(redis.RedisError, OSError):
        return bool(connect(stack.contract()).get("survives") in (value, value.encode()))
    return False


def test_a_master_that_loses_its_volume_never_serves_empty(stack: KubernetesStack) -> None:
    contract = stack.contract()
    master = master_of(contract)
    await_that(lambda: connect(contract).set("precious", "1"), 30, "a write")
    stack.kubectl("delete", "pvc", f"data-{master}", "--wait=false")
    stack.kubectl("delete", "pod", master, "--grace-period=0", "--force")
    # Its server lives on for a moment after the pod's name has gone.
    await_that(lambda: master_of(contract) != master, 60, "another master")
    await_that(lambda: connect(contract).get("precious") in ("1", b"1"), 60, "the data")
    await_converged(contract)
    assert master_of(contract) != master
    # It touches no server here, so nothing in it waits for a Sentinel that has lost sight of the others for a moment.
    stack.make("up")
    await_converged(contract)
    assert connect(contract).get("precious") in ("1", b"1")


def test_passwords_are_in_no_spec_map_event_log_or_plain_state(stack: KubernetesStack) -> None:
    contract = stack.contract()
    markers = [contract.password.get_secret_value(), *(each.get_secret_value() for each in contract.users.values())]
    seen = "".join(
        json.dumps(stack.get(kind))
        for kind in ("pods", "statefulsets", "deployments", "configmaps", "events", "services")
    )
    seen += "".join(stack.kubectl("logs", pod, "--all-containers") for pod in stack.uids())
    seen += "".join(path.read_text(errors="replace") for path in (stack.home / "backend").rglob("*") if path.is_file())
    for marker in markers:
        assert marker not in seen
        assert base64.b64encode(marker.encode()).decode() not in seen


def test_another_stacks_namespace_is_refused(stack: KubernetesStack, tmp_path: Path) -> None:
    """The two would take over each other's objects."""
    before = stack.uids()
    other = KubernetesStack(tmp_path, **stack.images, namespace=stack.namespace)
    other.make("secrets")
    for command in ("preview", "up"):
        output = other.make(command, fails=True)
        assert f"{stack.namespace}, the namespace of stack {stack.name}" in output
        assert "Traceback" not in output
    assert stack.uids() == before
    assert findings_of(stack.contract()) == ()


def test_another_cluster_is_refused(stack: KubernetesStack) -> None:
    before = stack.uids()
    stack.set(cluster="00000000-0000-0000-0000-000000000000")
    try:
        output = stack.make("up", fails=True)
    finally:
        stack.configure({key: value for key, value in stack.settings.items() if key != "cluster"})
    assert "the stack's own" in output
    assert "Traceback" not in output
    assert stack.uids() == before
