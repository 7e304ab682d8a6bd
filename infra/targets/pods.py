"""PURE  What runs on Kubernetes: the specs of pods, StatefulSets, Services and budgets, in its own spelling."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from infra import gateway
from infra.firewall import EXPORTER_PORT
from infra.setting_rules import bytes_of
from infra.settings import Settings
from infra.targets.network_policies import COMPONENT
from infra.topology import Kind, Node

Manifest = dict[str, Any]

# Inside a container, the same as on Docker.
CONF, BIN, DATA, RUN = "/node/conf", "/node/bin", "/node/data", "/node/run"
NODE_ENV = f"{CONF}/node.env"
EXPORTER_FILE = "passwords.json"
# The user `redis` of the official images. Names differ between images, so it is given by number.
UID = 999

# The handover (20 s to prepare, 20 s to settle) and the server's own end (15 s) fit in.
GRACE_S = 75
GATEWAYS = 2

MIB = 1024 * 1024
SPARE_MIB = 64
SENTINEL_MIB = 64
GATEWAY_MIB = 128
EXPORTER_MIB = 64

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
# Ports' names, by which Prometheus is told what to scrape.
METRICS, STATISTICS = "metrics", "statistics"
# Not immutable, and of one name: another share of the canary is no other pod.
SHARE_MAP = "gateway-share"
STACK_LABEL = "app.kubernetes.io/instance"
POD_NAME = "statefulset.kubernetes.io/pod-name"


@dataclass(frozen=True)
class Labels:
    """The labels of one stack's objects."""

    stack: str

    def stack_wide(self) -> dict[str, str]:
        """What every object of the stack has."""
        return {STACK_LABEL: self.stack}

    def of(self, component: str) -> dict[str, str]:
        """What is selected by: never changes."""
        return self.stack_wide() | {COMPONENT: component}

    def selector(self, component: str) -> str:
        """The same, as the API and kubectl want it."""
        return ",".join(f"{key}={value}" for key, value in self.of(component).items())

    def all(self, component: str) -> dict[str, str]:
        names = {"app.kubernetes.io/name": "redis-sentinel", "app.kubernetes.io/managed-by": "pulumi"}
        return names | self.of(component)


@dataclass(frozen=True)
class Files:
    """Where a pod finds its files: the names of ConfigMaps and Secrets. `str`, or what becomes one at deployment."""

    plain: Any
    secret: Any
    plain_keys: Sequence[str]
    secret_keys: Sequence[str]
    scripts: Any = None
    exporter: Any = None


def node_set(kind: Kind, nodes: Sequence[Node], settings: Settings, labels: Labels, files: Files) -> Manifest:
    """The StatefulSet of the data nodes, or of the Sentinels.

    Pods start together (each waits for the decision that start.sh awaits), and are replaced one at a time, the last
    first: the next only when the one before is ready, which for a replica means in sync.
    """
    pod = {
        "metadata": {"labels": labels.all(kind), "annotations": {"kubectl.kubernetes.io/default-container": "server"}},
        "spec": {
            **_pod(settings),
            "topologySpreadConstraints": _spread(settings, labels.of(kind)),
            "terminationGracePeriodSeconds": GRACE_S if kind is Kind.DATA else 15,
            "containers": [_server(kind, settings), *_exporters(nodes, settings)],
            "volumes": [
                _projected("conf", files, folders=True),
                {"name": "bin", "configMap": {"name": files.scripts, "defaultMode": 0o555}},
                _memory("run"),
                _memory("tmp"),
                *([{"name": "exporter", "secret": {"secretName": files.exporter}}] if settings.exporter_image else []),
            ],
        },
    }
    size = settings.storage_size if kind is Kind.DATA else "64Mi"
    return {
        "serviceName": str(kind),
        "replicas": len(nodes),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "selector": {"matchLabels": labels.of(kind)},
        "template": pod,
        "volumeClaimTemplates": [
            {"metadata": {"name": "data", "labels": labels.of(kind)}, "spec": claim(settings, size)}
        ],
    }


def claim(settings: Settings, size: str) -> Manifest:
    """A node's volume."""
    named = {"storageClassName": settings.storage_class} if settings.storage_class else {}
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}} | named


def gateway_deployment(settings: Settings, labels: Labels, files: Files) -> Manifest:
    """The gateways: each decides by itself, from what Sentinels and nodes say, so any of them will do."""
    health = {"httpGet": {"path": "/health", "port": settings.gateway_stats_port}}
    container = {
        "name": "gateway",
        "image": settings.gateway_image,
        "command": ["haproxy", "-W", "-db", "-f", f"{CONF}/{gateway.CONFIGURATION}"],
        "ports": [
            {"name": "write", "containerPort": settings.gateway_port},
            {"name": "read", "containerPort": settings.gateway_read_port},
            {"name": STATISTICS, "containerPort": settings.gateway_stats_port},
        ],
        "securityContext": BARE,
        "resources": _resources(GATEWAY_MIB),
        "readinessProbe": {**health, "periodSeconds": 2, "timeoutSeconds": 2},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        # Clients that come while the Service still leads here are served; HAProxy ends at TERM.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "3"]}}},
        "volumeMounts": [
            {"name": "conf", "mountPath": CONF, "readOnly": True},
            {"name": "run", "mountPath": RUN},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the container's own, in memory
        ],
    }
    return {
        "replicas": GATEWAYS,
        "selector": {"matchLabels": labels.of("gateway")},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels.all("gateway")},
            "spec": {
                **_pod(settings),
                # Soft: with one more of them than hosts left, an update must still find a place for the new ones.
                "topologySpreadConstraints": [_evenly(key, labels.of("gateway"), hard=False) for key in (HOST, ZONE)],
                "terminationGracePeriodSeconds": 10,
                "containers": [container],
                "volumes": [_gateway_files(settings, files), _memory("run"), _memory("tmp")],
            },
        },
    }


def node_service(node: Node, labels: Labels) -> Manifest:
    """The node's own address. It leads to the node in whatever state: peers must reach one that is not ready."""
    return {
        "type": "ClusterIP",
        "publishNotReadyAddresses": True,
        "selector": labels.of(node.kind) | {POD_NAME: node.name},
        "ports": [{"name": "redis", "port": node.endpoint.port, "targetPort": node.endpoint.port}],
    }


def headless_service(kind: Kind, port: int, settings: Settings, labels: Labels) -> Manifest:
    """What a StatefulSet wants for its pods' names, and Prometheus to find their exporters."""
    exporter = [{"name": METRICS, "port": EXPORTER_PORT}] if settings.exporter_image else []
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": labels.of(kind),
        "ports": [{"name": "redis", "port": port}, *exporter],
    }


def sentinel_service(port: int, labels: Labels) -> Manifest:
    """Any Sentinel that sees a quorum, for clients that want one address: one that is cut off leaves it."""
    return {"selector": labels.of(Kind.SENTINEL), "ports": [{"name": "sentinel", "port": port}]}


def gateway_service(settings: Settings, labels: Labels) -> Manifest:
    """The address that follows the master."""
    return {
        "selector": labels.of("gateway"),
        "ports": [
            {"name": "write", "port": settings.gateway_port},
            {"name": "read", "port": settings.gateway_read_port},
            {"name": STATISTICS, "port": settings.gateway_stats_port},
        ],
    }


def budget(selector: dict[str, str]) -> Manifest:
    """One at a time: of three data nodes a candidate stays, of three Sentinels the majority."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": selector}}


def once(name: str, image: str, command: Sequence[str]) -> Manifest:
    """What a pod is that runs a command and ends: no volume, no password."""
    container: Manifest = {"name": name, "image": image, "command": [*command]}
    container |= {"securityContext": BARE, "resources": _resources(EXPORTER_MIB)}
    return _OURS | {"restartPolicy": "Never", "containers": [container]}


def _pod(settings: Settings) -> Manifest:
    priority = {"priorityClassName": settings.priority_class} if settings.priority_class else {}
    return priority | _OURS


UNPRIVILEGED: Manifest = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}

"""What every pod is, whoever makes it."""
_OURS: Manifest = {"serviceAccountName": "redis"} | UNPRIVILEGED

BARE: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The security context of every container."""


def script(name: str, *arguments: str) -> list[str]:
    """The command that runs a node script in a node's pod."""
    return ["/bin/sh", f"{BIN}/{name}", NODE_ENV, *arguments]


def _server(kind: Kind, settings: Settings) -> Manifest:
    data = kind is Kind.DATA
    memory = 2 * bytes_of(settings.maxmemory) // MIB + SPARE_MIB if data else SENTINEL_MIB
    # What a preStop prints, nobody gets to see: it goes into the container's log.
    script = ["/bin/sh", "-c", f"exec {BIN}/handover.sh {NODE_ENV} >/proc/1/fd/1 2>&1"]
    return {
        "name": "server",
        "image": settings.image,
        "command": ["/bin/sh", f"{BIN}/start.sh", NODE_ENV],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "securityContext": BARE,
        "resources": _resources(memory),
        # `alive` takes a node that loads, syncs or waits for the Sentinels for alive, so none is ever killed for it.
        "startupProbe": _probe("alive", period_s=1, failures=60),
        "livenessProbe": _probe("alive", period_s=10, failures=6),
        "readinessProbe": _probe("in_place", period_s=5, failures=2),
        # The master's role is gone before the server gets TERM. stop.sh would try again what failed here.
        **({"lifecycle": {"preStop": {"exec": {"command": script}}}} if data else {}),
        "volumeMounts": [
            # Of all nodes' files, its own.
            {"name": "conf", "mountPath": CONF, "subPathExpr": "$(POD_NAME)", "readOnly": True},
            {"name": "bin", "mountPath": BIN, "readOnly": True},
            {"name": "data", "mountPath": DATA},
            {"name": "run", "mountPath": RUN},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the container's own, in memory
        ],
    }


def _exporters(nodes: Sequence[Node], settings: Settings) -> list[Manifest]:
    if not settings.exporter_image:
        return []
    scheme, port = "rediss" if settings.tls else "redis", nodes[0].endpoint.port
    arguments = [
        f"--redis.addr={scheme}://127.0.0.1:{port}",
        "--redis.user=monitor",
        f"--redis.password-file=/secret/{EXPORTER_FILE}",
        f"--web.listen-address=:{EXPORTER_PORT}",
    ]
    # It asks its own pod, by a name that is in no certificate.
    arguments += ["--skip-tls-verification"] if settings.tls else []
    return [
        {
            "name": "exporter",
            "image": settings.exporter_image,
            "args": arguments,
            "ports": [{"name": METRICS, "containerPort": EXPORTER_PORT}],
            "securityContext": BARE,
            "resources": _resources(EXPORTER_MIB),
            "volumeMounts": [{"name": "exporter", "mountPath": "/secret", "readOnly": True}],
        }
    ]


def exporter_passwords(node: Node, settings: Settings) -> str:
    """redis_exporter's password file: by the address that it is told to ask, in newer releases with the user in it."""
    scheme, password = "rediss" if settings.tls else "redis", settings.credentials["monitor"].get_secret_value()
    address = f"127.0.0.1:{node.endpoint.port}"
    return json.dumps({f"{scheme}://{who}{address}": password for who in ("", "monitor@")})


def _probe(name: str, period_s: int, failures: int) -> Manifest:
    command = ["/bin/sh", f"{BIN}/probe.sh", NODE_ENV, name]
    return {
        "exec": {"command": command},
        "periodSeconds": period_s,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }


def _resources(memory_mib: int) -> Manifest:
    """What is requested is what is limited for memory; for the processor, a share and no limit."""
    memory = f"{memory_mib}Mi"
    return {"requests": {"cpu": "50m", "memory": memory}, "limits": {"memory": memory}}


def _spread(settings: Settings, selector: dict[str, str]) -> list[Manifest]:
    return [
        _evenly(HOST, selector, hard=settings.spread in ("hard", "hosts")),
        _evenly(ZONE, selector, hard=settings.spread == "hard"),
    ]


def _evenly(key: str, selector: dict[str, str], *, hard: bool) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }


def _projected(name: str, files: Files, *, folders: bool) -> Manifest:
    """A pod's files from a ConfigMap and a Secret. With `folders`, the key `data-0.node.env` is data-0/node.env."""

    def items(keys: Iterable[str]) -> list[Manifest]:
        return [{"key": key, "path": key.replace(".", "/", 1) if folders else key} for key in keys]

    sources = [
        {"configMap": {"name": files.plain, "items": items(files.plain_keys)}},
        {"secret": {"name": files.secret, "items": items(files.secret_keys)}},
    ]
    return {"name": name, "projected": {"defaultMode": 0o440, "sources": sources}}


def _gateway_files(settings: Settings, files: Files) -> Manifest:
    volume = _projected("conf", files, folders=False)
    if settings.canary:
        item = {"key": gateway.SHARE_FILE, "path": gateway.SHARE_FILE}
        volume["projected"]["sources"].append({"configMap": {"name": SHARE_MAP, "items": [item]}})
    return volume


def _memory(name: str) -> Manifest:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}
