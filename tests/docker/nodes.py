"""The nodes of a stack on the Docker engine, for tests that run on every target."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.targets.docker_control import STOP_TIMEOUT_S, execute
from tests.docker.stack import DockerStack
from tests.gateway import GatewayAddress
from tests.nodes import Nodes
from tests.waiting import await_that


class DockerNodes(Nodes):
    """A stack that `make up` has just brought up. What `docker kill` and `docker stop` ended stays down."""

    def __init__(self, stack: DockerStack) -> None:
        self.stack = stack
        self.contract = stack.contract()
        self.born = self.observe()
        self.gateway = StackGateway(self, stack)

    def start(self, *names: str) -> None:
        for name in names or self.names:
            container = self._container(name)
            if container.status != "running":
                container.start()

    def stop_planned(self, name: str) -> None:
        self._container(name).stop(timeout=STOP_TIMEOUT_S)

    def kill(self, *names: str) -> None:
        # One after the other takes longer than Sentinels wait before they replace a master.
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(self._kill, names))

    def _kill(self, name: str) -> None:
        container = self._container(name)
        if container.status in ("running", "paused"):
            container.kill()

    def stop(self, name: str) -> None:
        # On a busy machine the engine sometimes gives up half-way ("unable to freeze") and undoes it.
        await_that(lambda: self._pause(name), 10, f"the freeze of {name}")

    def _pause(self, name: str) -> bool:
        container = self._container(name)
        if container.status != "paused":
            container.pause()
        return True

    def cont(self, name: str) -> None:
        container = self._container(name)
        if container.status == "paused":
            container.unpause()

    def wipe(self, name: str) -> None:
        self.damage(name, "rm -rf /data/* /data/.[!.]*")

    def damage(self, name: str, line: str) -> str:
        volume = f"{self._container(name).name}-data"
        said = self.stack.client.containers.run(
            self.stack.settings["image"],
            entrypoint=["sh", "-ec", line],
            volumes={volume: {"bind": "/data"}},
            working_dir="/data",
            user="0",
            network_mode="none",
            remove=True,
        )
        return str(said.decode(errors="replace"))

    def log(self, name: str) -> str:
        return str(self._container(name).logs().decode(errors="replace"))

    def run(self, name: str, script: str, *arguments: str) -> tuple[int, str]:
        return execute(self._container(name), script, *arguments)

    def _container(self, name: str) -> Any:
        return self.stack.container(name)


class StackGateway(GatewayAddress):
    """The stack's own gateway container."""

    def __init__(self, nodes: DockerNodes, stack: DockerStack) -> None:
        super().__init__(nodes, nodes.contract.host, nodes.contract.port, read_port=6380)
        self._stack = stack

    def log(self) -> str:
        return str(self._stack.container("gateway").logs(tail=20).decode(errors="replace"))
