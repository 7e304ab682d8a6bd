"""Connections as the contract asks for them: users, TLS, time-outs. Nothing here touches the network yet."""

from __future__ import annotations

import socket
from typing import Any

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from client.connections import MasterConnection, MasterTls, PatientConnection, PatientTls
from client.guard import Guard
from client.options import Options
from client.tls import VerifiedConnection
from infra.contract import Contract, Endpoint, OperatorContract

# More threads than a server takes clients: the server says so, and redis-py's own limit of 100 would be taken for it.
_MOST_CONNECTIONS = 10_000
# A dead host is noticed after 11 s. An application's own machine need not be Linux: it may lack some.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def open_master(contract: Contract, options: Options, endpoint: Endpoint, guard: Guard) -> redis.ConnectionPool:
    """A pool of connections for the application's operations, to a node that serves as long as `guard` says so."""
    waits = (options.timeout_s, options.connect_timeout_s)
    connections = {"connection_class": MasterTls if contract.tls else MasterConnection, "guard": guard}
    return _pool(contract, endpoint, _application(contract), waits, **_data(contract, options), **connections)


def open_node(contract: Contract, options: Options, endpoint: Endpoint) -> redis.Redis:
    """A client for a data node as the application's user, whatever the node's role."""
    waits = (options.timeout_s, options.connect_timeout_s)
    connections = {"connection_class": PatientTls if contract.tls else PatientConnection}
    pool = _pool(contract, endpoint, _application(contract), waits, **_data(contract, options), **connections)
    return redis.Redis.from_pool(pool)


def open_probe(contract: Contract, options: Options, endpoint: Endpoint) -> redis.Redis:
    """A connection to a data node that gives up quickly, to ask for its ROLE."""
    return _open(contract, endpoint, _application(contract), _quickly(options))


def open_sentinel(contract: Contract, options: Options, endpoint: Endpoint) -> redis.Redis:
    """A connection to a Sentinel that gives up quickly."""
    return _open(contract, endpoint, (contract.sentinel_username, contract.sentinel_password), _quickly(options))


def open_as(contract: OperatorContract, user: str, endpoint: Endpoint, timeout_s: float) -> redis.Redis:
    """A connection to any node as one of the operator's users (`monitor`, `operator`, ...)."""
    return _open(contract, endpoint, (user, contract.users[user]), (timeout_s, timeout_s))


def _application(contract: Contract) -> tuple[str, SecretStr]:
    return contract.username, contract.password


def _quickly(options: Options) -> tuple[float, float]:
    return options.probe_timeout_s, options.probe_connect_timeout_s


def _data(contract: Contract, options: Options) -> dict[str, Any]:
    return {
        "decode_responses": options.decode_responses,
        "db": contract.db if options.db is None else options.db,
        "max_connections": _MOST_CONNECTIONS,
        # A host that lost its power closes nothing, and a command may wait there without an end.
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
    }


def _open(
    contract: Contract, endpoint: Endpoint, login: tuple[str, SecretStr], waits: tuple[float, float]
) -> redis.Redis:
    return redis.Redis.from_pool(_pool(contract, endpoint, login, waits, decode_responses=True))


def _pool(
    contract: Contract, endpoint: Endpoint, login: tuple[str, SecretStr], waits: tuple[float, float], **more: Any
) -> redis.ConnectionPool:
    """`login`: user and password; `waits`: the seconds given to an answer and to a connection."""
    username, password = login
    timeout_s, connect_timeout_s = waits
    return redis.ConnectionPool(
        host=endpoint.host.strip("[]"),
        port=endpoint.port,
        username=username,
        password=password.get_secret_value(),
        socket_timeout=timeout_s,
        socket_connect_timeout=connect_timeout_s,
        # redis-py's own retries go back to the same, perhaps dead, address: the client retries the operation instead.
        # No supported error: else a connection lost in a transaction would be taken for a changed key, and repeated.
        retry=Retry(NoBackoff(), 0, supported_errors=()),
        # RESP2 and no driver_info: connecting sends AUTH and nothing else, so least-privilege users need no more.
        protocol=2,
        driver_info=None,
        **_tls(contract) | more,
    )


def _tls(contract: Contract) -> dict[str, Any]:
    if not contract.tls:
        return {}
    ca_file = str(contract.tls_ca_file) if contract.tls_ca_file else None
    return {"connection_class": VerifiedConnection, "ssl_ca_certs": ca_file}
