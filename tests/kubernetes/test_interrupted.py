"""Law 4 on the cluster: an `up` that was killed is finished by the next one, and two at once are not possible.

In a namespace that was there before, with somebody's policy that denies everything: allowed paths answer all the same.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from client.connect import connect
from infra.contract import Contract
from tests.engine.stack import findings_of
from tests.engine.test_interrupted import pulumi_pid
from tests.kubernetes.lab import kubectl
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(600)]

DENY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "somebodys"}}
DENY |= {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}


@pytest.fixture
def denied(
    tmp_path_factory: pytest.TempPathFactory, cluster_images: dict[str, str], binaries: None
) -> Iterator[KubernetesStack]:
    """A stack that is not up, whose namespace is there and denies everything."""
    images = {key: value for key, value in cluster_images.items() if key.endswith("mage")}
    made = KubernetesStack(tmp_path_factory.mktemp("interrupted"), **images)
    try:
        kubectl("create", "namespace", made.namespace)
        kubectl("--namespace", made.namespace, "apply", "-f", "-", stdin=json.dumps(DENY))
        made.make("secrets")
        yield made
    finally:
        made.remove_everything()


def test_killed_ups_are_finished_by_the_next_one_and_two_at_once_are_refused(denied: KubernetesStack) -> None:
    for seconds in (2.5, 8.0, 15.0):
        first = denied.start("up")
        pid = await_that(lambda: pulumi_pid(denied), 60, "pulumi up")
        time.sleep(seconds)  # the point of the interruption, not a wait for anything
        os.kill(pid, signal.SIGKILL)
        output, _ = first.communicate(timeout=60)
        assert first.returncode != 0, output
    last = denied.start("up")
    await_that(lambda: pulumi_pid(denied), 60, "pulumi up")
    second = denied.start("up")
    refused, _ = second.communicate(timeout=60)
    assert "pid" in refused
    assert "Traceback" not in refused
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    contract = denied.contract()
    assert findings_of(contract) == ()
    # The machine is a declared client: by the Sentinels, and by the gateway.
    assert connect(contract).set("allowed", "1")
    gateway = contract.model_copy(update={"sentinel_enabled": False, "sentinels": ()})
    await_that(lambda: reads(gateway) in ("1", b"1"), 30, "the gateway's answer")
    assert len(denied.uids()) == 3 + 3 + 2
    assert denied.get("networkpolicy", "somebodys")["spec"]["podSelector"] == {}
    denied.up_unchanged()


def reads(contract: Contract) -> object:
    return connect(contract).get("allowed")
