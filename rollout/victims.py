"""A stack's nodes as something to be killed, frozen and brought back: the same words on every target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from infra.targets.pods import RUN
from tools import kubectl
from tools.declared import setting
from tools.errors import ToolError
from tools.stacks import Stack


class Victims(Protocol):
    """Nodes by their names in the topology: data-0, ..., sentinel-0, ..."""

    def kill(self, node: str) -> None:
        """End it without a warning."""

    def freeze(self, node: str) -> None:
        """It hangs, its connections stay."""

    def revive(self, node: str) -> None:
        """Whatever was done to it: thawed, started. Nothing for one that runs. Does not wait until it serves."""


class Processes:
    """Target process."""

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.state / "nodes" / stack.name

    def kill(self, node: str) -> None:
        from infra.targets import process_control

        process_control.kill(self._folder / node)

    def freeze(self, node: str) -> None:
        from infra.targets import process_control

        process_control.freeze(self._folder / node)

    def revive(self, node: str) -> None:
        from infra.targets import process_control

        process_control.thaw(self._folder / node)
        process_control.start(self._folder / node)


class Containers:
    """Target docker."""

    def __init__(self, stack: Stack, engine: Any) -> None:
        self._engine = engine
        self._prefix = f"redis-{stack.name}-"

    def kill(self, node: str) -> None:
        from infra.targets import docker_control

        docker_control.kill(self._engine, self._prefix + node)

    def freeze(self, node: str) -> None:
        from infra.targets import docker_control

        docker_control.freeze(self._engine, self._prefix + node)

    def revive(self, node: str) -> None:
        from infra.targets import docker_control

        docker_control.thaw(self._engine, self._prefix + node)
        docker_control.start(self._engine, self._prefix + node)


class Pods:
    """Target kubernetes: what is killed comes back by itself; a server is frozen from inside its pod."""

    def __init__(self, stack: Stack) -> None:
        self._kubectl = kubectl.command(stack)

    def kill(self, node: str) -> None:
        kubectl.run([*self._kubectl, "delete", "pod", node, "--force", "--grace-period=0", "--wait=false"])

    def freeze(self, node: str) -> None:
        self._signal(node, "STOP")

    def revive(self, node: str) -> None:
        """Thaws it; a pod that is gone is its StatefulSet's matter."""
        with suppress(ToolError):
            self._signal(node, "CONT")

    def _signal(self, node: str, name: str) -> None:
        script = f'kill -{name} "$(cat {RUN}/server.pid)"'
        kubectl.run([*self._kubectl, "exec", node, "--container", "server", "--", "sh", "-c", script])


@contextmanager
def victims_of(stack: Stack) -> Iterator[Victims]:
    """The stack's nodes, as its target reaches them. Raises ToolError for an unknown target."""
    target = setting(stack, "target")
    makers: dict[str, Callable[[], AbstractContextManager[Victims]]] = {
        "process": lambda: _plain(Processes(stack)),
        "docker": lambda: _containers(stack),
        "kubernetes": lambda: _plain(Pods(stack)),
    }
    if target not in makers:
        raise ToolError(
            f"stack '{stack.name}': target is {target!r}, expected one of {', '.join(makers)}\n"
            f"  fix: set redis-sentinel:target in {stack.config.name}"
        )
    with makers[target]() as victims:
        yield victims


@contextmanager
def _plain(victims: Victims) -> Iterator[Victims]:
    yield victims


@contextmanager
def _containers(stack: Stack) -> Iterator[Victims]:
    from infra.targets.docker_control import engine

    with engine(setting(stack, "dockerHost")) as client:
        yield Containers(stack, client)
