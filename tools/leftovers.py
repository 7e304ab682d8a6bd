"""What a destroyed stack has left where it ran, though its state no longer knows of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tools.declared import namespace_of, setting
from tools.errors import ToolError
from tools.stacks import Stack


def end_nodes(stack: Stack) -> list[str]:
    """Target process: end and delete every node in the stack's folder; their names. Raises ToolError."""
    from infra.targets import process_control

    home = stack.state / "nodes" / stack.name
    folders = sorted(path.parent for path in home.glob("*/conf"))
    try:
        for folder in folders:
            process_control.remove(folder)
    except process_control.NodeError as error:
        raise ToolError(f"stack '{stack.name}': {error}\n  fix: end it, then make down STACK={stack.name}") from None
    return [folder.name for folder in folders]


def refuse_moved(stack: Stack, *, linked: bool) -> None:
    """Target process: nodes that run in a folder which was moved write to paths that are gone. Raises ToolError.

    `linked`: it is enough that the old path leads here.
    """
    from infra.targets import process_control

    for file in sorted((stack.state / "nodes" / stack.name).glob("*/conf/node.env")):
        told = re.search(r"^CONF_DIR=(.*)$", file.read_text(), re.MULTILINE)
        old = Path(shlex.split(told[1])[0]) if told else file.parent
        here = file.parent.resolve()
        if old == here or (linked and old.resolve() == here) or not process_control.lives(file.parents[1]):
            continue
        was = old.parents[3]
        raise ToolError(
            f"stack '{stack.name}' was moved from {was} to {stack.state} while its nodes run, which use the old paths; "
            f"nothing was changed\n  fix: mkdir -p {was.parent} && ln -s {stack.state} {was}, then make down "
            f"STACK={stack.name}, then remove the link and make up; or move it back"
        )


def left_of(stack: Stack) -> list[str]:
    """Targets docker and kubernetes: what is there that is the stack's, in the words of the command that removes it.

    Raises ToolError when nobody can be asked.
    """
    looks = {"docker": _on_docker, "kubernetes": _on_kubernetes}
    look = looks.get(setting(stack, "target"))
    return look(stack) if look else []


def _on_docker(stack: Stack) -> list[str]:
    from docker.errors import DockerException

    from infra.targets.docker_control import engine

    mine = re.compile(rf"redis-{re.escape(stack.name)}-((data|sentinel)-\d+-(data|files)|gateway-files)")
    try:
        with engine(setting(stack, "dockerHost")) as client:
            labelled = {"label": f"redis-sentinel.stack={stack.name}"}
            containers = sorted(each.name for each in client.containers.list(all=True, filters=labelled))
            volumes = sorted(each.name for each in client.volumes.list() if mine.fullmatch(each.name))
            networks = [each.name for each in client.networks.list() if each.name == f"redis-{stack.name}"]
    except (DockerException, OSError) as error:
        raise ToolError(f"the Docker engine does not say what is left of stack '{stack.name}': {error}") from None
    commands = {"docker rm --force": containers, "docker volume rm": volumes, "docker network rm": networks}
    return [f"{command} {' '.join(names)}" for command, names in commands.items() if names]


def _on_kubernetes(stack: Stack) -> list[str]:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    from infra.targets import cluster
    from infra.targets.pods import Labels

    namespace = namespace_of(stack)
    try:
        with cluster.connected(setting(stack, "kubeconfig"), setting(stack, "kubeContext")) as api:
            found = client.CoreV1Api(api).read_namespace(namespace, _request_timeout=cluster.REQUEST_S)
    except ApiException as error:
        if error.status == cluster.NOT_FOUND:
            return []
        raise ToolError(f"the cluster does not say what is left of stack '{stack.name}': {error.reason}") from None
    except cluster.ClusterError as error:
        raise ToolError(f"the cluster does not say what is left of stack '{stack.name}': {error}") from None
    wanted = Labels(stack.name).stack_wide().items()
    mine = wanted <= (found.metadata.labels or {}).items()
    return [f"kubectl delete namespace {namespace}"] if mine else []
