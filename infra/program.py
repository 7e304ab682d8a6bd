"""Composition root: reads the settings, plans, hands the plan to the stack's target, registers the outputs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

import pulumi
from pulumi.dynamic import Resource
from pydantic import SecretStr

from infra import credentials
from infra.contract import OPERATOR_USERS, Endpoint, NodeAddress, OperatorContract
from infra.node_config import render
from infra.problems import ConfigurationError
from infra.settings import TOLD, Settings, load, stop
from infra.targets.base import Deployment, Target, stack_folder
from infra.targets.identity_provider import IdentityProvider
from infra.targets.servers import NoServerFound
from infra.tls import CA_FILE, tls_files
from infra.topology import Topology, plan


def _process(settings: Settings) -> Target:
    from infra.targets.process import ProcessTarget

    return ProcessTarget(settings)


def _docker(settings: Settings) -> Target:
    from infra.targets.docker import DockerTarget

    return DockerTarget(settings)


def _kubernetes(settings: Settings) -> Target:
    from infra.targets.kubernetes import KubernetesTarget

    return KubernetesTarget(settings)


# Each is imported where it is wanted: a provider's SDK takes a second or two, and wants its plugin.
TARGETS: Mapping[str, Callable[[Settings], Target]] = {
    "process": _process,
    "docker": _docker,
    "kubernetes": _kubernetes,
}


class Identity(Resource, module="stack", name="Identity"):
    """What a running stack keeps: refuses what nobody could take over, before anything is touched."""

    def __init__(
        self, topology: Topology, settings: Settings, server: Mapping[str, str], opts: pulumi.ResourceOptions
    ) -> None:
        accepted = {user: [each.get_secret_value() for each in secrets] for user, secrets in settings.accepted.items()}
        props = dict(server) | {
            "stack": topology.stack,
            "mode": topology.mode,
            "master_name": topology.master_name,
            "passwords": credentials.sealed(dict(credentials.passwords(settings))),
            "accepted": credentials.sealed(accepted),
        }
        super().__init__(IdentityProvider(), "identity", props, opts)

    def allow(self, texts: pulumi.Output[dict[str, str]]) -> pulumi.Output[dict[str, str]]:
        """The texts, once nothing was refused."""
        return pulumi.Output.all(texts, self.urn).apply(lambda both: both[0])


class RedisSentinel(pulumi.ComponentResource):
    """A highly available Redis: every node of one stack, on the target that the settings name."""

    def __init__(self, name: str, stack: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        target = TARGETS[settings.target](settings)
        target.check(stack)
        self._identity: pulumi.Resource | None = None
        after = pulumi.ResourceOptions(transformations=[self._after_identity])
        super().__init__("redis-sentinel:index:RedisSentinel", name, None, pulumi.ResourceOptions.merge(after, opts))
        topology = plan(stack, settings, target.address)
        opts = pulumi.ResourceOptions(parent=self, protect=settings.protect)
        identity = self._identity = Identity(topology, settings, target.server(), opts)
        target.prepare(topology, parent=self)
        passwords = credentials.passwords(settings)
        files = {node.name: render(node, topology, settings, passwords, target.listen(node)) for node in topology.nodes}
        gateway = target.gateway()
        contract = operator_contract(topology, settings, passwords, gateway)
        tls = tls_files(topology, settings, contract.tls_ca_file, target.aliases, parent=self, gateway=gateway)
        target.deploy(Deployment(topology, settings, files, contract, tls), parent=self)
        application = contract.application(standalone=settings.contract_mode == "standalone")
        # What was refused is told to nobody.
        self.contract = identity.allow(target.resolve(application.to_env()))
        self.operator_contract = identity.allow(target.resolve(contract.to_env()))
        self.register_outputs({"contract": self.contract, "operatorContract": self.operator_contract})

    def _after_identity(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Every resource of the component, whoever declares it, depends on the stack's identity."""
        if self._identity is None:
            return None
        after = pulumi.ResourceOptions(depends_on=[self._identity])
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, after))


def operator_contract(
    topology: Topology, settings: Settings, passwords: Mapping[str, str], gateway: str | None = None
) -> OperatorContract:
    """The contract that this topology keeps. Its standalone address is the gateway's, else the first node's."""
    first = Endpoint(gateway, settings.gateway_port) if gateway else topology.first_master.endpoint
    return OperatorContract(
        sentinel_enabled=topology.mode == "sentinel",
        master_name=topology.master_name,
        sentinels=tuple(node.endpoint for node in topology.sentinels),
        username="app",
        password=SecretStr(passwords["app"]),
        sentinel_username="app",
        sentinel_password=SecretStr(passwords["app"]),
        tls=settings.tls,
        tls_ca_file=stack_folder(topology.stack) / CA_FILE if settings.tls else None,
        host=first.host,
        port=first.port,
        stack=topology.stack,
        nodes=tuple(NodeAddress(node.name, node.endpoint) for node in topology.data),
        quorum=topology.quorum,
        down_after_ms=settings.down_after_ms,
        min_replicas_to_write=settings.min_replicas_to_write if topology.mode == "sentinel" else 0,
        users={user: SecretStr(passwords[user]) for user in OPERATOR_USERS},
    )


def main() -> None:
    """The Pulumi program."""
    # The engine interrupts a program that still waits for a resource when another one failed, and says itself what
    # failed. Python would add a traceback of the waiting. There is nothing to tidy up: all work is the engine's.
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(TOLD))
    stack = pulumi.get_stack()
    try:
        redis = RedisSentinel(f"redis-{stack}", stack, load())
    except (ConfigurationError, NoServerFound) as error:
        stop(error)
    pulumi.export("contract", redis.contract)
    pulumi.export("operatorContract", redis.operator_contract)
