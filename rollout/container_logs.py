"""What a stack's containers and pods have said: logs that lie in no file of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.targets.pods import Labels
from rollout.errors import RolloutError
from tools import kubectl
from tools.declared import setting
from tools.stacks import Stack

_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def logs_of(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Each log that there is, with a name. Raises ToolError when one of them cannot be read."""
    readers = {"docker": _of_containers, "kubernetes": _of_pods}
    reader = readers.get(setting(stack, "target"))
    yield from reader(stack) if reader else ()


def _of_containers(stack: Stack) -> Iterator[tuple[str, bytes]]:
    from infra.targets import docker_control

    mine = {"label": f"redis-sentinel.stack={stack.name}"}
    try:
        with docker_control.engine(setting(stack, "dockerHost")) as client:
            for each in client.containers.list(all=True, filters=mine):
                yield f"container {each.name}", each.logs()
    except Exception as error:  # the library: over ssh it raises what another one does
        raise RolloutError(f"the logs of stack {stack.name}'s containers cannot be read: {error}") from None


def _of_pods(stack: Stack) -> Iterator[tuple[str, bytes]]:
    words = kubectl.command(stack)
    mine = {"app.kubernetes.io/name": "redis-sentinel"} | Labels(stack.name).stack_wide()
    selector = ",".join(f"{key}={value}" for key, value in mine.items())
    for pod in json.loads(kubectl.run([*words, "get", "pods", "--selector", selector, "--output", "json"]))["items"]:
        name = pod["metadata"]["name"]
        for container, before in _have_run(pod):
            options, told = (["--previous"], ", before its restart") if before else ([], "")
            content = kubectl.output([*words, "logs", name, "--container", container, *options])
            yield f"pod {name}, {container}{told}", content


def _have_run(pod: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Containers with a log of now, and (True) of before their restart. One that waits has none of now."""
    for status in (each for key in _STATUSES for each in pod["status"].get(key, ())):
        if not status.get("state", {}).keys().isdisjoint(("running", "terminated")):
            yield status["name"], False
        if "terminated" in status.get("lastState", {}):
            yield status["name"], True
