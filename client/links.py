"""Connections as the contract asks for them: users, TLS, time-outs. Nothing here touches the network yet."""

from __future__ import annotations

from typing import Any

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from client.options import Options
from client.tls import VerifiedConnection
from infra.contract import Contract, Endpoint, OperatorContract


def open_node(contract: Contract, options: Options, endpoint: Endpoint) -> redis.Redis:
    """A pool of connections to a data node, for the application's operations."""
    waits = (options.timeout_s, options.connect_timeout_s)
    return _open(contract, endpoint, _application(contract), waits, decode_responses=options.decode_responses)


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


def _open(
    contract: Contract,
    endpoint: Endpoint,
    login: tuple[str, SecretStr],
    waits: tuple[float, float],
    *,
    decode_responses: bool = True,
) -> redis.Redis:
    """`login`: user and password; `waits`: the seconds given to an answer and to a connection."""
    username, password = login
    timeout_s, connect_timeout_s = waits
    pool = redis.ConnectionPool(
        host=endpoint.host.strip("[]"),
        port=endpoint.port,
        username=username,
        password=password.get_secret_value(),
        decode_responses=decode_responses,
        socket_timeout=timeout_s,
        socket_connect_timeout=connect_timeout_s,
        # redis-py's own retries go back to the same, perhaps dead, address: the client retries the operation instead.
        retry=Retry(NoBackoff(), 0),
        # RESP2 and no driver_info: connecting sends AUTH and nothing else, so least-privilege users need no more.
        protocol=2,
        driver_info=None,
        **_tls(contract),
    )
    return redis.Redis.from_pool(pool)


def _tls(contract: Contract) -> dict[str, Any]:
    if not contract.tls:
        return {}
    ca_file = str(contract.tls_ca_file) if contract.tls_ca_file else None
    return {"connection_class": VerifiedConnection, "ssl_ca_certs": ca_file}
