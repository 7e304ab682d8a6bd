"""Which server is in an image for pods: a pod of that image says so."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from infra.targets import cluster, pods
from infra.targets.network_policies import COMPONENT

VERSION = ["/bin/sh", "-c", 'exec "$(command -v valkey-server || command -v redis-server)" --version']
# To schedule a pod and pull its image. An image that cannot be pulled is told at once.
PATIENCE_S = 60.0
ASKED_PODS = f"{COMPONENT}=version"


def in_image(api: Any, namespace: str, image: str) -> str:
    """What the server in the image says of its version; nothing when no pod of it runs there."""
    core, name = client.CoreV1Api(api), f"version-{uuid.uuid4().hex[:8]}"
    try:
        core.create_namespaced_pod(namespace, _pod(name, image), _request_timeout=cluster.REQUEST_S)
        return cluster.log_of(api, namespace, name, "server") if _ends(core, namespace, name) else ""
    except ApiException:
        return ""
    finally:
        with suppress(ApiException):  # one that a killed run left goes, too
            core.delete_collection_namespaced_pod(
                namespace, label_selector=ASKED_PODS, grace_period_seconds=0, _request_timeout=cluster.REQUEST_S
            )


def _pod(name: str, image: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": dict([ASKED_PODS.split("=")])},
        "spec": pods.once("server", image, VERSION),
    }


def _ends(core: Any, namespace: str, name: str) -> bool:
    """Wait until the pod has ended; False when it does not, or cannot begin."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        status = core.read_namespaced_pod(name, namespace, _request_timeout=cluster.REQUEST_S).status
        waits = [each.state.waiting for each in status.container_statuses or [] if each.state.waiting]
        if status.phase == "Succeeded":
            return True
        if status.phase == "Failed" or any(
            each.reason not in ("ContainerCreating", "PodInitializing") for each in waits
        ):
            return False
        time.sleep(0.3)
    return False
