"""PURE  Node -> the text of its files: redis.conf, sentinel.conf, users.acl, node.env.

Nothing here depends on who is master now. Paths are the target's: it adds them to node.env (see infra/node/lib.sh).
Rights follow the documented rule sets of Redis for replicas and Sentinels, narrowed to what was seen to be needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from infra.contract import render_env
from infra.settings import DEFAULT_MAXCLIENTS, Settings
from infra.topology import Kind, Node, Topology

# Applications get every channel but those that start with '_': Sentinel's hellos travel on `__sentinel__:hello`
# and are not authenticated, so whoever may publish there can redirect a Sentinel. Of the others they may hear what the
# server says of keys. A pattern is allowed literally or not at all, so they may listen by any: a hello holds no secret.
_APP_CHANNELS = "&[^_]* &__keyspace@* &__keyevent@*"
_APP_LISTENS = "(allchannels +psubscribe)"
_HELLO = "&__sentinel__:hello"

# What an application may do. Kinds of data and the caller's own connection go as a whole, so that it also has what is
# new there (HEXPIRE, CLIENT SETINFO): no server starts with a rule that names a command it lacks. Everything else is
# allowed by name, or refused. tests/conformance/test_rights.py has a decision for every command of each server.
_APP_KINDS = (
    "+@string +@bitmap +@hyperloglog +@geo +@list +@set +@sortedset +@hash +@stream +@connection -@admin -@dangerous"
)
_APP_COMMANDS = (
    "+copy +del +dump +exists +expire +expireat +expiretime +move +persist +pexpire +pexpireat +pexpiretime +pttl"
    " +randomkey +rename +renamenx +scan +touch +ttl +type +unlink"
    " +object|encoding +object|freq +object|idletime +object|refcount +object|help +memory|usage"
    " +multi +exec +discard +watch +unwatch"
    " +publish +subscribe +unsubscribe +psubscribe +punsubscribe +spublish +ssubscribe +sunsubscribe"
    " +pubsub|channels +pubsub|numpat +pubsub|numsub +pubsub|shardchannels +pubsub|shardnumsub +pubsub|help"
    # Not SCRIPT DEBUG: its session has the whole server for itself, and its `eval redis.call(...)` crashes some.
    " +eval +eval_ro +evalsha +evalsha_ro +fcall +fcall_ro +script|exists +script|load +script|flush +script|kill"
    " +script|help +function|load +function|delete +function|list +function|dump +function|stats +function|kill"
    " +function|help"
    " +acl|whoami +dbsize +info +lolwut +role +time"
)
_DATA_RIGHTS = {
    "app": f"~* {_APP_CHANNELS} {_APP_KINDS} {_APP_COMMANDS} {_APP_LISTENS}",
    "replica": "+psync +replconf +ping",
    "sentinel": f"{_HELLO} +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info"
    " +client|setname +client|kill +script|kill",
    "monitor": "+ping +role +info +dbsize +slowlog|get +slowlog|len +latency|latest",
    "operator": "+ping +role +info +dbsize +wait +replicaof +client|pause +client|unpause +client|kill +client|list"
    " +config|get +config|set +config|rewrite +acl|load +acl|whoami +acl|list +script|kill +function|kill",
}
_DISCOVERY = (
    "+ping +role +sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas"
    " +sentinel|slaves +sentinel|sentinels +sentinel|myid"
)
_SENTINEL_RIGHTS = {
    "app": f"&* +hello +auth +client|setname +client|id +subscribe +psubscribe +unsubscribe +punsubscribe {_DISCOVERY}",
    "sentinel": f"{_HELLO} +auth +ping +publish +client|setname +sentinel|is-master-down-by-addr",
    "monitor": f"+info +sentinel|ckquorum {_DISCOVERY}",
    # Not SENTINEL SIMULATE-FAILURE, which crashes it.
    "operator": f"+info +acl|load +acl|whoami +acl|list {_DISCOVERY} +sentinel|ckquorum +sentinel|config"
    " +sentinel|debug +sentinel|failover +sentinel|flushconfig +sentinel|info-cache +sentinel|monitor"
    " +sentinel|pending-scripts +sentinel|remove +sentinel|reset +sentinel|set",
}


@dataclass(frozen=True)
class NodeFiles:
    """A node's files by name. `secret` ones hold passwords or their hashes: mode 0600, secret in Pulumi's state."""

    plain: dict[str, str]
    secret: dict[str, str] = field(repr=False)


def render(
    node: Node, topology: Topology, settings: Settings, passwords: Mapping[str, str], listen: str | None = None
) -> NodeFiles:
    """All files of one node. `passwords`: user -> password, in the clear.

    `listen`: the address to bind where that is not the one that the node announces.
    """
    bind = listen or node.endpoint.host
    secret = {"users.acl": _users(node.kind, settings), "operator.password": passwords["operator"] + "\n"}
    if node.kind is Kind.SENTINEL:
        plain = {}
        secret["sentinel.conf"] = _sentinel_conf(node, topology, settings, passwords, bind)
    else:
        plain = {"redis.conf": _redis_conf(node, topology, settings, bind)}
        secret["auth.conf"] = f'masteruser replica\nmasterauth "{passwords["replica"]}"\n'
    return NodeFiles(plain | {"node.env": render_env(_node_env(node, topology, settings))}, secret)


def _users(kind: Kind, settings: Settings) -> str:
    """An ACL file. It holds SHA-256 digests, as `ACL SAVE` writes them, not the passwords."""
    rights = _SENTINEL_RIGHTS if kind is Kind.SENTINEL else _DATA_RIGHTS
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    for user, rules in rights.items():
        digests = " ".join(_digest(secret) for secret in settings.accepted[user])
        lines.append(f"user {user} on {digests} resetkeys resetchannels -@all {rules}")
    return "\n".join(lines) + "\n"


def _digest(password: SecretStr) -> str:
    return "#" + hashlib.sha256(password.get_secret_value().encode()).hexdigest()


def _redis_conf(node: Node, topology: Topology, settings: Settings, bind: str) -> str:
    clustered = topology.mode == "sentinel"
    return _lines(
        f"bind {bind}",
        *_transport(node, settings),
        f"replica-announce-ip {node.endpoint.host}",
        f"replica-announce-port {node.endpoint.port}",
        "daemonize no",
        f"maxmemory {settings.maxmemory}",
        f"maxmemory-policy {settings.maxmemory_policy}",
        *([] if settings.maxclients == DEFAULT_MAXCLIENTS else [f"maxclients {settings.maxclients}"]),
        f"client-output-buffer-limit {settings.client_output_buffer_limit}",
        f'notify-keyspace-events "{settings.notify_keyspace_events}"',
        # A master that restarts empty makes every replica drop its data, so the AOF is not an option.
        "appendonly yes",
        f"appendfsync {settings.appendfsync}",
        "save 900 1 300 100",
        # The default delay of 5 s waits for more replicas; ours are few, and a quick second copy is worth more.
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        f"repl-backlog-size {settings.repl_backlog_size}",
        f"min-replicas-to-write {settings.min_replicas_to_write if clustered else 0}",
        f"min-replicas-max-lag {settings.min_replicas_max_lag}",
        "tcp-keepalive 60",
    )


def _sentinel_conf(node: Node, topology: Topology, settings: Settings, passwords: Mapping[str, str], bind: str) -> str:
    """The seed. Sentinel rewrites its copy, so it is used only where there is none; start.sh fills in the master."""
    name = topology.master_name
    return _lines(
        f"bind {bind}",
        *_transport(node, settings),
        "daemonize no",
        "sentinel resolve-hostnames no",
        f"sentinel announce-ip {node.endpoint.host}",
        f"sentinel announce-port {node.endpoint.port}",
        "sentinel deny-scripts-reconfig yes",
        f"sentinel monitor {name} @MASTER_HOST@ @MASTER_PORT@ {topology.quorum}",
        f"sentinel auth-user {name} sentinel",
        f'sentinel auth-pass {name} "{passwords["sentinel"]}"',
        "sentinel sentinel-user sentinel",
        f'sentinel sentinel-pass "{passwords["sentinel"]}"',
        *(f"sentinel {option} {name} {value}" for option, value in _sentinel_options(settings).items()),
    )


def _transport(node: Node, settings: Settings) -> tuple[str, ...]:
    """Where the node listens, and how it speaks to its peers. start.sh adds where the certificates are."""
    if not settings.tls:
        return (f"port {node.endpoint.port}",)
    # Passwords say who a client is, so it needs no certificate. Peers show theirs, and a wrong one is refused.
    return ("port 0", f"tls-port {node.endpoint.port}", "tls-replication yes", "tls-auth-clients optional")


def _sentinel_options(settings: Settings) -> dict[str, int]:
    return {
        "down-after-milliseconds": settings.down_after_ms,
        "failover-timeout": settings.failover_timeout_ms,
        "parallel-syncs": settings.parallel_syncs,
    }


def _node_env(node: Node, topology: Topology, settings: Settings) -> dict[str, str]:
    options = {"quorum": topology.quorum} | _sentinel_options(settings)
    return {
        "NODE_NAME": node.name,
        "NODE_KIND": str(node.kind),
        "NODE_HOST": node.endpoint.host,
        "NODE_PORT": str(node.endpoint.port),
        "MODE": topology.mode,
        "TLS": "yes" if settings.tls else "no",
        "MASTER_NAME": topology.master_name,
        "DATA_NODES": " ".join(str(peer.endpoint) for peer in topology.data),
        "SENTINELS": " ".join(str(peer.endpoint) for peer in topology.sentinels),
        "SENTINEL_OPTIONS": " ".join(f"{option} {value}" for option, value in options.items()),
        "DOWN_AFTER_MS": str(settings.down_after_ms),
    }


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
