"""Which server a stack runs: its master's, for every other node can be made anew from that one's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from infra.data_format import Engine
from infra.targets import process_control
from infra.targets.base import stack_folder
from infra.topology import Kind

Ask = Callable[..., tuple[int, str]]
"""A data node's own word to commands (answers.sh): exit code and output."""


def running(stack: str, where: Mapping[str, Any]) -> Engine | None:
    """The master's server; None when no node says that it is the master. `where`: as IdentityProvider is told."""
    # A client of a cluster or of an engine is imported where it is wanted: it takes a third of a second.
    if "namespace" in where:
        return _in_pods(where)
    if "host" in where:
        return _in_containers(stack, where["host"])
    return _in_processes(stack)


def engine_of(nodes: Iterable[Ask]) -> Engine | None:
    """The server of the one that says role:master."""
    for ask in nodes:
        code, said = ask("ROLE", "INFO server")
        role, _, info = said.partition("\n.\n")
        if code == 0 and role.startswith('["master"'):
            return Engine.of_info(info)
    return None


def _in_pods(where: Mapping[str, Any]) -> Engine | None:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    from infra.targets import cluster, pods
    from infra.targets.network_policies import COMPONENT

    def ask(pod: str, *commands: str) -> tuple[int, str]:
        return cluster.execute(api, where["namespace"], pod, pods.script("answers.sh", *commands))

    with suppress(ApiException, cluster.ClusterError), cluster.connected(where["kubeconfig"], where["context"]) as api:
        found = client.CoreV1Api(api).list_namespaced_pod(
            where["namespace"], label_selector=f"{COMPONENT}={Kind.DATA}", _request_timeout=cluster.REQUEST_S
        )
        return engine_of(partial(ask, pod.metadata.name) for pod in found.items)
    return None


def _in_containers(stack: str, host: str) -> Engine | None:
    from docker.errors import DockerException

    from infra.targets import docker_control

    ours = {"label": f"redis-sentinel.stack={stack}", "name": f"-{Kind.DATA}-"}
    with suppress(DockerException, OSError), docker_control.engine(host) as engine:
        containers = engine.containers.list(filters=ours)
        return engine_of(partial(docker_control.execute, container, "answers.sh") for container in containers)
    return None


def _in_processes(stack: str) -> Engine | None:
    with suppress(OSError):
        folders = sorted(stack_folder(stack).glob(f"{Kind.DATA}-*"))
        return engine_of(partial(process_control.answer, folder) for folder in folders)
    return None
