"""A canary's share on Kubernetes: a ConfigMap that gateways start with, and a file in each one that runs.

The ConfigMap is no object that Pulumi compares: `make share` changes it at run time, which is no drift. A pod sees its
new content after a minute or so (the kubelet's time), which is why those that run are told as well, at once.
"""

from __future__ import annotations

from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from infra.gateway import SHARE_FILE
from infra.targets import cluster
from infra.targets.pods import RUN, SHARE_MAP, Labels

CONTAINER = "gateway"


def publish(api: Any, namespace: str, stack: str, percent: int) -> None:
    """For gateways that start from now on. Raises ClusterError."""
    core = client.CoreV1Api(api)
    data = {SHARE_FILE: f"{percent}\n"}
    metadata = {"name": SHARE_MAP, "labels": Labels(stack).all(CONTAINER)}
    try:
        core.patch_namespaced_config_map(SHARE_MAP, namespace, {"data": data}, _request_timeout=cluster.REQUEST_S)
    except ApiException as error:
        if error.status != cluster.NOT_FOUND:
            raise cluster.ClusterError(f"{namespace}/{SHARE_MAP} cannot be written: {error.reason}") from None
        try:
            core.create_namespaced_config_map(
                namespace, {"metadata": metadata, "data": data}, _request_timeout=cluster.REQUEST_S
            )
        except ApiException as refused:
            raise cluster.ClusterError(f"{namespace}/{SHARE_MAP} cannot be made: {refused.reason}") from None


def tell(api: Any, namespace: str, stack: str, percent: int) -> list[str]:
    """Every gateway that runs; their pods' names. Call `publish` before. Raises ClusterError."""
    try:
        found = client.CoreV1Api(api).list_namespaced_pod(
            namespace, label_selector=Labels(stack).selector(CONTAINER), _request_timeout=cluster.REQUEST_S
        )
    except ApiException as error:
        raise cluster.ClusterError(f"{namespace}: the gateways' pods cannot be listed: {error.reason}") from None
    names = [str(pod.metadata.name) for pod in found.items if _runs(pod)]
    for name in names:
        command = ["sh", "-c", f"echo {percent} > {RUN}/{SHARE_FILE}"]
        code, said = cluster.execute(api, namespace, name, command, CONTAINER)
        if code:
            raise cluster.ClusterError(f"{namespace}/{name} did not take the share: {code} {said.strip()[-200:]}")
    return names


def remove(api: Any, namespace: str) -> None:
    """Raises ClusterError."""
    try:
        client.CoreV1Api(api).delete_namespaced_config_map(SHARE_MAP, namespace, _request_timeout=cluster.REQUEST_S)
    except ApiException as error:
        if error.status != cluster.NOT_FOUND:
            raise cluster.ClusterError(f"{namespace}/{SHARE_MAP} cannot be removed: {error.reason}") from None


def exists(api: Any, namespace: str) -> bool:
    """Whether a gateway could start. Raises ClusterError."""
    try:
        client.CoreV1Api(api).read_namespaced_config_map(SHARE_MAP, namespace, _request_timeout=cluster.REQUEST_S)
    except ApiException as error:
        if error.status == cluster.NOT_FOUND:
            return False
        raise cluster.ClusterError(f"{namespace}/{SHARE_MAP} cannot be read: {error.reason}") from None
    return True


def _runs(pod: Any) -> bool:
    """One that starts reads what was published; one that ends serves nobody new."""
    states = pod.status.container_statuses or []
    return pod.metadata.deletion_timestamp is None and any(each.state.running is not None for each in states)
