"""A Kubernetes cluster through its API: which one it is, and commands in its pods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.stream import stream
from urllib3.exceptions import HTTPError

from infra.targets import reasons

REQUEST_S = 10
NOT_FOUND = 404
EXEC_S = 60


class ClusterError(Exception):
    """A cluster, or a pod of it, that does not do what it should."""


@contextmanager
def connected(kubeconfig: str, context: str) -> Iterator[Any]:
    """An API client. Raises ClusterError when the kubeconfig does not serve, or the cluster does not answer."""
    file = str(Path(kubeconfig).expanduser()) if kubeconfig else None
    settings = client.Configuration()
    try:
        config.load_kube_config(file, context or None, settings, persist_config=False)
    except ConfigException as error:
        raise ClusterError(f"the kubeconfig {file or '($KUBECONFIG or the default)'} does not serve: {error}") from None
    settings.retries = False
    api = client.ApiClient(settings)
    try:
        yield api
    except (HTTPError, OSError) as error:
        raise ClusterError(f"the cluster at {settings.host} does not answer: {type(error).__name__}") from None
    finally:
        api.close()


def identity(kubeconfig: str, context: str) -> str:
    """The UID of the namespace kube-system: it lives as long as the cluster. Raises ClusterError."""
    with connected(kubeconfig, context) as api:
        try:
            found = client.CoreV1Api(api).read_namespace("kube-system", _request_timeout=REQUEST_S)
        except ApiException as error:
            raise ClusterError(f"the cluster refuses to show its namespace kube-system: {error.reason}") from None
    return str(found.metadata.uid)


def label_of_namespace(kubeconfig: str, context: str, namespace: str, label: str) -> str:
    """The label's value; nothing where the cluster shows no namespace or no label. Raises ClusterError."""
    with connected(kubeconfig, context) as api:
        try:
            found = client.CoreV1Api(api).read_namespace(namespace, _request_timeout=REQUEST_S)
        except ApiException:
            return ""
    return str((found.metadata.labels or {}).get(label, ""))


def kinds(kubeconfig: str, context: str, group_version: str) -> frozenset[str]:
    """The kinds of an API group, such as `monitoring.coreos.com/v1`, that the cluster serves; none without it."""
    group, _, version = group_version.partition("/")
    with connected(kubeconfig, context) as api:
        try:
            found = client.CustomObjectsApi(api).get_api_resources(group, version, _request_timeout=REQUEST_S)
        except ApiException as error:
            if error.status == NOT_FOUND:
                return frozenset()
            raise ClusterError(f"the cluster refuses to show its API group {group_version}: {error.reason}") from None
    return frozenset(str(each.kind) for each in found.resources)


def execute(api: Any, namespace: str, pod: str, command: list[str], container: str = "server") -> tuple[int, str]:
    """Run a command in a container of the pod: its exit code and what it printed. 255: it could not be run."""
    core = client.CoreV1Api(api)
    try:
        running = stream(
            core.connect_get_namespaced_pod_exec,
            pod,
            namespace,
            container=container,
            command=command,
            stdout=True,
            stderr=True,
            _preload_content=False,
            _request_timeout=EXEC_S,
        )
    except ApiException as error:
        return 255, str(error.reason)
    running.run_forever(timeout=EXEC_S)
    try:
        code = running.returncode  # before read_all, which takes the channel that tells it
    except (KeyError, TypeError, ValueError):  # the connection ended before the command did
        code = None
    output = running.read_all()
    running.close()
    return (255 if code is None else int(code)), output


def log_tail(api: Any, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
    """Why a container is not well, as far as its log tells; `previous`: the log of its life before this one."""
    return reasons.of(pod, f"the log of {pod}", log_of(api, namespace, pod, container, previous=previous))


def log_of(api: Any, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
    """The end of a container's log; empty when there is none."""
    try:
        return str(
            client.CoreV1Api(api).read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                tail_lines=reasons.TAIL,
                previous=previous,
                _request_timeout=REQUEST_S,
            )
        )
    except ApiException:
        return ""
