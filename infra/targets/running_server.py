"""Which server a stack runs: its master's, for every other node can be made anew from that one's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from docker.errors import DockerException
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from infra.data_format import Engine
from infra.targets import cluster, docker_control, pods, process_control
from infra.targets.base import stack_folder
from infra.targets.network_policies import COMPONENT
from infra.topology import Kind

Ask = Callable[[Sequence[str]], tuple[int, str]]
"""A data node's own word to commands (answers.sh): exit code and output."""


def running(stack: str, where: Mapping[str, Any]) -> Engine | None:
    """The master's server; None when no node says that it is the master. `where`: as IdentityProvider is told."""
    with suppress(DockerException, ApiException, cluster.ClusterError, OSError), _nodes(stack, where) as nodes:
        return engine_of(nodes)
    return None


def engine_of(nodes: Iterable[Ask]) -> Engine | None:
    """The server of the one that says role:master."""
    for ask in nodes:
        code, said = ask(["ROLE", "INFO server"])
        role, _, info = said.partition("\n.\n")
        if code == 0 and role.startswith('["master"'):
            return Engine.of_info(info)
    return None


@contextmanager
def _nodes(stack: str, where: Mapping[str, Any]) -> Iterator[Iterable[Ask]]:
    if "namespace" in where:
        with cluster.connected(where["kubeconfig"], where["context"]) as api:
            yield _pods(api, where["namespace"])
    elif "host" in where:
        with docker_control.engine(where["host"]) as engine:
            yield _containers(engine, stack)
    else:
        yield _processes(stack)


def _pods(api: Any, namespace: str) -> Iterator[Ask]:
    selector = f"{COMPONENT}={Kind.DATA}"
    found = client.CoreV1Api(api).list_namespaced_pod(
        namespace, label_selector=selector, _request_timeout=cluster.REQUEST_S
    )
    return (partial(_ask_pod, api, namespace, pod.metadata.name) for pod in found.items)


def _ask_pod(api: Any, namespace: str, pod: str, commands: Sequence[str]) -> tuple[int, str]:
    return cluster.execute(api, namespace, pod, pods.script("answers.sh", *commands))


def _containers(engine: Any, stack: str) -> Iterator[Ask]:
    ours = {"label": f"redis-sentinel.stack={stack}", "name": f"-{Kind.DATA}-"}
    return (partial(_ask_container, container) for container in engine.containers.list(filters=ours))


def _ask_container(container: Any, commands: Sequence[str]) -> tuple[int, str]:
    return docker_control.execute(container, "answers.sh", *commands)


def _processes(stack: str) -> Iterator[Ask]:
    return (partial(_ask_process, folder) for folder in sorted(stack_folder(stack).glob(f"{Kind.DATA}-*")))


def _ask_process(folder: Path, commands: Sequence[str]) -> tuple[int, str]:
    return process_control.answer(folder, *commands)
