"""A stack of a test's own on the lab's cluster: the README's commands, own backend, own namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.docker.stack import OwnStack
from tests.kubernetes.lab import KUBECONFIG, get, kubectl
from tests.nodes import LOST_ELECTION


class KubernetesStack(OwnStack):
    """`make` on a stack that has a name, a namespace and a state of its own."""

    def __init__(self, home: Path, **settings: str) -> None:
        super().__init__(home)
        self.namespace = f"redis-{self.name}"
        # The machine itself is a client, so that the test can be one.
        ours = {"target": "kubernetes", "kubeconfig": KUBECONFIG, "clients": '["10.77.0.0/24"]'}
        self.configure(ours | settings)
        (home / "backend").mkdir()

    def kubectl(self, *arguments: str, fails: bool = False, timeout_s: float = 120) -> str:
        return kubectl("--namespace", self.namespace, *arguments, fails=fails, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        return get("--namespace", self.namespace, *arguments)

    def uids(self) -> dict[str, str]:
        """Every pod of the stack by name."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.get("pods")["items"]}

    def names(self, kind: str) -> list[str]:
        """The pods of one kind that are declared."""
        return [f"{kind}-{index}" for index in range(self.get("statefulset", kind)["spec"]["replicas"])]

    def node_of(self, pod: str) -> str:
        """Where the pod runs."""
        return str(self.get("pod", pod)["spec"]["nodeName"])

    def restarts_by_uid(self) -> dict[str, int]:
        """How often containers of each pod were restarted."""
        return {
            pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
            for pod in self.get("pods")["items"]
        }

    def restarts(self) -> int:
        """How often any container of the stack was restarted."""
        return sum(self.restarts_by_uid().values())

    def lost_elections(self, since: datetime, *sentinels: str) -> int:
        """Rounds since a time in which no Sentinel got a majority to lead the failover, by the logs of these."""
        after = f"--since-time={since.isoformat()}"
        logs = [self.kubectl("logs", name, "--container=server", after) for name in sentinels]
        return max(log.count(LOST_ELECTION) for log in logs)

    def remove_everything(self) -> None:
        """Whatever a failed test left."""
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", timeout_s=200)


@contextmanager
def brought_up(home: Path, images: dict[str, str]) -> Iterator[KubernetesStack]:
    """A stack of `make up`, with TLS if this machine's CLI can (handovers are asked for by it); then removed."""
    from infra.targets.servers import find_servers

    chosen = {key: value for key, value in images.items() if key.endswith("mage")}
    with KubernetesStack(home, tls=str(find_servers().tls).lower(), **chosen).brought_up() as made:
        yield made
