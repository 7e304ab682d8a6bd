"""The cluster's nodes under a stack's pods: which one runs what, lost and back, cut off and healed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kubernetes.lab import get, kubectl, lab, let_answers_pass
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that

SERVICES = "10.79.0.0/16"
READY_S = 120


def address(node: str) -> str:
    """The node's address, by which the machine reaches pods and Services through it."""
    addresses = get("node", node)["status"]["addresses"]
    return str(next(each["address"] for each in addresses if each["type"] == "InternalIP"))


def others(node: str) -> list[str]:
    return [each["metadata"]["name"] for each in get("nodes")["items"] if each["metadata"]["name"] != node]


def dns_nodes() -> set[str]:
    """Where the cluster's DNS runs."""
    found = get("pods", "--namespace", "kube-system", "--selector", "k8s-app=kube-dns")["items"]
    return {str(pod["spec"]["nodeName"]) for pod in found}


def make_master(stack: KubernetesStack, pod: str) -> None:
    """Hand the master's role to this pod."""
    stack.kubectl("exec", pod, "-c", "server", "--", "/node/bin/handover.sh", "/node/conf/node.env", "to-this-node")


@contextmanager
def services_by_way_of(node: str) -> Iterator[None]:
    """The machine's own connections to Services go through this node alone.

    The lab spreads them over its nodes by address, a dead one included; a client in the cluster has a kube-proxy beside
    it, and no such detour.
    """
    before = subprocess.run(["ip", "route", "show", SERVICES], capture_output=True, text=True, check=True).stdout
    hops = [word for line in before.splitlines() if "nexthop" in line for word in line.split()[:5]]
    subprocess.run(["ip", "route", "replace", SERVICES, "via", address(node)], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "replace", SERVICES, *hops], check=True)


@contextmanager
def lost(node: str) -> Iterator[None]:
    """The node without power, until the block ends; then it is back, and Ready."""
    lab("node-stop", node)
    try:
        yield
    finally:
        back(node)


def back(node: str) -> None:
    """Start the node; nothing when it runs."""
    lab("node-start", node)
    await_that(lambda: _is_ready(node), READY_S, f"{node} ready")
    let_answers_pass()


@contextmanager
def cut_off(node: str) -> Iterator[None]:
    """The node reaches no other node, until the block ends; the machine still reaches it."""
    apart = others(node)
    lab("partition", node, *apart)
    try:
        yield
    finally:
        lab("heal")


@contextmanager
def drained(node: str, stack: KubernetesStack) -> Iterator[None]:
    """`kubectl drain`, of the stack's pods only; uncordoned when the block ends."""
    ours = f"--pod-selector=app.kubernetes.io/instance={stack.name}"
    try:
        kubectl("drain", node, ours, "--delete-emptydir-data", "--timeout=180s", timeout_s=200)
        yield
    finally:
        kubectl("uncordon", node)


def _is_ready(node: str) -> bool:
    conditions = get("node", node)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
