"""The pods that the smoke tests need in a cluster, in Kubernetes's own spelling. No secret is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.targets.network_policies import CLIENT
from infra.targets.pods import BARE, UNPRIVILEGED, Labels

Manifest = dict[str, Any]

SUITE, STRANGER = "smoke", "smoke-stranger"
DEADLINE_S = 900
# Who started the job removes it. These end what is left when that one was killed.
LEFT_S = 600


@dataclass(frozen=True)
class Place:
    """Where and as what the pods run. `run` tells this run's objects from another's."""

    stack: str
    namespace: str
    image: str
    run: str
    tls: bool


def suite(place: Place, reach: Sequence[str], arguments: Sequence[str]) -> Manifest:
    """An allowed client: tries the addresses that it may reach, then runs the suite with the arguments."""
    command = [*(f"--reach={each}" for each in reach), "--", *arguments]
    volumes: list[Manifest] = [
        {"name": "contract", "secret": {"secretName": "redis-operator-contract", "defaultMode": 0o440}},
        {"name": "evidence", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]
    mounts: list[Manifest] = [
        {"name": "contract", "mountPath": "/contract", "readOnly": True},
        {"name": "evidence", "mountPath": "/evidence"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the container's own, in memory
    ]
    if place.tls:
        volumes.append({"name": "ca", "configMap": {"name": "redis-ca"}})
        mounts.append({"name": "ca", "mountPath": "/etc/redis-ca", "readOnly": True})
    container = {"args": command, "volumeMounts": mounts}
    return _job(place, SUITE, CLIENT, container, volumes)


def stranger(place: Place, reach: Sequence[str]) -> Manifest:
    """A client that nothing allows: tries every address, and tells which answered."""
    return _job(place, STRANGER, {}, {"command": ["python3", "-m", "smoke_tests.reach", *reach]}, [])


def _job(place: Place, name: str, labels: Manifest, container: Manifest, volumes: list[Manifest]) -> Manifest:
    own = {"app.kubernetes.io/name": "redis-sentinel"} | Labels(place.stack).of(name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-{place.run}", "namespace": place.namespace, "labels": own},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_S,
            "ttlSecondsAfterFinished": LEFT_S,
            "template": {
                "metadata": {"labels": own | labels},
                "spec": UNPRIVILEGED
                | {
                    "restartPolicy": "Never",
                    "containers": [_bare(place.image) | container],
                    "volumes": volumes,
                },
            },
        },
    }


def _bare(image: str) -> Manifest:
    return {
        "name": "smoke",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": BARE,
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
    }
