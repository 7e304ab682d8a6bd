"""A crowd on Kubernetes: on every node a pod of the node's network, to which a network of RANGE belongs meanwhile.

A pod has one address, and kube-proxy replaces those that are no pod's: so the crowd connects to the gateways' pods
themselves, and the nodes route its networks to each other. That is for a cluster to try things on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Any

from infra.contract import Contract, OperatorContract
from infra.targets.pods import Labels
from rehearsal.clients import PAUSE_S, SCRIPT, STOP_S, last_line, together
from rehearsal.place import RehearsalError
from tools import kubectl
from tools.errors import ToolError

COUNT = 500
# For measurements of networks (RFC 2544): nobody's otherwise.
RANGE = IPv4Network("198.18.0.0/16")
READY_S = 60.0
_WAIT = "trap 'exit 0' TERM; until [ -f /tmp/crowd.json ]; do sleep 0.2; done; exec python3 /tmp/crowd.py run"


class PodCrowd:
    """In the namespace `namespace`, at the gateways of the stack `stack`; Python is in `image`."""

    def __init__(self, stack: str, namespace: str, image: str, kubeconfig: str) -> None:
        self._stack, self._namespace, self._image = stack, namespace, image
        self._kubectl = ["kubectl", "--kubeconfig", kubeconfig]

    def gateway(self, contract: OperatorContract) -> Contract:
        return contract.application(standalone=True).model_copy(update={"host": self.gateways()[0]})

    def gateways(self) -> list[str]:
        """The addresses of the gateways' pods. Raises RehearsalError without any."""
        selector = Labels(self._stack).selector("gateway")
        words = ["--namespace", f"redis-{self._stack}", "get", "pods", "--selector", selector]
        found = sorted(str(pod["status"].get("podIP", "")) for pod in self._get(*words))
        if not found or not all(found):
            raise RehearsalError(f"the gateways of stack {self._stack} have the addresses {found}")
        return found

    @contextmanager
    def visiting(self, contract: OperatorContract) -> Iterator[dict[str, float]]:
        found: dict[str, float] = {}
        nodes = nodes_of(self._get("get", "nodes"))
        try:
            self._make(nodes)
            hosts = self.gateways()
            self._start(nodes, contract, hosts)
            yield found
            found |= self._end(nodes) | {"gateways_replaced": float(len({*hosts} - {*self.gateways()}))}
        finally:
            # With TERM first, upon which the pods give their networks back.
            words = ["delete", "namespace", self._namespace, "--ignore-not-found", "--wait"]
            self._run(*words, seconds=3 * STOP_S)

    def where(self) -> dict[str, float]:
        pods = [str(pod["metadata"]["name"]) for pod in self._pods()]
        if not pods:
            raise RehearsalError(f"no crowd at stack {self._stack}")
        with ThreadPoolExecutor(len(pods)) as pool:
            return together(pool.map(self._where, pods))

    def _where(self, pod: str) -> dict[str, float]:
        return last_line(self._exec(pod, "python3", "/tmp/crowd.py", "where"))  # noqa: S108 - inside

    def _make(self, nodes: dict[str, str]) -> None:
        namespace = {"name": self._namespace, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}
        pods = [{"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}]
        pods += [pod(node, self._namespace, self._image) for node in nodes]
        self._run("apply", "-f", "-", said=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
        self._inside("wait", "pod", "--all", "--for=condition=Ready", f"--timeout={READY_S:.0f}s")

    def _start(self, nodes: dict[str, str], contract: OperatorContract, hosts: list[str]) -> None:
        networks = networks_of(nodes)
        for node in nodes:
            settings = {
                "hosts": hosts,
                "port": contract.port,
                "password": contract.password.get_secret_value(),
                "network": str(networks[node]),
                "count": -(-COUNT // len(nodes)),
                "pause_s": PAUSE_S * len(nodes),
                "ways": {str(networks[other]): nodes[other] for other in nodes if other != node},
            }
            # Through standard input: neither arguments nor variables of a pod are secret.
            put = "umask 077; cat > /tmp/new && mv /tmp/new /tmp/"
            self._exec(f"crowd-{node}", "sh", "-c", f"{put}crowd.py", said=SCRIPT.read_text())
            self._exec(f"crowd-{node}", "sh", "-c", f"{put}crowd.json", said=json.dumps(settings))

    def _end(self, nodes: dict[str, str]) -> dict[str, float]:
        for node in nodes:
            # A word of the shell's: the image has no program for it.
            self._exec(f"crowd-{node}", "sh", "-c", "kill -TERM 1")
        end = time.monotonic() + STOP_S
        while time.monotonic() < end:
            phases = {str(pod["status"]["phase"]) for pod in self._pods()}
            if not phases & {"Running", "Pending"}:
                break
            time.sleep(0.5)
        return together(last_line(self._inside("logs", f"crowd-{node}")) for node in nodes)

    def _exec(self, pod: str, *command: str, said: str = "") -> str:
        return self._inside("exec", *(["-i"] if said else []), pod, "--", *command, said=said)

    def _pods(self) -> list[dict[str, Any]]:
        return self._get("--namespace", self._namespace, "get", "pods")

    def _inside(self, *words: str, said: str = "") -> str:
        return self._run("--namespace", self._namespace, *words, said=said)

    def _get(self, *words: str) -> list[dict[str, Any]]:
        return list(json.loads(self._run(*words, "--output", "json"))["items"])

    def _run(self, *words: str, said: str = "", seconds: float = kubectl.SECONDS + READY_S) -> str:
        try:
            return kubectl.run([*self._kubectl, *words], seconds, said)
        except ToolError as error:
            raise RehearsalError(str(error)) from None


def nodes_of(found: list[dict[str, Any]]) -> dict[str, str]:
    """The address of every node that takes pods, by its name. Raises RehearsalError without one."""
    nodes = {}
    for node in found:
        if any(each["effect"] != "PreferNoSchedule" for each in node["spec"].get("taints", [])):
            continue
        addresses = {each["type"]: str(each["address"]) for each in node["status"]["addresses"]}
        nodes[str(node["metadata"]["name"])] = addresses["InternalIP"]
    if not nodes:
        raise RehearsalError("the cluster has no node that takes pods")
    return nodes


def networks_of(nodes: dict[str, str]) -> dict[str, IPv4Network]:
    """Each node's part of RANGE."""
    return dict(zip(sorted(nodes), list(RANGE.subnets(new_prefix=24))[1:], strict=False))


def pod(node: str, namespace: str, image: str) -> dict[str, Any]:
    """What waits on a node until it is told who its clients are."""
    container = {
        "name": "crowd",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _WAIT],
        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"crowd-{node}", "namespace": namespace},
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 10,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }
