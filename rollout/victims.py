"""A stack's nodes as something to be killed, frozen and brought back: the same words on every target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from tools import kubectl
from tools.declared import setting
from tools.stacks import Stack


class Victims(Protocol):
    """Nodes by their names in the topology: data-0, ..., sentinel-0, ... `freezes`: whether `freeze` can be."""

    freezes: bool

    def kill(self, node: str) -> None:
        """End it without a warning."""

    def freeze(self, node: str) -> None:
        """It hangs, its connections stay."""

    def revive(self, node: str) -> None:
        """Whatever was done to it: thawed, started. Nothing for one that runs. Does not wait until it serves."""


class Processes:
    """Target process."""

    freezes = True

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

    freezes = True

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
    """Target kubernetes: what is killed comes back by itself, and nothing can freeze a pod from outside."""

    freezes = False

    def __init__(self, stack: Stack) -> None:
        self._kubectl = kubectl.command(stack)

    def kill(self, node: str) -> None:
        kubectl.run([*self._kubectl, "delete", "pod", node, "--force", "--grace-period=0", "--wait=false"])

    def freeze(self, node: str) -> None:
        raise NotImplementedError(f"{node}: a pod cannot be frozen from outside")

    def revive(self, node: str) -> None:
        """Its StatefulSet does."""


@contextmanager
def victims_of(stack: Stack) -> Iterator[Victims]:
    """The stack's nodes, as its target reaches them. Raises ToolError for an unknown target."""
    target = setting(stack, "target")
    makers: dict[str, Callable[[], AbstractContextManager[Victims]]] = {
        "process": lambda: _plain(Processes(stack)),
        "docker": lambda: _containers(stack),
        "kubernetes": lambda: _plain(Pods(stack)),
    }
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
