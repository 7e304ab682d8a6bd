"""Target `process`: every node is a process of this machine, on loopback. For development and tests."""

from __future__ import annotations

import hashlib
import json
import re
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.contract import Endpoint, render_env
from infra.problems import ConfigurationError, Problem
from infra.settings import Settings
from infra.targets.base import Deployment, FixedAddresses, node_scripts, stack_folder
from infra.targets.process_provider import ConvergenceProvider, NodeProvider
from infra.targets.servers import TLS_REMEDY, Servers, find_servers
from infra.topology import Kind, Node

LOOPBACK = "127.0.0.1"
PLAIN_PATH = re.compile(r"[\w._/+@%=:,-]+")
# Files that a server keeps for itself.
RESERVED_FILES = 32


class _Node(Resource, module="process", name="Node"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(NodeProvider(), name, props, opts)


class _Convergence(Resource, module="process", name="Convergence"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ConvergenceProvider(), name, props, opts)


class ProcessTarget(FixedAddresses):
    """Runs the nodes as processes; folders under $REDIS_STATE_DIR (default .state)/nodes/<stack>."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ports = {Kind.DATA: settings.data_port, Kind.SENTINEL: settings.sentinel_port}

    def address(self, kind: Kind, index: int) -> Endpoint:
        return Endpoint(LOOPBACK, self._ports[kind] + index)

    def gateway(self) -> str | None:
        return None

    def check(self, stack: str) -> None:
        servers = self._servers = find_servers()
        if self._settings.tls and not servers.tls:
            found = f"true, but {servers.server} ({servers.source}) is built without TLS"
            raise ConfigurationError(stack, [Problem("tls", found, "a server and a CLI with TLS", TLS_REMEDY)])
        _check_path(stack, stack_folder(stack))
        _tell_how_many_fit(stack, self._settings.maxclients)

    def server(self) -> dict[str, str]:
        return {"engine": f"{self._servers.flavour} {self._servers.version}"}

    def deploy(self, deployment: Deployment, parent: pulumi.Resource) -> None:
        scripts = node_scripts()
        home = stack_folder(deployment.topology.stack)
        previous: list[pulumi.Resource] = []
        everything = []
        # One at a time, and the first node, which is the likely master, after the replicas: an update then causes one
        # handover in the usual case. What depends on others is deleted before them: when all goes, the Sentinels go
        # first, and no data node hands over to one that is about to go too.
        for node in (*reversed(deployment.topology.data), *deployment.topology.sentinels):
            props = node_properties(node, deployment, home / node.name, self._servers, scripts)
            everything.append(props)
            # Of the nodes, the one that every shape of the stack has.
            protect = deployment.settings.protect and node == deployment.topology.data[0]
            opts = pulumi.ResourceOptions(parent=parent, depends_on=previous, protect=protect)
            previous = [_Node(node.name, props | {"secret_files": deployment.secret_files(node.name)}, opts)]
        _Convergence(
            "convergence",
            {
                "contract": pulumi.Output.secret(deployment.contract.to_env()),
                "folders": [props["folder"] for props in everything],
                "digest": pulumi.Output.all(everything, *deployment.tls_files.values()).apply(_digest),
            },
            pulumi.ResourceOptions(parent=parent, depends_on=previous),
        )


def node_properties(
    node: Node, deployment: Deployment, folder: Path, servers: Servers, scripts: dict[str, str]
) -> dict[str, Any]:
    """A node's inputs for NodeProvider, secrets in the clear."""
    files = deployment.files[node.name]
    where = {
        "CONF_DIR": str(folder / "conf"),
        "DATA_DIR": str(folder / "data"),
        "RUN_DIR": str(folder / "run"),
        "SERVER": str(servers.server),
        "CLI": str(servers.cli),
    }
    plain = dict(files.plain)
    plain["node.env"] += render_env(where)
    return {"folder": str(folder), "files": plain, "secret_files": files.secret, "scripts": scripts}


def _tell_how_many_fit(stack: str, wanted: int) -> None:
    """A server takes as many clients as it may open files. It raises its own limit as far as the hard one allows."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files >= wanted + RESERVED_FILES:
        return
    pulumi.log.warn(
        f"stack '{stack}': maxclients {wanted}, but {max(files - RESERVED_FILES, 0)} fit on each node, its peers among "
        f"them, for this user may open {files} files\n"
        f"  fix: ulimit -n {wanted + RESERVED_FILES} in the shell that starts the nodes"
    )


def _check_path(stack: str, folder: Path) -> None:
    """Sentinel writes a path into its file as it is, and the CLI's options are words: a blank would end both."""
    if PLAIN_PATH.fullmatch(str(folder)):
        return
    remedy = "name another folder in REDIS_STATE_DIR, or move the project"
    expected = "a path of letters, digits and ._/+@%=:,- alone"
    raise ConfigurationError(stack, [Problem("REDIS_STATE_DIR", repr(str(folder)), expected, remedy)])


def _digest(of: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
