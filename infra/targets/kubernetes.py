"""Target `kubernetes`: StatefulSets of data nodes and of Sentinels in a namespace of the stack's own.

Every node announces the address of a Service of its own, which outlives the pod. The cluster chooses that address, so
the plan is rendered with the Services' names, and before a text leaves for the cluster each name in it is replaced by
the address: no name is in anything that a Sentinel or a replica reads. See docs/architecture.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi.dynamic import Resource

from infra import firewall, gateway
from infra.contract import Endpoint, render_env
from infra.problems import ConfigurationError, Problem
from infra.settings import Settings
from infra.targets import cluster, monitors, pods, rollouts
from infra.targets.base import Deployment, gateway_program, gateway_programs, node_scripts
from infra.targets.convergence import asked_inside
from infra.targets.kubernetes_provider import ConvergenceProvider, ModeProvider, RolloutProvider, ShareProvider
from infra.targets.network_policies import policies
from infra.targets.pods import CONF, DATA, RUN, STACK_LABEL, Files, Labels
from infra.tls import CA_FILE
from infra.topology import Kind, Node, Topology

PORTS = {Kind.DATA: 6379, Kind.SENTINEL: 26379}
# Data nodes that every stack with Sentinels has.
FEWEST = 3
ANYWHERE = "0.0.0.0"  # noqa: S104  # a pod's address is known to the pod alone, and the policies guard it
LOCAL = "127.0.0.1"
CA_FOLDER = "/etc/redis-ca"
"""Where applications mount the ConfigMap `redis-ca`."""

# What to trust is in the contract as a file's name; these variables of it are no secrets.
SECRET_VARIABLES = ("REDIS_PASSWORD", "REDIS_SENTINEL_PASSWORD")

# An `up` that was killed has made objects that the state does not know: the next one takes them over.
ADOPT = {"pulumi.com/patchForce": "true"}

core, apps = kubernetes.core.v1, kubernetes.apps.v1


class _Convergence(Resource, module="kubernetes", name="Convergence"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ConvergenceProvider(), name, props, opts)


class _Rollout(Resource, module="kubernetes", name="Rollout"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(RolloutProvider(), name, props, opts)


class _Mode(Resource, module="kubernetes", name="Mode"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ModeProvider(), name, props, opts)


class _Share(Resource, module="kubernetes", name="Share"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ShareProvider(), name, props, opts)


class KubernetesTarget:
    """Runs the nodes in the namespace `namespace` of the cluster that kubeconfig and context name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._addresses: dict[str, pulumi.Output[str]] = {}

    def address(self, kind: Kind, index: int) -> Endpoint:
        return Endpoint(self._name(f"{kind}-{index}"), PORTS[kind])

    def gateway(self) -> str | None:
        return self._name("redis") if self._settings.gateway else None

    def listen(self, _node: Node) -> str:
        return ANYWHERE

    def aliases(self, host: str) -> Sequence[pulumi.Input[str]]:
        return (self._addresses[host], f"{host}.cluster.local")

    def resolve(self, texts: Mapping[str, str]) -> pulumi.Output[dict[str, str]]:
        return pulumi.Output.secret(self._resolved(texts))

    def _name(self, service: str) -> str:
        return f"{service}.{self._settings.namespace}.svc"

    def _resolved(self, texts: Mapping[str, str]) -> pulumi.Output[dict[str, str]]:
        return pulumi.Output.all(**self._addresses).apply(
            lambda addresses: {key: replace_all(text, addresses) for key, text in texts.items()}
        )

    def server(self) -> dict[str, str]:
        return {"image": self._settings.image} | _way(self._settings)

    def prepare(self, topology: Topology, parent: pulumi.Resource) -> None:
        self._stack = _Stack(topology, self._settings, parent)
        for node in topology.nodes:
            service = self._stack.service(node.name, str(node.kind), pods.node_service(node, self._stack.labels))
            self._addresses[node.endpoint.host] = service.spec.cluster_ip
        if name := self.gateway():
            service = self._stack.service("redis", "gateway", pods.gateway_service(self._settings, self._stack.labels))
            self._addresses[name] = service.spec.cluster_ip

    def check(self, stack: str) -> None:
        settings, remedy = self._settings, "set kubeconfig and kubeContext to the stack's cluster"
        way = settings.kubeconfig, settings.kube_context
        try:
            found = cluster.identity(*way)
            owner = cluster.label_of_namespace(*way, settings.namespace, STACK_LABEL)
        except cluster.ClusterError as error:
            expected = "a cluster that answers"
            raise ConfigurationError(stack, [Problem("kubeconfig", str(error), expected, remedy)]) from None
        problems = []
        if settings.cluster and found != settings.cluster:
            problems.append(Problem("cluster", f"the cluster {found}", f"{settings.cluster}, the stack's own", remedy))
        if owner not in ("", stack):
            theirs = f"{settings.namespace}, the namespace of stack {owner}"
            own = "set namespace to another one, or run `make down` of that stack first"
            problems.append(Problem("namespace", theirs, "a namespace that no other stack has", own))
        if problems:
            raise ConfigurationError(stack, problems)
        pulumi.export("cluster", found)

    def deploy(self, deployment: Deployment, parent: pulumi.Resource) -> None:  # noqa: ARG002  # `prepare` had it
        stack = self._stack
        stack.keep_mode()
        stack.policies()
        sets = [stack.nodes(Kind.DATA, self._node_files(deployment, Kind.DATA))]
        previous = [stack.rolled_out("StatefulSet", str(Kind.DATA), sets[0])]
        if deployment.topology.sentinels:
            sets.append(stack.nodes(Kind.SENTINEL, self._node_files(deployment, Kind.SENTINEL), after=previous))
            previous = [stack.rolled_out("StatefulSet", str(Kind.SENTINEL), sets[1])]
        stack.converged(sets, previous, self.resolve(asked_inside(deployment.contract)))
        if self._settings.gateway:
            stack.gateway(self._gateway_files(deployment), after=previous)
        stack.monitors(cluster.kinds(self._settings.kubeconfig, self._settings.kube_context, monitors.API))
        self._contract(deployment)

    def _node_files(self, deployment: Deployment, kind: Kind) -> _NodeFiles:
        """All files of the nodes of one kind, by `<node>.<file>`, as two objects that pods mount."""
        nodes = [node for node in deployment.topology.nodes if node.kind is kind]
        plain: dict[str, str] = {}
        where = {"CONF_DIR": CONF, "DATA_DIR": DATA, "RUN_DIR": RUN, "LOCAL_HOST": LOCAL}
        for node in nodes:
            for name, text in deployment.files[node.name].plain.items():
                plain[f"{node.name}.{name}"] = text + (render_env(where) if name == "node.env" else "")
        secrets = {node.name: deployment.secret_files(node.name) for node in nodes}
        secret = pulumi.Output.all(pulumi.Output.all(**secrets), pulumi.Output.all(**self._addresses)).apply(
            lambda both: {
                f"{node}.{name}": replace_all(text, both[1])
                for node, texts in both[0].items()
                for name, text in texts.items()
            }
        )
        tls = list(TLS_NAMES) if deployment.settings.tls else []
        names = {node.name: [*deployment.files[node.name].secret, *tls] for node in nodes}
        keys = [f"{node}.{name}" for node, files in names.items() for name in files]
        return _NodeFiles(nodes, self._resolved(plain), pulumi.Output.secret(secret), list(plain), keys)

    def _gateway_files(self, deployment: Deployment) -> _NodeFiles:
        topology, settings = deployment.topology, self._settings
        place = gateway.Place(ANYWHERE, f"{CONF}/{gateway_program().name}", CONF, RUN, f"{CONF}/{CA_FILE}")
        rendered = gateway.render(topology, settings, settings.credentials["monitor"].get_secret_value(), place)
        # The share is an object of its own: with it in this one, another share would be other pods.
        plain = {key: text for key, text in rendered.plain.items() if key != gateway.SHARE_FILE} | gateway_programs()
        secret = pulumi.Output.secret(rendered.secret)
        keys = list(rendered.secret)
        if settings.tls:
            trust = deployment.tls_files[topology.first_master.name].apply(lambda files: files[CA_FILE])
            secret = pulumi.Output.all(secret, trust).apply(lambda both: both[0] | {CA_FILE: both[1]})
            keys.append(CA_FILE)
        return _NodeFiles([], self._resolved(plain), secret, list(plain), keys)

    def _contract(self, deployment: Deployment) -> None:
        """What applications mount, in each of their namespaces, and what the smoke tests get in the stack's own."""
        contract, settings = deployment.contract, self._settings
        in_a_pod = {"REDIS_TLS_CA_FILE": f"{CA_FOLDER}/{CA_FILE}" if settings.tls else ""}
        variables = contract.application(standalone=settings.contract_mode == "standalone").to_env() | in_a_pod
        plain = self._resolved({key: text for key, text in variables.items() if key not in SECRET_VARIABLES})
        secret = pulumi.Output.secret({key: variables[key] for key in SECRET_VARIABLES})
        trust = None
        if settings.tls:
            files = deployment.tls_files[deployment.topology.first_master.name]
            trust = pulumi.Output.unsecret(files.apply(lambda texts: {CA_FILE: texts[CA_FILE]}))
        for namespace in (settings.namespace, *settings.contract_namespaces):
            self._stack.contract(namespace, plain, secret, trust)
        self._stack.operator_contract(self.resolve(contract.to_env() | in_a_pod))


TLS_NAMES = ("node.crt", "node.key", CA_FILE)


def replace_all(text: str, addresses: Mapping[str, str]) -> str:
    """The text with each name replaced by its address, where there is one: a first preview has none yet."""
    for name, address in addresses.items():
        text = text.replace(name, address or name)
    return text


class _NodeFiles:
    """Files on their way into a ConfigMap and a Secret. Keys are known when contents are not yet."""

    def __init__(
        self,
        nodes: Sequence[Node],
        plain: pulumi.Output[dict[str, str]],
        secret: pulumi.Output[dict[str, str]],
        plain_keys: Sequence[str],
        secret_keys: Sequence[str],
    ) -> None:
        self.nodes, self.plain, self.secret = nodes, plain, secret
        self.plain_keys, self.secret_keys = plain_keys, secret_keys


class _Stack:
    """Declares the objects of one stack."""

    def __init__(self, topology: Topology, settings: Settings, parent: pulumi.Resource) -> None:
        self.topology, self.settings = topology, settings
        self.labels = Labels(topology.stack)
        provider = kubernetes.Provider(
            "kubernetes",
            kubeconfig=settings.kubeconfig or None,
            context=settings.kube_context or None,
            opts=pulumi.ResourceOptions(parent=parent),
        )
        self.base = pulumi.ResourceOptions(parent=parent, provider=provider)
        # What holds the data and the identity, in every shape of the stack. An update may replace the rest.
        self.kept = pulumi.ResourceOptions(protect=settings.protect)
        self.dynamic = pulumi.ResourceOptions(parent=parent)
        self.namespace = core.Namespace(
            "namespace",
            metadata={
                "name": settings.namespace,
                "annotations": ADOPT,
                "labels": self.labels.all("namespace")
                | {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")},
            },
            opts=pulumi.ResourceOptions.merge(self.base, self.kept),
        )
        self.inside = _after(self.base, [self.namespace])
        self.account = core.ServiceAccount(
            "redis",
            metadata=self._metadata("redis", "node"),
            automount_service_account_token=False,
            opts=self.inside,
        )
        self.scripts = self._immutable("scripts", "node", pulumi.Output.from_input(node_scripts()))
        self.services: list[pulumi.Resource] = []

    def _metadata(self, name: pulumi.Input[str], component: str, *, wait: bool = True) -> dict[str, Any]:
        """`wait`: whether the engine waits until the object is in use."""
        return {
            "name": name,
            "namespace": self.settings.namespace,
            "labels": self.labels.all(component),
            "annotations": ADOPT if wait else ADOPT | {"pulumi.com/skipAwait": "true"},
        }

    def _immutable(self, name: str, component: str, texts: pulumi.Output[dict[str, str]]) -> Any:
        """A ConfigMap whose name tells its content: who mounts another content is another pod."""
        named = texts.apply(lambda content: f"{name}-{_digest(content)[:10]}")
        return core.ConfigMap(
            name, metadata=self._metadata(named, component), data=texts, immutable=True, opts=self.inside
        )

    def _immutable_secret(self, name: str, component: str, texts: pulumi.Output[dict[str, str]]) -> Any:
        # A digest of passwords of many characters tells nobody what they are, and has to be seen to name the object.
        named = pulumi.Output.unsecret(texts.apply(lambda content: f"{name}-{_digest(content)[:10]}"))
        return core.Secret(
            name, metadata=self._metadata(named, component), string_data=texts, immutable=True, opts=self.inside
        )

    def service(self, name: str, component: str, spec: dict[str, Any]) -> Any:
        # That nobody is behind a Service yet is no reason to wait: its address is what is wanted.
        metadata = self._metadata(name, component, wait=False)
        made = core.Service(name, metadata=metadata, spec=spec, opts=self.inside)
        self.services.append(made)
        return made

    def policies(self) -> None:
        """Who may talk to whom. Registered before the pods: nobody reaches one before it is known who may."""
        if not self.settings.firewall:
            return
        ports = (self.settings.gateway_port, self.settings.gateway_read_port)
        canary = (
            (Endpoint.parse(self.settings.canary).port, self.settings.canary_read_port) if self.settings.canary else ()
        )
        in_front = firewall.Gateway(ANYWHERE, ports, self.settings.gateway_stats_port, canary)
        present = {firewall.Group.DATA, firewall.Group.CLIENTS}
        present |= {firewall.Group.SENTINELS} if self.topology.sentinels else set()
        present |= {firewall.Group.GATEWAY} if self.settings.gateway else set()
        present |= {firewall.Group.CANARY} if canary else set()
        present |= {firewall.Group.MONITORING} if self.settings.monitoring or self.settings.monitoring_pods else set()
        allowed = firewall.rules(self.topology, in_front if self.settings.gateway else None, present)
        for name, spec in policies(allowed, self.settings).items():
            made = kubernetes.networking.v1.NetworkPolicy(
                f"policy-{name}",
                metadata=self._metadata(name, "policy"),
                spec=spec,
                opts=self.inside,
            )
            self.services.append(made)

    def keep_mode(self) -> None:
        """Refuses another mode than before, and leaves everything that is declared after it as it is."""
        props = _way(self.settings) | {"mode": self.topology.mode}
        self.inside = _after(self.inside, [_Mode("mode", props, self.dynamic)])

    def nodes(self, kind: Kind, files: _NodeFiles, after: Sequence[pulumi.Resource] = ()) -> Any:
        """The StatefulSet of one kind, with its volumes and its disruption budget."""
        name, settings = str(kind), self.settings
        plain = self._immutable(f"{name}-conf", name, files.plain)
        secret = self._immutable_secret(f"{name}-secret", name, files.secret)
        exporter = None
        if settings.exporter_image:
            passwords = pods.exporter_passwords(files.nodes[0], settings)
            texts = pulumi.Output.secret({pods.EXPORTER_FILE: passwords})
            exporter = self._immutable_secret(f"{name}-exporter", name, texts).metadata.name
        mounted = Files(
            plain.metadata.name,
            secret.metadata.name,
            files.plain_keys,
            files.secret_keys,
            self.scripts.metadata.name,
            exporter,
        )
        spec = pods.node_set(kind, files.nodes, settings, self.labels, mounted)
        headless = pods.headless_service(kind, PORTS[kind], settings, self.labels)
        self.service(name, name, headless)
        if kind is Kind.SENTINEL:
            self.service("sentinels", name, pods.sentinel_service(PORTS[kind], self.labels))
        self._budget(name)
        template = spec["volumeClaimTemplates"][0]
        claims = [
            self._claim(f"data-{node.name}", name, template["spec"], kept=kind is Kind.DATA and node.index < FEWEST)
            for node in files.nodes
        ]
        return apps.StatefulSet(
            name,
            metadata=self._awaited_by_us(name, name),
            spec=spec,
            opts=_after(self.inside, [self.account, plain, secret, *claims, *self.services, *after]),
        )

    def rolled_out(self, kind: str, name: str, made: Any) -> pulumi.Resource:
        """The wait until its pods are new and ready, or something is known to keep them from it."""
        return _Rollout(
            f"{name}-rollout",
            _way(self.settings) | {"kind": kind, "name": name, "trigger": _changed([made])},
            _after(self.dynamic, [made]),
        )

    def _awaited_by_us(self, name: str, component: str) -> dict[str, Any]:
        metadata = self._metadata(name, component)
        return metadata | {"annotations": metadata["annotations"] | rollouts.NO_WAIT}

    def _claim(self, name: str, component: str, spec: dict[str, Any], *, kept: bool) -> Any:
        """A pod's volume: declared by itself, so that it outlives a replaced StatefulSet, and `down` ends it."""
        # It is bound when a pod comes that wants it.
        metadata = self._metadata(name, component, wait=False)
        metadata["labels"] = self.labels.of(component)
        opts = pulumi.ResourceOptions.merge(self.inside, self.kept) if kept else self.inside
        return core.PersistentVolumeClaim(name, metadata=metadata, spec=spec, opts=opts)

    def _budget(self, component: str) -> None:
        kubernetes.policy.v1.PodDisruptionBudget(
            f"{component}-budget",
            metadata=self._metadata(component, component),
            spec=pods.budget(self.labels.of(component)),
            opts=self.inside,
        )

    def gateway(self, files: _NodeFiles, after: Sequence[pulumi.Resource]) -> None:
        plain = self._immutable("gateway-conf", "gateway", files.plain)
        secret = self._immutable_secret("gateway-secret", "gateway", files.secret)
        mounted = Files(plain.metadata.name, secret.metadata.name, files.plain_keys, files.secret_keys)
        self._budget("gateway")
        needed = [self.account, plain, secret, *self.services, *after]
        if self.settings.canary:
            share = {"stack": self.topology.stack, "percent": self.settings.canary_share}
            # It lives in the namespace, and `down` ends it before.
            needed.append(_Share("share", _way(self.settings) | share, _after(self.dynamic, [self.namespace])))
        made = apps.Deployment(
            "gateway",
            metadata=self._awaited_by_us("gateway", "gateway"),
            spec=pods.gateway_deployment(self.settings, self.labels, mounted),
            opts=_after(self.inside, needed),
        )
        self.rolled_out("Deployment", "gateway", made)

    def monitors(self, served: Collection[str]) -> None:
        """For the Prometheus operator, where it is: of these kinds, those that the cluster serves."""
        wanted = {
            "ServiceMonitor": monitors.service_monitor(self.settings, self.labels),
            "PrometheusRule": monitors.prometheus_rule(self.settings),
        }
        for kind, spec in wanted.items():
            if spec and kind in served:
                kubernetes.apiextensions.CustomResource(
                    kind.lower(),
                    api_version=monitors.API,
                    kind=kind,
                    metadata=self._metadata("redis", "monitoring"),
                    spec=spec,
                    opts=self.inside,
                )

    def converged(
        self, sets: Sequence[Any], after: Sequence[pulumi.Resource], contract: pulumi.Output[dict[str, str]]
    ) -> None:
        """The last step: every node sees exactly what is declared."""
        _Convergence(
            "convergence",
            _way(self.settings)
            | {
                "contract": contract,
                "sentinels": [node.name for node in self.topology.sentinels],
                "trigger": _changed(sets),
            },
            _after(self.dynamic, after),
        )

    def contract(self, namespace: str, plain: Any, secret: Any, trust: Any) -> None:
        """redis-contract, for `envFrom`; under TLS redis-ca, to be mounted at CA_FOLDER."""
        suffix = "" if namespace == self.settings.namespace else f"-{namespace}"
        metadata = self._metadata("redis-contract", "contract") | {"namespace": namespace}
        core.ConfigMap(f"contract{suffix}", metadata=metadata, data=plain, opts=self.inside)
        core.Secret(f"contract-secret{suffix}", metadata=metadata, string_data=secret, opts=self.inside)
        if trust is not None:
            metadata = self._metadata("redis-ca", "contract") | {"namespace": namespace}
            core.ConfigMap(f"ca{suffix}", metadata=metadata, data=trust, opts=self.inside)

    def operator_contract(self, variables: pulumi.Output[dict[str, str]]) -> None:
        """For the smoke tests and who repairs: in the stack's namespace only."""
        metadata = self._metadata("redis-operator-contract", "contract")
        core.Secret("operator-contract", metadata=metadata, string_data=variables, opts=self.inside)


def _after(base: pulumi.ResourceOptions, resources: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(base, pulumi.ResourceOptions(depends_on=list(resources)))


def _changed(workloads: Sequence[Any]) -> pulumi.Output[str]:
    """Another value when one of them becomes another, or its pods do."""
    return pulumi.Output.all(
        *(part for each in workloads for part in (each.id, each.spec.replicas, each.spec.template))
    ).apply(_digest)


def _digest(of: Any) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()


def _way(settings: Settings) -> dict[str, str]:
    """Where the stack is, for a provider that asks the cluster itself."""
    return {"kubeconfig": settings.kubeconfig, "context": settings.kube_context, "namespace": settings.namespace}
