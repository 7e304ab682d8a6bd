"""Who may talk to whom, tried: every denied path is attempted for a bounded window and must not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kubernetes.lab import kubectl, nodes
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

WINDOW_S = 3


def pod(name: str, image: str, node: str, labels: dict[str, str]) -> str:
    """A pod that only waits, on a node of its own, as restricted as the namespace wants it."""
    bare = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "c", "image": image, "command": ["sleep", "3600"], "securityContext": bare}
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})


@pytest.fixture(scope="module")
def outside(stack: KubernetesStack) -> Iterator[str]:
    """A namespace of somebody else's."""
    name = f"{stack.namespace}-outside"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def answers(namespace: str, name: str, paths: list[str]) -> set[str]:
    """The paths that answer this pod at all: an error is an answer."""
    # Refused, or closed for want of TLS, is an answer; silence until the window's end is none.
    script = " ".join(
        f"{{ out=$(timeout {WINDOW_S} redis-cli -h {path.rpartition(':')[0]} -p {path.rpartition(':')[2]} PING 2>&1); "
        f'case "$?:$out" in 143:* | 124:* | *"timed out"*) ;; *) echo {path} ;; esac; }} &'
        for path in paths
    )
    return set(kubectl("--namespace", namespace, "exec", name, "--", "sh", "-c", f"{script} wait").split())


@pytest.mark.parametrize("place", [0, 1])
def test_who_is_denied_gets_no_answer_and_who_is_allowed_does(stack: KubernetesStack, outside: str, place: int) -> None:
    contract, node = stack.contract(), nodes()[place]
    paths = [str(each.endpoint) for each in contract.nodes] + [str(each) for each in contract.sentinels]
    paths += [f"{contract.host}:{contract.port}", f"{contract.host}:6380"]
    image = stack.settings["image"]
    who = {
        "stranger": (stack.namespace, {}),
        "friend": (stack.namespace, {"redis-sentinel/client": "true"}),
        "foreigner": (outside, {"redis-sentinel/client": "true"}),
    }
    for name, (namespace, labels) in who.items():
        text = pod(f"{name}-{node}", image, node, labels)
        kubectl("--namespace", namespace, "apply", "-f", "-", stdin=text)
        kubectl("--namespace", namespace, "wait", "pod", f"{name}-{node}", "--for=condition=Ready", "--timeout=60s")
    found = {name: answers(namespace, f"{name}-{node}", paths) for name, (namespace, _) in who.items()}
    for name, (namespace, _) in who.items():
        kubectl("--namespace", namespace, "delete", "pod", f"{name}-{node}")
    assert found == {"stranger": set(), "friend": {*paths}, "foreigner": set()}


def test_a_node_reaches_nothing_beyond_the_topology(stack: KubernetesStack, outside: str) -> None:
    kubectl("--namespace", outside, "apply", "-f", "-", stdin=_listener(stack.settings["image"]))
    kubectl("--namespace", outside, "wait", "pod", "listener", "--for=condition=Ready", "--timeout=60s")
    found = kubectl("--namespace", outside, "get", "pod", "listener", "-o", "jsonpath={.status.podIP}")
    assert answers(stack.namespace, "data-0", [f"{found}:6379"]) == set()


def _listener(image: str) -> str:
    made = json.loads(pod("listener", image, nodes()[0], {}))
    made["spec"]["containers"][0]["command"] = ["redis-server", "--protected-mode", "no", "--dir", "/tmp"]  # noqa: S108
    return json.dumps(made)
