"""Target `docker`: every node is a container of one engine, with a fixed address on a network of the stack's own.

No name is in anything that a Sentinel or a replica reads: a container that vanishes takes its name with it, and a
Sentinel that waits for a resolver does nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pulumi
import pulumi_docker as docker
from pulumi.dynamic import Resource

from infra import firewall, gateway
from infra.contract import Endpoint, render_env
from infra.setting_rules import bytes_of
from infra.settings import Settings
from infra.targets import docker_firewall, nftables
from infra.targets.base import Deployment, FixedAddresses, gateway_program, gateway_programs, node_scripts
from infra.targets.convergence import asked_inside
from infra.targets.docker_control import BIN, CONF, DATA, FILES, NODE_ENV, RUN, STOP_TIMEOUT_S, UID
from infra.targets.docker_firewall import FirewallProvider
from infra.targets.docker_provider import (
    ConvergenceProvider,
    FilesProvider,
    GatewayFilesProvider,
    ImageProvider,
    ReadyProvider,
)
from infra.tls import CA_FILE
from infra.topology import Kind, Node, Topology

PORTS = {Kind.DATA: 6379, Kind.SENTINEL: 26379}
# Addresses in the stack's network: the host is .1, the gateway .5; clients get theirs from the upper half.
GATEWAY = 5
FIRST = {Kind.DATA: 10, Kind.SENTINEL: 30}
# As many as the settings allow: so many addresses are a stack's own, whether a node has them now or not.
MOST = {Kind.DATA: 9, Kind.SENTINEL: 7}

# `bash -c`: asks the gateway's /health. Its image has no client for HTTP, and needs none for this.
_ALIVE = r"""exec 3<>"/dev/tcp/$1/$2" && printf 'GET /health HTTP/1.0\r\n\r\n' >&3 && grep -q ' 200 ' <&3"""

_NAME_IS_UNIQUE = pulumi.ResourceOptions(delete_before_replace=True)

MIB = 1024 * 1024
# A data node needs room beside its data for copy-on-write while it saves, and for the replicas' buffers.
SPARE_MIB = 64
SENTINEL_MIB = 64
GATEWAY_MIB = 128


class _Files(Resource, module="docker", name="Files"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(FilesProvider(), name, props, opts)


class _GatewayFiles(Resource, module="docker", name="GatewayFiles"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(GatewayFilesProvider(), name, props, opts)


class _Image(Resource, module="docker", name="Image"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ImageProvider(), name, props, opts)


class _Firewall(Resource, module="docker", name="Firewall"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(FirewallProvider(), name, props, opts)


class _Ready(Resource, module="docker", name="Ready"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ReadyProvider(), name, props, opts)


class _Convergence(Resource, module="docker", name="Convergence"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ConvergenceProvider(), name, props, opts)


class DockerTarget(FixedAddresses):
    """Runs the nodes on the engine at `dockerHost` (the environment's when that is empty)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._network = ip_network(settings.subnet)

    def address(self, kind: Kind, index: int) -> Endpoint:
        return Endpoint(str(self._network[FIRST[kind] + index]), PORTS[kind])

    def gateway(self) -> str | None:
        return str(self._network[GATEWAY]) if self._settings.gateway else None

    def server(self) -> dict[str, str]:
        return {"host": self._settings.docker_host, "image": self._settings.image}

    def reserved(self, kind: Kind) -> tuple[Node, ...]:
        """Every node of this kind that there can be."""
        return tuple(Node(kind, index, self.address(kind, index)) for index in range(MOST[kind]))

    def aliases(self, host: str) -> Sequence[pulumi.Input[str]]:
        published = self._settings.gateway_publish
        return [Endpoint.parse(published).host] if published and host == self.gateway() else []

    def deploy(self, deployment: Deployment, parent: pulumi.Resource) -> None:
        stack = _Stack(deployment, parent, self.gateway())
        network = stack.network(str(self._network))
        # Rules before nodes: nobody reaches one before it is known who may. They are the same for every number of
        # nodes: a node that goes must be able to hand over, and to say that it goes, until it is gone.
        widest = replace(deployment.topology, data=self.reserved(Kind.DATA), sentinels=self.reserved(Kind.SENTINEL))
        images = stack.images()
        previous: list[pulumi.Resource] = [*images, *(stack.firewall(widest) if self._settings.firewall else [])]
        containers: list[docker.Container] = []
        # One at a time, the first node after the replicas: see ProcessTarget.
        for node in (*reversed(deployment.topology.data), *deployment.topology.sentinels):
            container, ready = stack.node(node, network, previous)
            containers.append(container)
            previous = [ready]
        converged = stack.converged(containers, previous)
        if self._settings.gateway:
            # Last: it would not find a master that is about to move from a node that goes.
            stack.gateway_container(network, [converged])


class _Stack:
    """Declares the parts of one stack."""

    def __init__(self, deployment: Deployment, parent: pulumi.Resource, gateway: str | None) -> None:
        self.deployment = deployment
        self.gateway = gateway
        self.settings = deployment.settings
        publish = self.settings.gateway_publish
        self.published = Endpoint.parse(publish) if publish else None
        self.prefix = f"redis-{deployment.topology.stack}"
        self.labels = [docker.ContainerLabelArgs(label="redis-sentinel.stack", value=deployment.topology.stack)]
        host = self.settings.docker_host or None
        provider = docker.Provider("docker", host=host, opts=pulumi.ResourceOptions(parent=parent))
        self.base = pulumi.ResourceOptions(parent=parent, provider=provider)
        # What holds the data and the identity, in every shape of the stack. An update may replace the rest.
        self.kept = pulumi.ResourceOptions.merge(self.base, pulumi.ResourceOptions(protect=self.settings.protect))
        self.dynamic = pulumi.ResourceOptions(parent=parent)

    def images(self) -> list[pulumi.Resource]:
        """All images, before the first container is replaced: a node that is gone is no place to see that one lacks."""
        wanted = {"image": self.settings.image}
        if self.settings.gateway:
            wanted["gatewayImage"] = self.settings.gateway_image
        return [
            _Image(setting, {"host": self.settings.docker_host, "setting": setting, "image": image}, self.dynamic)
            for setting, image in wanted.items()
        ]

    def network(self, subnet: str) -> docker.Network:
        """The stack's network. Containers that join it without an address of their own get one of the upper half."""
        upper_half = list(ip_network(subnet).subnets())[1]
        return docker.Network(
            "network",
            name=self.prefix,
            # The gateway is named because the engine, once restarted, tells another one than it uses.
            ipam_configs=[
                docker.NetworkIpamConfigArgs(
                    subnet=subnet, ip_range=str(upper_half), gateway=str(ip_network(subnet)[1])
                )
            ],
            opts=self.kept,
        )

    def firewall(self, topology: Topology) -> list[pulumi.Resource]:
        """The host's rules, and the container that loads them again after the host's start."""
        settings = self.settings
        gateway = None
        if self.gateway:
            ports = (settings.gateway_port, settings.gateway_read_port)
            canary = (Endpoint.parse(settings.canary).port, settings.canary_read_port) if settings.canary else ()
            gateway = firewall.Gateway(self.gateway, ports, settings.gateway_stats_port, canary)
        rules = firewall.plan(topology, settings, gateway)
        published, words = [], firewall.describe(rules)
        if self.published:
            host, port = self.published.host, self.published.port
            published = [nftables.Published(firewall.Group.GATEWAY, settings.gateway_port, port, host)]
            words.append(f"published: {self.published} leads to gateway TCP {settings.gateway_port}, by these rules")
        script, table = nftables.script(rules, published), nftables.table_name(topology.stack)
        loaded = _Firewall(
            "firewall",
            {
                "host": settings.docker_host,
                "image": settings.firewall_image,
                "table": table,
                "script": script,
                "rules": words,
            },
            self.dynamic,
        )
        guard = docker.Container(
            "firewall-guard",
            name=f"{self.prefix}-firewall",
            image=settings.firewall_image,
            labels=self.labels,
            opts=_after(pulumi.ResourceOptions.merge(self.base, _NAME_IS_UNIQUE), [loaded]),
            **docker_firewall.guard(script, table),
        )
        return [loaded, guard, self._ready("firewall", guard, "runs")]

    def gateway_container(self, network: docker.Network, after: Sequence[pulumi.Resource]) -> None:
        """The address that follows the master: infra/gateway.py, in a container as bare as a node's."""
        topology, settings = self.deployment.topology, self.settings
        name = f"{self.prefix}-gateway"
        place = gateway.Place(str(self.gateway), f"{CONF}/{gateway_program().name}", CONF, RUN, f"{CONF}/{CA_FILE}")
        password = settings.credentials["monitor"].get_secret_value()
        rendered = gateway.render(topology, settings, password, place)
        volume = docker.Volume("gateway-files", name=f"{name}-files", opts=self.base)
        secret = pulumi.Output.secret(rendered.secret)
        if settings.tls:
            trust = self.deployment.tls_files[topology.first_master.name].apply(lambda files: files[CA_FILE])
            secret = pulumi.Output.all(secret, trust).apply(lambda both: both[0] | {CA_FILE: both[1]})
        files = _GatewayFiles(
            "gateway-files",
            {
                "host": settings.docker_host,
                "image": settings.gateway_image,
                "container": name,
                "volumes": {FILES: f"{name}-files"},
                "files": rendered.plain | gateway_programs(),
                "secret_files": secret,
                "scripts": {},
            },
            _after(self.dynamic, [volume, *after]),
        )
        container = docker.Container(
            "gateway",
            name=name,
            image=settings.gateway_image,
            entrypoints=["haproxy", "-W", "-db", "-f", f"{CONF}/{gateway.CONFIGURATION}"],
            command=[],
            volumes=[docker.ContainerVolumeArgs(volume_name=f"{name}-files", container_path=FILES, read_only=True)],
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=network.name, ipv4_address=self.gateway)],
            ports=self._ports(),
            healthcheck=_healthcheck("bash", "-c", _ALIVE, "health", place.host, str(settings.gateway_stats_port)),
            memory=GATEWAY_MIB,
            memory_swap=GATEWAY_MIB,
            destroy_grace_seconds=5,
            # It listens below 1024 nowhere, and needs no right.
            **self._hardened(),
            opts=_after(pulumi.ResourceOptions.merge(self.base, _NAME_IS_UNIQUE), [files]),
        )
        self._ready("gateway", container, "runs")

    def _ports(self) -> list[docker.ContainerPortArgs] | None:
        """What Docker publishes, and the firewall's rules decide on: the gateway's port to the master, if at all."""
        if not self.published:
            return None
        inside, outside = self.settings.gateway_port, self.published
        return [docker.ContainerPortArgs(internal=inside, external=outside.port, ip=outside.host, protocol="tcp")]

    def _hardened(self) -> dict[str, Any]:
        """What every long-running container of the stack has in common."""
        return {
            "user": f"{UID}:{UID}",
            "read_only": True,
            "tmpfs": {RUN: f"rw,nosuid,nodev,noexec,size=1m,mode=0700,uid={UID},gid={UID}", "/tmp": "rw,size=1m"},  # noqa: S108
            "capabilities": docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            "security_opts": ["no-new-privileges:true"],
            # Not `unless-stopped`: an engine that was killed takes what it finds ended for stopped by somebody.
            "restart": "always",
            "log_driver": "json-file",
            "log_opts": {"max-size": "10m", "max-file": "3"},
            "labels": self.labels,
            # A node that was killed is started again by its `Ready`; with must_run it would be created a second time.
            "must_run": False,
        }

    def node(
        self, node: Node, network: docker.Network, previous: Sequence[pulumi.Resource]
    ) -> tuple[docker.Container, _Ready]:
        """A node's volumes, files and container, and the wait until it has its place."""
        name = f"{self.prefix}-{node.name}"
        kept = self.kept if node == self.deployment.topology.data[0] else self.base
        data = docker.Volume(f"{node.name}-data", name=f"{name}-data", opts=kept)
        files = docker.Volume(f"{node.name}-files", name=f"{name}-files", opts=self.base)
        content = _Files(
            f"{node.name}-files",
            self._files(node, name),
            _after(self.dynamic, [data, files, *previous]),
        )
        container = self._container(node, name, network, [content])
        return container, self._ready(node.name, container, "settled")

    def _ready(self, name: str, container: docker.Container, probe: str) -> _Ready:
        """The wait until a container has its place; brings it back when it was killed."""
        props = {
            "host": self.settings.docker_host,
            "containers": [f"{self.prefix}-{name}"],
            "probe": probe,
            "trigger": container.id,
        }
        return _Ready(f"{name}-ready", props, _after(self.dynamic, [container]))

    def converged(self, containers: Sequence[docker.Container], previous: Sequence[pulumi.Resource]) -> _Convergence:
        """The last step of the nodes: every one of them sees what is declared."""
        nodes = self.deployment.topology.nodes
        declared = [self._files(node, "") for node in nodes]
        return _Convergence(
            "convergence",
            {
                "host": self.settings.docker_host,
                "contract": pulumi.Output.secret(asked_inside(self.deployment.contract)),
                "containers": {node.name: f"{self.prefix}-{node.name}" for node in nodes},
                # Passwords belong to it: their change restarts no container, and every node has to take it.
                "trigger": pulumi.Output.all(*declared, *(container.id for container in containers)).apply(_digest),
            },
            _after(self.dynamic, previous),
        )

    def _files(self, node: Node, container: str) -> dict[str, Any]:
        rendered = self.deployment.files[node.name]
        where = {"CONF_DIR": CONF, "DATA_DIR": DATA, "RUN_DIR": RUN}
        plain = dict(rendered.plain)
        plain["node.env"] += render_env(where)
        return {
            "host": self.settings.docker_host,
            "image": self.settings.image,
            "container": container,
            "volumes": {FILES: f"{container}-files", DATA: f"{container}-data"},
            "files": plain,
            "secret_files": self.deployment.secret_files(node.name),
            "scripts": node_scripts(),
        }

    def _container(
        self, node: Node, name: str, network: docker.Network, after: Sequence[pulumi.Resource]
    ) -> docker.Container:
        memory = SENTINEL_MIB
        if node.kind is Kind.DATA:
            memory = 2 * bytes_of(self.settings.maxmemory) // MIB + SPARE_MIB
        return docker.Container(
            node.name,
            name=name,
            image=self.settings.image,
            entrypoints=["/bin/sh", f"{BIN}/start.sh", NODE_ENV],
            command=[],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=f"{name}-files", container_path=FILES, read_only=True),
                docker.ContainerVolumeArgs(volume_name=f"{name}-data", container_path=DATA),
            ],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=network.name, ipv4_address=node.endpoint.host)
            ],
            memory=memory,
            memory_swap=memory,
            **self._hardened(),
            stop_signal="SIGTERM",
            stop_timeout=STOP_TIMEOUT_S,
            destroy_grace_seconds=STOP_TIMEOUT_S,
            # `live` takes a node that loads or syncs for healthy.
            healthcheck=_healthcheck("/bin/sh", f"{BIN}/probe.sh", NODE_ENV, "live"),
            opts=_after(pulumi.ResourceOptions.merge(self.base, _NAME_IS_UNIQUE), after),
        )


def _healthcheck(*command: str) -> docker.ContainerHealthcheckArgs:
    """For `docker ps` and whoever reads it: the engine restarts no unhealthy container."""
    return docker.ContainerHealthcheckArgs(tests=["CMD", *command], interval="10s", timeout="5s", retries=3)


def _after(base: pulumi.ResourceOptions, resources: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(base, pulumi.ResourceOptions(depends_on=list(resources)))


def _digest(of: Any) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
