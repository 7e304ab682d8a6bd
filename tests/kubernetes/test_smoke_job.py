"""`make smoke` on Kubernetes: the suite as a Job, a denied client beside it, the evidence back here, nothing left.

The whole suite: tests/conformance/test_smoke.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.links import open_as
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict
from tests.kubernetes.lab import lab
from tests.kubernetes.stack import KubernetesStack
from tools.images import build

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ready(stack: KubernetesStack, engine: Any) -> Iterator[KubernetesStack]:
    """The stack with the suite's image on every node. A run leaves no Job and no pod, whatever came of it."""
    image = build("smoke")
    lab("image-load", str(engine.images.get(image).tags[0]), timeout_s=300)
    stack.set(smokeImage=image)
    yield stack
    assert stack.get("jobs")["items"] == []
    assert [name for name in stack.uids() if name.startswith("smoke")] == []


def evidence_in(folder: Path) -> Evidence:
    (file,) = folder.glob("*/*.json")
    assert file.with_suffix(".xml").is_file()
    return Evidence.model_validate_json(file.read_text())


def network_in(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*/*/network.json")
    return dict(json.loads(file.read_text()))


def test_without_an_image_the_error_names_the_remedy(stack: KubernetesStack) -> None:
    stack.set(smokeImage="")
    output = stack.make("smoke", fails=True)
    assert f"stack '{stack.name}' lacks smokeImage" in output
    assert "make images" in output


def test_a_stranger_gets_no_answer_where_a_client_does(ready: KubernetesStack, tmp_path: Path) -> None:
    ready.make("smoke", f"ARGS=--evidence {tmp_path} --only contract.round-trip")
    network, contract = network_in(tmp_path), ready.contract()
    declared = {str(node.endpoint) for node in contract.nodes} | {str(each) for each in contract.sentinels}
    declared |= {f"{contract.host}:{port}" for port in (6379, 6380)}
    assert network["allowed"] == dict.fromkeys(declared, True)
    assert network["denied"] == dict.fromkeys(declared | {f"{contract.host}:8404"}, False)


def test_a_policy_that_lets_everybody_in_fails_the_run(ready: KubernetesStack, tmp_path: Path) -> None:
    everybody = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "too-much"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
    }
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(everybody))
    ready.kubectl("apply", "-f", str(file))
    try:
        ready.make("smoke", f"ARGS=--evidence {tmp_path} --only contract.round-trip", fails=True)
    finally:
        ready.kubectl("delete", "networkpolicy", "too-much")
    assert evidence_in(tmp_path).verdict is Verdict.PASS
    network = network_in(tmp_path)
    assert network["verdict"] == "fail"
    assert any(network["denied"].values())


def test_a_sentinel_with_another_quorum_fails_the_run(ready: KubernetesStack, tmp_path: Path) -> None:
    contract = ready.contract()

    def set_quorum(value: int) -> None:
        with open_as(contract, "operator", contract.sentinels[0], 5.0) as link:
            link.execute_command("SENTINEL", "SET", contract.master_name, "quorum", value)

    set_quorum(contract.quorum + 1)
    try:
        ready.make("smoke", f"ARGS=--evidence {tmp_path} --only quorum.value", fails=True)
    finally:
        set_quorum(contract.quorum)
    assert evidence_in(tmp_path).verdict is Verdict.FAIL
