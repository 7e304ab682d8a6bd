"""PURE  Topology -> the gateway's files: one address that follows the master, one balanced over in-sync replicas.

HAProxy carries the connections; `infra/node/gateway.lua`, which runs inside it, decides. TLS passes through: clients
verify the node itself, so each data node's certificate has the gateway's names too, and the gateway has no key.
The whole behaviour, with its reasons, is in docs/gateway.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from infra.node_config import NodeFiles
from infra.setting_checks import majority
from infra.settings import Settings
from infra.topology import Node, Topology

CONFIGURATION = "haproxy.cfg"
PASSWORD_FILE = "monitor.password"  # noqa: S105  # a file's name
# The declared percentage of clients for the canary. infra/node/canary.lua sees that it changed: no reload is needed.
SHARE_FILE = "canary.share"
CANARY_PROGRAM = "canary.lua"
# Below Redis's own default of 10,000, so that one gateway never fills a node that others reach directly.
MAX_CONNECTIONS = 4000


@dataclass(frozen=True)
class Place:
    """Where a gateway runs: the address it listens on (IPv4) and the folders it sees.

    `program` is where infra/node/gateway.lua is put; canary.lua is beside it. `run_dir` is writable and, with
    TLS, holds sockets: keep it short. `ca_file` is wanted with TLS only.
    """

    host: str
    program: str
    conf_dir: str
    run_dir: str
    ca_file: str = ""


def render(topology: Topology, settings: Settings, monitor_password: str, place: Place) -> NodeFiles:
    """The gateway's files for `place.conf_dir`."""
    sections = [
        _global(topology, settings, place),
        _DEFAULTS,
        _address("write", place.host, settings.gateway_port, "master", settings),
        _address("read", place.host, settings.gateway_read_port, "readers", settings),
        _backend("master", "first", topology),
        _backend("readers", "leastconn", topology, "    option redispatch 1", "    retries 2"),
        _statistics(place.host, settings.gateway_stats_port),
    ]
    if settings.tls:
        sections += [_verified_link(node, place) for node in topology.nodes]
    plain = {}
    if settings.canary:
        sections.append(_canary(settings, place))
        plain[SHARE_FILE] = f"{settings.canary_share}\n"
    plain[CONFIGURATION] = "\n".join(sections)
    return NodeFiles(plain, {PASSWORD_FILE: monitor_password + "\n"})


def _global(topology: Topology, settings: Settings, place: Place) -> str:
    options = {
        "PASSWORD_FILE": f"{place.conf_dir}/{PASSWORD_FILE}",
        "MASTER_NAME": topology.master_name,
        "MAJORITY": majority(len(topology.sentinels)),
        # Silence shorter than this has no successor yet: Sentinels wait as long before they replace a master.
        "FRESH_MS": settings.down_after_ms,
        "LAG_MS": settings.min_replicas_max_lag * 1000,
        "DATA": _peers(topology.data, settings, place),
        "SENTINELS": _peers(topology.sentinels, settings, place),
    }
    if settings.canary:
        options |= {
            "CANARY_SHARE_FILE": f"{place.conf_dir}/{SHARE_FILE}",
            "CANARY_OVERRIDE_FILE": f"{place.run_dir}/{SHARE_FILE}",
        }
    return _lines(
        "global",
        f"    maxconn {2 * MAX_CONNECTIONS + 100}",
        # After a reload the old process knows nothing new: its connections must not outlive it for long.
        "    hard-stop-after 1s",
        # HAProxy 2.6 passes no arguments to a Lua program. A reload inherits what the last configuration set.
        *(
            f'    setenv GATEWAY_{name} "{value}"' if value else f"    unsetenv GATEWAY_{name}"
            for name, value in options.items()
        ),
        f"    lua-load {place.program}",
        *_canary_program(settings, place),
    )


def _canary_program(settings: Settings, place: Place) -> tuple[str, ...]:
    return (f"    lua-load {PurePosixPath(place.program).with_name(CANARY_PROGRAM)}",) if settings.canary else ()


# A day without a byte is normal for a pool, a blocking command or a subscriber; what finds dead peers is keepalive,
# within 60 s, and on the nodes' side the program.
_DEFAULTS = """\
defaults
    mode tcp
    timeout connect 1s
    timeout client 1d
    timeout server 1d
    timeout client-fin 5s
    timeout server-fin 5s
    option clitcpka
    clitcpka-idle 30s
    clitcpka-intvl 10s
    clitcpka-cnt 3
    option srvtcpka
    srvtcpka-idle 30s
    srvtcpka-intvl 10s
    srvtcpka-cnt 3
    retries 0
"""


def _address(name: str, host: str, port: int, backend: str, settings: Settings) -> str:
    canary = {"master": "canary", "readers": "canary-readers"}[backend]
    return _lines(
        f"frontend {name}",
        f"    bind {host}:{port}",
        f"    maxconn {MAX_CONNECTIONS}",
        *([f"    use_backend {canary} if {{ lua.to_canary -m bool }}"] if settings.canary else []),
        f"    default_backend {backend}",
    )


def _backend(name: str, balance: str, topology: Topology, *options: str) -> str:
    """Every data node, none enabled: that is the program's work."""
    servers = (
        f"    server {node.name} {node.endpoint} disabled on-marked-down shutdown-sessions" for node in topology.data
    )
    return _lines(f"backend {name}", f"    balance {balance}", *options, *servers)


def _canary(settings: Settings, place: Place) -> str:
    """The canary's gateway, which follows the canary's master; it is up while that answers there.

    It is given up after 10 s: the canary's own failovers are the canary's clients' to see. Without the monitor's
    password, which is the canary's own, a server answers that one is needed.
    """
    host, _, _port = settings.canary.rpartition(":")
    readers = f"{host}:{settings.canary_read_port}"
    verified = f" check-ssl verify required ca-file {place.ca_file} verifyhost gateway" if settings.tls else ""
    return "\n".join(
        (
            _lines(
                "backend canary-health",
                "    option tcp-check",
                "    tcp-check connect",
                r"    tcp-check send PING\r\n",
                r"    tcp-check expect rstring ^(\+PONG|-NOAUTH)",
                "    timeout check 1s",
                f"    server canary {settings.canary} check inter 500ms fall 20 rise 2{verified}",
            ),
            _buckets("canary", settings.canary),
            _buckets("canary-readers", readers),
        )
    )


def _buckets(name: str, address: str) -> str:
    """One server for each hundredth of the clients, all of them the same: a share that shrinks closes some of them."""
    return _lines(
        f"backend {name}",
        "    use-server %[lua.canary_server] if TRUE",
        f"    server-template bucket 1-100 {address} track canary-health/canary on-marked-down shutdown-sessions",
    )


def _statistics(host: str, port: int) -> str:
    return _lines(
        "frontend statistics",
        "    mode http",
        f"    bind {host}:{port}",
        "    maxconn 50",
        "    timeout client 10s",
        "    timeout http-request 5s",
        "    monitor-uri /health",
        "    http-request use-service prometheus-exporter if { path /metrics }",
        "    http-request return status 404",
    )


def _peers(nodes: tuple[Node, ...], settings: Settings, place: Place) -> str:
    """Each node's name, its address, and where the program connects to reach it."""
    return " ".join(f"{node.name},{node.endpoint},{_link(node, settings, place)}" for node in nodes)


def _link(node: Node, settings: Settings, place: Place) -> str:
    return f"unix@{_socket(node, place)}" if settings.tls else str(node.endpoint)


def _socket(node: Node, place: Place) -> str:
    return f"{place.run_dir}/{node.name}.sock"


def _verified_link(node: Node, place: Place) -> str:
    """The program's way to a node under TLS: HAProxy's Lua sockets cannot verify a certificate, its servers can."""
    return _lines(
        f"listen link-{node.name}",
        f"    bind unix@{_socket(node, place)} mode 600",
        f"    server {node.name} {node.endpoint} ssl verify required ca-file {place.ca_file} verifyhost {node.name}",
    )


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
