"""The two questions of discovery, put to real servers: a Sentinel's view of the master, a node's own ROLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import redis
from redis.exceptions import RedisError

from client.decision import ReplicaView, RoleView, SentinelView
from client.errors import describe, is_refusal
from client.links import open_probe, open_sentinel
from client.options import Options
from infra.contract import Contract, Endpoint

# UnicodeError: what the resolver makes of a host name that no DNS label can hold.
_FAILURES = (RedisError, OSError, UnicodeError)


class Probes:
    """Asks; never raises for a server that fails to answer: the answer then says why.

    Each question has its own short-lived connection: a question that nobody waits for any more ends by itself, and
    between failovers an application holds no connection to any Sentinel.
    """

    def __init__(self, contract: Contract, options: Options) -> None:
        self._contract = contract
        self._options = options

    def sentinel(self, endpoint: Endpoint) -> SentinelView:
        """What this Sentinel says, in one round trip."""
        name = self._contract.master_name
        try:
            with closing(open_sentinel(self._contract, self._options, endpoint)) as sentinel:
                pipeline = sentinel.pipeline(transaction=False)
                # Not MASTERS alone: during a failover GET-MASTER-ADDR-BY-NAME names the new master a second earlier.
                _send(pipeline, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
                _send(pipeline, "SENTINEL", "MASTER", name)
                _send(pipeline, "SENTINEL", "REPLICAS", name)
                return sentinel_view(*pipeline.execute())
        except _FAILURES as error:
            return SentinelView(error=describe(error), refused=is_refusal(error))

    def role(self, endpoint: Endpoint) -> RoleView:
        """What this node says of itself."""
        try:
            with closing(open_probe(self._contract, self._options, endpoint)) as node:
                return role_view(_send(node, "ROLE"))
        except _FAILURES as error:
            return RoleView(error=describe(error), refused=is_refusal(error))


def sentinel_view(
    address: Sequence[str] | None, master: Sequence[str], replicas: Sequence[Sequence[str]]
) -> SentinelView:
    """A SentinelView from the raw RESP2 replies (flat field, value, ... lists)."""
    fields = _pairs(master)
    return SentinelView(
        named=Endpoint(address[0], int(address[1])) if address else None,
        epoch=int(fields["config-epoch"]),
        flags=_flags(fields),
        replicas=tuple(
            ReplicaView(Endpoint(replica["ip"], int(replica["port"])), _flags(replica))
            for replica in map(_pairs, replicas)
        ),
    )


def role_view(reply: Sequence[Any]) -> RoleView:
    """A RoleView from ROLE's reply. A replica is linked when its connection to the master stands."""
    role = str(reply[0])
    return RoleView(role, linked=role == "slave" and reply[3] == "connected")


def _send(node: redis.Redis, *command: str) -> Any:
    # Raw, and not redis-py's methods: SENTINEL SLAVES would need one more right than REPLICAS.
    return node.execute_command(*command)  # type: ignore[no-untyped-call]


def _pairs(flat: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _flags(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields["flags"].split(","))
