"""The pods of a stack on the cluster, for tests that run on every target."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from tests.gateway import GatewayAddress
from tests.kubernetes.lab import environment, get, kubectl, lab
from tests.kubernetes.logs import Logs
from tests.kubernetes.stack import KubernetesStack
from tests.nodes import Nodes
from tests.waiting import await_that

RECREATED_S = 30


class KubernetesNodes(Nodes):
    """A stack that `make up` has just brought up.

    A StatefulSet makes a pod anew at once. One that has to stay down finds its host cordoned (its volume ties it to
    that host), and is started by binding it there, past the scheduler.
    """

    def __init__(self, stack: KubernetesStack) -> None:
        self.stack = stack
        self._down: set[str] = set()
        self.contract = stack.contract()
        self.born = self.observe()
        self.gateway = StackGateway(self, stack)
        self._home = {name: stack.node_of(name) for name in self.names}
        self._logs = Logs(stack.namespace, self.names)

    def close(self) -> None:
        """Every host takes pods again, and no log is read any more."""
        self._logs.close()
        self._down.clear()
        self._cordon()

    def start(self, *names: str) -> None:
        chosen = [name for name in names or self.names if name in self._down]
        with ThreadPoolExecutor(max(1, len(chosen))) as pool:
            list(pool.map(self._bind, chosen))
        self._down -= set(chosen)
        self._cordon()

    def stop_planned(self, name: str) -> None:
        self._hold(name)
        self.stack.kubectl("delete", "pod", name, "--wait=true")

    def kill(self, *names: str) -> None:
        chosen = [name for name in names if name not in self._down]
        if not chosen:
            return
        uids = {name: self._pod(name)["metadata"]["uid"] for name in chosen}
        self._hold(*chosen)
        # The processes end first: kubelet would let a deleted pod hand over.
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(lambda name: self._signal(name, uids[name], "KILL"), chosen))
        self.stack.kubectl("delete", "pod", *chosen, "--grace-period=0", "--force", "--wait=false")
        for name in chosen:
            await_that(lambda name=name: self._is_new(name, uids[name]), RECREATED_S, f"the end of {name}")  # type: ignore[misc]

    def stop(self, name: str) -> None:
        self._signal(name, self._pod(name)["metadata"]["uid"], "STOP")

    def cont(self, name: str) -> None:
        if name not in self._down:
            self._signal(name, self._pod(name)["metadata"]["uid"], "CONT")

    def wipe(self, name: str) -> None:
        self.damage(name, "rm -rf ./* ./.[!.]*")

    def damage(self, name: str, line: str) -> str:
        claim = self.stack.get("pvc", f"data-{name}")["spec"]["volumeName"]
        spec = get("pv", claim)["spec"]
        path = (spec.get("hostPath") or spec["local"])["path"]
        return lab("node-exec", self._home[name], "sh", "-ec", f"cd {path}; {line}")

    def log(self, name: str) -> str:
        return self._logs.of(name)

    def run(self, name: str, script: str, *arguments: str) -> tuple[int, str]:
        command = [f"/node/bin/{script}", "/node/conf/node.env", *arguments]
        done = subprocess.run(
            ["kubectl", "--namespace", self.stack.namespace, "exec", name, "-c", "server", "--", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment(),
        )
        return done.returncode, done.stdout

    def _pod(self, name: str) -> Any:
        return self.stack.get("pod", name)

    def _is_new(self, name: str, uid: str) -> bool:
        return bool(self._pod(name)["metadata"]["uid"] != uid)

    def _hold(self, *names: str) -> None:
        self._down |= set(names)
        self._cordon()

    def _cordon(self) -> None:
        """Hosts of pods that must stay down take none; all others do."""
        held = {self._home[name] for name in self._down}
        for verb, hosts in (("cordon", held), ("uncordon", set(self._home.values()) - held)):
            if hosts:
                kubectl(verb, *sorted(hosts))

    def _bind(self, name: str) -> None:
        """Let the pod that waits run on its host."""
        pod = await_that(lambda: self._waiting(name), RECREATED_S, f"{name}, made anew")
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": pod["metadata"]["uid"]}}
        body["target"] = {"apiVersion": "v1", "kind": "Node", "name": self._home[name]}
        path = f"/api/v1/namespaces/{self.stack.namespace}/pods/{name}/binding"
        kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))

    def _waiting(self, name: str) -> Any:
        pod = self._pod(name)
        return not pod["metadata"].get("deletionTimestamp") and not pod["spec"].get("nodeName") and pod

    def _signal(self, name: str, uid: str, which: str) -> None:
        """To every process of the pod's own containers, from its host; the sandbox that holds them lives on."""
        marks = f"{uid}|{uid.replace('-', '_')}"
        found = f'for each in $(grep -lE "pod({marks})" /proc/[0-9]*/cgroup); do echo "${{each#/proc/}}"; done'
        script = f"""
            for each in $({found}); do
                pid=${{each%/cgroup}}
                [ "$(cat /proc/$pid/comm)" = pause ] || kill -{which} "$pid"
            done"""
        with suppress(subprocess.CalledProcessError):  # one that ended meanwhile
            lab("node-exec", self._home[name], "sh", "-c", script)


class StackGateway(GatewayAddress):
    """The stack's own gateway Service."""

    def __init__(self, nodes: KubernetesNodes, stack: KubernetesStack) -> None:
        super().__init__(nodes, nodes.contract.host, nodes.contract.port, read_port=6380)
        self._stack = stack

    def log(self) -> str:
        return self._stack.kubectl("logs", "--selector", "app.kubernetes.io/component=gateway", "--tail=10")
