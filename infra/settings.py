"""The only reader of Pulumi's configuration: Pulumi.<stack>.yaml -> Settings, strict, every problem at once.

`parse` is pure and takes what Pulumi gives a program: texts by key. Only `load` and `stop` touch Pulumi, and import it
when called, so that everything downstream of the settings can be tested without an engine.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from infra.problems import ConfigurationError
from infra.setting_checks import majority
from infra.setting_reader import Derived, DevFiles, Option, Reader
from infra.setting_rules import (
    BufferLimits,
    EngineAddress,
    FilePath,
    Flag,
    GatewayAddress,
    HostNames,
    HostPort,
    KeyspaceEvents,
    KubernetesName,
    MasterName,
    MemorySize,
    Namespaces,
    Networks,
    OneOf,
    Password,
    Pem,
    PinnedImage,
    Pods,
    PrivateKey,
    SecondPassword,
    SentinelCount,
    StorageSize,
    Subnet,
    Whole,
    Word,
    kubernetes_label,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

# How the program ends when the user has been told why. After any other code the engine adds an error of its own,
# "program exited with non-zero exit code", below ours; RunError ends with 1.
TOLD = 32
USERS = ("app", "replica", "sentinel", "monitor", "operator")

Target = Literal["process", "docker", "kubernetes"]
Spread = Literal["hard", "hosts", "soft"]
Mode = Literal["sentinel", "standalone"]
Workload = Literal["cache", "record"]
Fsync = Literal["everysec", "always"]
Eviction = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


def _quorum_of(_stack: str, values: Mapping[str, Any]) -> str | None:
    return str(majority(values["sentinels"])) if "sentinels" in values else None


NAMESPACE_OF_STACK = Derived("`redis-<stack>`", lambda stack, _values: kubernetes_label(f"redis-{stack}"))
REDIS_STACK_NAME = Derived("`redis-<stack>`", lambda stack, _values: f"redis-{stack}")
SUBNET_OF_STACK = Derived(
    "`10.201.<n>.0/24`, n from the stack's name", lambda stack, _values: f"10.201.{crc32(stack.encode()) % 256}.0/24"
)
FIREWALL_OF_TARGET = Derived(
    "`true`, on target process `false`", lambda _stack, values: str(values.get("target") != "process").lower()
)
GATEWAY_OF_TARGET = Derived(
    "`true`, on target process `false`", lambda _stack, values: str(values.get("target") != "process").lower()
)
DEFAULT_MAXCLIENTS = 10000
# No machine has more. What this machine has is asked on target process, where it matters (infra/setting_checks.py).
LARGEST_MACHINE = "32768gb"
MAJORITY = Derived("the majority of `sentinels`", _quorum_of)
PORT = Whole(1024, 65535)


def _next(user: str) -> Any:
    return Field(default=SecretStr(""), description=f"Rotation: `{user}`'s next password, accepted before it is used.")


def _previous(user: str) -> Any:
    return Field(
        default=SecretStr(""), description=f"Rotation: `{user}`'s last password, accepted until clients moved."
    )


class Settings(BaseModel):
    """One stack's configuration, complete and valid. Made by `parse` or `load`; times are in ms unless named."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    target: Annotated[Target, OneOf(get_args(Target))] = Field(
        description="Where the nodes run: `process` is servers on this machine, loopback only; `docker` one engine; "
        "`kubernetes` a cluster.",
        examples=["process"],
    )
    mode: Annotated[Mode, OneOf(get_args(Mode))] = Field(
        default="sentinel", description="`sentinel` for high availability; `standalone` is one node without Sentinels."
    )
    master_name: Annotated[str, MasterName(), REDIS_STACK_NAME] = Field(
        description="The name by which clients ask the Sentinels for the master; one per stack.",
        examples=["redis-main"],
    )
    replicas: Annotated[int, Whole(2, 8)] = Field(
        default=2, description="Replicas beside the master. Kept but unused in standalone mode."
    )
    sentinels: Annotated[int, SentinelCount()] = Field(
        default=3, description="Sentinels that watch the master. Kept but unused in standalone mode."
    )
    quorum: Annotated[int, Whole(2, 7, "the majority of `sentinels` up to their number"), MAJORITY] = Field(
        description="Sentinels that must agree that the master is down before a failover starts.", examples=["2"]
    )
    data_port: Annotated[int, PORT] = Field(
        default=7380, description="Port of the first data node; node i listens on this port + i."
    )
    sentinel_port: Annotated[int, PORT] = Field(
        default=27380, description="Port of the first Sentinel; Sentinel i listens on this port + i."
    )
    maxmemory: Annotated[str, MemorySize("16mb", LARGEST_MACHINE)] = Field(
        default="64mb", description="Memory for data on each node (Redis's `maxmemory`)."
    )
    maxmemory_policy: Annotated[Eviction, OneOf(get_args(Eviction))] = Field(
        default="noeviction", description="What a full node does (Redis's `maxmemory-policy`)."
    )
    maxclients: Annotated[int, Whole(100, 1_000_000)] = Field(
        default=DEFAULT_MAXCLIENTS, description="Connections that each data node takes (Redis's `maxclients`)."
    )
    client_output_buffer_limit: Annotated[str, BufferLimits()] = Field(
        default=BufferLimits.defaults,
        description="When a data node drops a client that does not read what it asked for; kinds left out keep these.",
    )
    repl_backlog_size: Annotated[str, MemorySize("1mb", "64gb")] = Field(
        default="16mb",
        description="What a data node keeps of its writes for a replica that was away; after more, that syncs in full.",
    )
    notify_keyspace_events: Annotated[str, KeyspaceEvents()] = Field(
        default="",
        description="What data nodes tell subscribers of `__keyspace@*` and `__keyevent@*`; costs processor time.",
    )
    appendfsync: Annotated[Fsync, OneOf(get_args(Fsync))] = Field(
        default="everysec",
        description="When the append-only file is flushed to disk; `always` loses nothing when all nodes end at once.",
    )
    down_after_ms: Annotated[
        int,
        Whole(
            2000,
            60000,
            "2000 is the smallest safe value, a shorter one lets Sentinel start a second, spurious failover",
        ),
    ] = Field(default=2000, description="Silence in ms after which a Sentinel holds a node for down.")
    failover_timeout_ms: Annotated[int, Whole(5000, 600000, "at least twice `downAfterMs`")] = Field(
        default=10000, description="Sentinel's `failover-timeout` in ms; a failed failover is retried after twice this."
    )
    parallel_syncs: Annotated[int, Whole(1, 8, "at most `replicas`")] = Field(
        default=1, description="Replicas that may sync with a new master at the same time."
    )
    min_replicas_to_write: Annotated[int, Whole(0, 8, "at most `replicas`")] = Field(
        default=1, description="The master refuses writes with fewer replicas in sync; 0 switches this fence off."
    )
    min_replicas_max_lag: Annotated[int, Whole(1, 60)] = Field(
        default=2, description="Seconds of silence after which a replica no longer counts as in sync."
    )
    tls: Annotated[bool, Flag()] = Field(default=False, description="TLS on every connection, clients' included.")
    certificate_days: Annotated[int, Whole(1, 825)] = Field(
        default=90, description="Life of a node's certificate in days; `up` renews it when under a third is left."
    )
    ca_certificate: Annotated[str, Pem("CERTIFICATE")] = Field(
        default="", description="Your own CA instead of the stack's: its root certificate. Needs `caKey`."
    )
    ca_key: Annotated[SecretStr, PrivateKey()] = Field(
        default=SecretStr(""), description="The private key of `caCertificate`, a secret."
    )
    ca_generation: Annotated[int, Whole(0, 999_999)] = Field(
        default=0, description="Another number: another CA of the stack's, with a new key. `make rotate-ca` sets it."
    )
    clients: Annotated[tuple[str, ...], Networks()] = Field(
        default=(), description="Networks whose clients may reach the nodes and the gateway; none: nobody outside may."
    )
    monitoring: Annotated[tuple[str, ...], Networks()] = Field(
        default=(), description="Networks that may read the exporters and the gateway's statistics."
    )
    gateway: Annotated[bool, Flag(), GATEWAY_OF_TARGET] = Field(
        description="One address that follows the master, one balanced over in-sync replicas (HAProxy); see gateway.md."
    )
    gateway_port: Annotated[int, PORT] = Field(default=6379, description="The gateway's port that leads to the master.")
    gateway_read_port: Annotated[int, PORT] = Field(
        default=6380, description="The gateway's port that leads to the in-sync replicas."
    )
    gateway_stats_port: Annotated[int, PORT] = Field(
        default=8404, description="The gateway's port for Prometheus (`/metrics`) and health checks (`/health`)."
    )
    gateway_publish: Annotated[str, HostPort()] = Field(
        default="",
        description="Target docker: where the host serves `gatewayPort` to `clients` elsewhere, behind the firewall.",
    )
    gateway_names: Annotated[tuple[str, ...], HostNames()] = Field(
        default=(),
        description="More names and addresses that clients reach the gateway by, for the nodes' certificates.",
    )
    workload: Annotated[Workload, OneOf(get_args(Workload))] = Field(
        default="record",
        description="`cache`: what is stored can be lost; `record`: it cannot, so no client is sent to a canary.",
    )
    canary: Annotated[str, GatewayAddress()] = Field(
        default="", description="The canary stack's gateway, for a share of this gateway's clients; see gateway.md."
    )
    canary_read_port: Annotated[int, PORT] = Field(
        default=6380, description="The port of `canary`'s gateway that leads to its in-sync replicas."
    )
    canary_share: Annotated[int, Whole(0, 100)] = Field(
        default=0, description="Percent of the clients, by source address, that the gateway sends to `canary`."
    )
    contract_mode: Annotated[Mode, OneOf(get_args(Mode))] = Field(
        default="sentinel",
        description="What applications are told: `standalone` names only the gateway's address; no data moves.",
    )
    protect: Annotated[bool, Flag()] = Field(
        default=False,
        description="Pulumi refuses to delete what holds the stack's data and identity until this is false again.",
    )
    image: Annotated[str, PinnedImage()] = Field(
        default="",
        description="Docker, Kubernetes: the image of every node, Redis 7+ or Valkey 8+, with sh and its CLI.",
    )
    gateway_image: Annotated[str, PinnedImage()] = Field(
        default="", description="Docker, Kubernetes: the gateway's image; `make images` builds images/gateway."
    )
    firewall: Annotated[bool, Flag(), FIREWALL_OF_TARGET] = Field(
        description="Deny on the host whatever the topology, `clients` and `monitoring` do not allow."
    )
    firewall_image: Annotated[str, PinnedImage()] = Field(
        default="", description="Target docker: an image with nft; `make images` builds images/firewall."
    )
    subnet: Annotated[str, Subnet(), SUBNET_OF_STACK] = Field(
        description="Target docker: the stack's network. Containers of clients get addresses of its upper half.",
        examples=["10.201.7.0/24"],
    )
    docker_host: Annotated[str, EngineAddress()] = Field(
        default="", description="Target docker: the engine; empty for this machine's."
    )
    kubeconfig: Annotated[str, FilePath()] = Field(
        default="", description="Target kubernetes: the kubeconfig file; empty for $KUBECONFIG or the default one."
    )
    kube_context: Annotated[str, Word()] = Field(
        default="", description="Target kubernetes: the context in it; empty for the current one."
    )
    cluster: Annotated[str, Word()] = Field(
        default="",
        description="Target kubernetes: the UID of the cluster's namespace kube-system. The first `make up` "
        "records it; an `up` against another cluster is refused.",
    )
    namespace: Annotated[str, KubernetesName(), NAMESPACE_OF_STACK] = Field(
        description="Target kubernetes: the namespace that the stack makes and has for itself.",
        examples=["redis-main"],
    )
    spread: Annotated[Spread, OneOf(get_args(Spread))] = Field(
        default="hard",
        description="Target kubernetes: `hard` never puts two data nodes or two Sentinels of three on one host or in "
        "one zone; `hosts` insists on hosts only; `soft` on neither.",
    )
    priority_class: Annotated[str, Word()] = Field(
        default="", description="Target kubernetes: the pods' priority class; empty for the cluster's default."
    )
    storage_class: Annotated[str, Word()] = Field(
        default="", description="Target kubernetes: the volumes' storage class; empty for the cluster's default."
    )
    storage_size: Annotated[str, StorageSize()] = Field(
        default="2Gi", description="Target kubernetes: each data node's volume; several times `maxmemory`."
    )
    client_pods: Annotated[tuple[str, ...], Pods()] = Field(
        default=(), description="Target kubernetes: pods that may reach the nodes and the gateway, as `clients` may."
    )
    monitoring_pods: Annotated[tuple[str, ...], Pods()] = Field(
        default=(), description="Target kubernetes: pods that may read what `monitoring` may."
    )
    contract_namespaces: Annotated[tuple[str, ...], Namespaces()] = Field(
        default=(),
        description="Target kubernetes: applications' namespaces; each gets the contract, `redis-contract`, to mount.",
    )
    exporter_image: Annotated[str, PinnedImage()] = Field(
        default="", description="Target kubernetes: redis_exporter's image; empty for no exporter beside the nodes."
    )
    smoke_image: Annotated[str, PinnedImage()] = Field(
        default="", description="Target kubernetes: the smoke suite's image; `make images` builds images/smoke."
    )
    app_password: Annotated[SecretStr, Password()] = Field(description="Password of `app`, the application's user.")
    replica_password: Annotated[SecretStr, Password()] = Field(description="Password that replicas show the master.")
    sentinel_password: Annotated[SecretStr, Password()] = Field(
        description="Password that Sentinels show nodes and each other."
    )
    monitor_password: Annotated[SecretStr, Password()] = Field(description="Password of `monitor`, the read-only user.")
    operator_password: Annotated[SecretStr, Password()] = Field(
        description="Password of `operator`, who may hand over and repair."
    )

    app_password_next: Annotated[SecretStr, SecondPassword()] = _next("app")
    app_password_previous: Annotated[SecretStr, SecondPassword(strong=False)] = _previous("app")
    app_password_shared: Annotated[SecretStr, SecondPassword(strong=False)] = Field(
        default=SecretStr(""), description="On a canary: production's `app` password, accepted too; see gateway.md."
    )
    replica_password_next: Annotated[SecretStr, SecondPassword()] = _next("replica")
    replica_password_previous: Annotated[SecretStr, SecondPassword(strong=False)] = _previous("replica")
    sentinel_password_next: Annotated[SecretStr, SecondPassword()] = _next("sentinel")
    sentinel_password_previous: Annotated[SecretStr, SecondPassword(strong=False)] = _previous("sentinel")
    monitor_password_next: Annotated[SecretStr, SecondPassword()] = _next("monitor")
    monitor_password_previous: Annotated[SecretStr, SecondPassword(strong=False)] = _previous("monitor")
    operator_password_next: Annotated[SecretStr, SecondPassword()] = _next("operator")
    operator_password_previous: Annotated[SecretStr, SecondPassword(strong=False)] = _previous("operator")

    @property
    def accepted(self) -> dict[str, tuple[SecretStr, ...]]:
        """Every password that each ACL user is let in with, the one in use first."""
        return {
            user: tuple(
                secret
                for suffix in ("password", "password_next", "password_previous", "password_shared")
                if (secret := getattr(self, f"{user}_{suffix}", SecretStr(""))).get_secret_value()
            )
            for user in USERS
        }

    @property
    def credentials(self) -> dict[str, SecretStr]:
        """Each ACL user's password."""
        return {user: getattr(self, f"{user}_password") for user in USERS}


def _option(field: str, info: FieldInfo) -> Option:
    (rule,) = (item for item in info.metadata if not isinstance(item, Derived))
    derived = next((item for item in info.metadata if isinstance(item, Derived)), None)
    return Option(
        field=field,
        key=to_camel(field),
        rule=rule,
        description=info.description or "",
        default=None if info.is_required() else _spelled(info.default),
        derived=derived,
        example=str(info.examples[0]) if info.examples else None,
    )


def _spelled(default: object) -> str:
    """A default as the stack's file has it."""
    if isinstance(default, tuple | bool):
        return json.dumps(default)
    return str(default)


OPTIONS = tuple(_option(field, info) for field, info in Settings.model_fields.items())
"""Every setting, in the order of the model and of the documentation."""


def parse(
    stack: str,
    raw: Mapping[str, str],
    *,
    secret_keys: Collection[str] | None = None,
    dev_files: DevFiles | None = None,
) -> Settings:
    """The settings that `raw` spells: texts by camelCase key, without the project's prefix.

    `secret_keys` are the keys that the stack stores encrypted; None when the caller cannot know. `dev_files`: where the
    dev stack has what. Raises ConfigurationError with every problem found.
    """
    reader = Reader(stack, raw, secret_keys, OPTIONS, dev_files or DevFiles())
    reader.read_all()
    if reader.problems:
        raise ConfigurationError(stack, reader.problems)
    return Settings.model_validate(reader.values)


def load() -> Settings:
    """The running program's settings. Raises ConfigurationError with every problem found."""
    import pulumi
    from pulumi.runtime import config

    # pulumi.Config answers for keys one knows; unknown keys are found only in the whole map.
    prefix = f"{pulumi.get_project()}:"
    ours = {key: value for key, value in config.CONFIG.get().items() if key.startswith(prefix)}
    return parse(
        pulumi.get_stack(),
        {key.removeprefix(prefix): value for key, value in ours.items()},
        secret_keys={key.removeprefix(prefix) for key in ours if config.is_config_secret(key)},
        dev_files=_dev_files(prefix),
    )


def _dev_files(prefix: str) -> DevFiles:
    """As tools/stacks.py has them; the engine is told of the copy."""
    project = Path(__file__).resolve().parents[1]
    edited = Path(os.environ.get("STACK_CONFIG_FILE") or project / "Pulumi.dev.yaml")
    copy = Path(os.environ.get("PULUMI_OPTION_CONFIG_FILE") or project / ".state/dev/Pulumi.dev.yaml")
    text = edited.read_text() if edited.is_file() else ""
    keys = frozenset(re.findall(rf"^\s*['\"]?{re.escape(prefix)}(\w+)['\"]?\s*:", text, re.M))
    edited_name, copy_name = (
        str(path.relative_to(project) if path.is_relative_to(project) else path) for path in (edited, copy)
    )
    return DevFiles(edited_name, copy_name, keys)


def stop(error: Exception) -> NoReturn:
    """End the Pulumi program with the error's message as its only diagnostic."""
    import pulumi

    pulumi.log.error(str(error))
    sys.exit(TOLD)
