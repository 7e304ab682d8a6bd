"""`make up` on Kubernetes, from nothing to a quorum, against `kubectl apply` of the very objects that it had made."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.engine import Unavailable, engine
from tests.engine.stack import findings_of
from tests.kubernetes.lab import get, kubectl, let_answers_pass, load_images
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that

KINDS = "serviceaccounts,configmaps,secrets,services,networkpolicies,poddisruptionbudgets,pvc,statefulsets,deployments"
AGREED_S = 300
# What the cluster itself notes down; the rest is as it was declared. A Service keeps its address: nodes announce it.
NOTED = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "ownerReferences", "finalizers")


def compare(image: str, runs: int) -> None:
    """Prints both times of each run, the ratio of the medians, and the memory of a pod. Raises Unavailable."""
    with engine(image) as (client, settings):
        try:
            get("nodes")
        except (AssertionError, OSError) as error:
            raise Unavailable(f"no Kubernetes cluster answers: {error}") from None
        let_answers_pass()
        named = {key: settings[key] for key in ("image", "gatewayImage")}
        load_images([str(client.images.get(each).tags[0]) for each in named.values()])
        ups, applies = [], []
        for run in range(runs):
            up, applied, memory = _both(named)
            ups.append(up)
            applies.append(applied)
            print(f"  {run + 1}/{runs}: make up {up:.1f} s; kubectl apply {applied:.1f} s; memory {memory}", flush=True)
    up, applied = statistics.median(ups), statistics.median(applies)
    print(f"make up on Kubernetes, from nothing: median {up:.1f} s, kubectl apply {applied:.1f} s: {up / applied:.1f}x")


def _both(images: dict[str, str]) -> tuple[float, float, str]:
    """Seconds of `make up`, seconds of `kubectl apply` until all agree, and what the pods use when they do."""
    with tempfile.TemporaryDirectory() as home:
        stack = KubernetesStack(Path(home), tls="false", **images)
        try:
            stack.make("secrets")
            begun = time.monotonic()
            stack.make("up")
            up = time.monotonic() - begun
            contract, objects, memory = stack.contract(), _objects(stack), _memory(stack)
            stack.make("down", f"CONFIRM={stack.name}")
            begun = time.monotonic()
            kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
            await_that(lambda: findings_of(contract) == (), AGREED_S, "agreement after kubectl apply")
            return up, time.monotonic() - begun, memory
        finally:
            stack.remove_everything()


def _objects(stack: KubernetesStack) -> list[dict[str, Any]]:
    """The stack's objects as a person would have written them down, its namespace first."""
    own = [
        each for each in stack.get(KINDS)["items"] if "app.kubernetes.io/instance" in each["metadata"].get("labels", {})
    ]
    return [_declared(each) for each in (get("namespace", stack.namespace), *own)]


def _declared(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in found.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in found["metadata"].items() if key not in (*NOTED, "annotations")}
    if found["kind"] == "PersistentVolumeClaim":
        kept["spec"] = {key: value for key, value in found["spec"].items() if key != "volumeName"}
    return kept


def _memory(stack: KubernetesStack) -> str:
    """What the kernel counts for one pod of each kind, in MiB."""
    script = "cat /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.current"
    used = {
        pod: int(stack.kubectl("exec", pod, "-c", "server", "--", "sh", "-c", script))
        for pod in ("data-0", "sentinel-0")
    }
    return ", ".join(f"{pod} {amount / 2**20:.0f} MiB" for pod, amount in used.items())
