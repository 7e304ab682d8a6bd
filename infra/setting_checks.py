"""PURE  Settings that are fine one by one and wrong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def majority(sentinels: int) -> int:
    """How many of `sentinels` have to agree before one of them may lead a failover."""
    return sentinels // 2 + 1


@dataclass(frozen=True)
class Conflict:
    """Two settings that are fine one by one and wrong together; `field` is the one to change, to `suggestion`."""

    field: str
    expected: str
    suggestion: str


def _quorum_fits(sentinels: int, quorum: int) -> Conflict | None:
    needed = majority(sentinels)
    if quorum < needed:
        expected = f"at least {needed}, the majority of {sentinels} Sentinels: a minority must not start a failover"
        return Conflict("quorum", expected, str(needed))
    if quorum > sentinels:
        return Conflict("quorum", f"at most {sentinels}, the number of Sentinels: more can never agree", str(needed))
    return None


def _failover_outlasts_detection(down_after_ms: int, failover_timeout_ms: int) -> Conflict | None:
    least = 2 * down_after_ms
    if failover_timeout_ms >= least:
        return None
    return Conflict("failover_timeout_ms", f"at least {least}, twice downAfterMs ({down_after_ms})", str(least))


def _parallel_syncs_fit(replicas: int, parallel_syncs: int) -> Conflict | None:
    return _at_most_replicas("parallel_syncs", parallel_syncs, replicas)


def _fence_fits(replicas: int, min_replicas_to_write: int) -> Conflict | None:
    return _at_most_replicas("min_replicas_to_write", min_replicas_to_write, replicas)


def _at_most_replicas(field: str, value: int, replicas: int) -> Conflict | None:
    if value <= replicas:
        return None
    return Conflict(field, f"at most {replicas}, the number of replicas", str(replicas))


def _data_ports_exist(data_port: int, replicas: int) -> Conflict | None:
    return _ports_exist("data_port", data_port, 1 + replicas, "data nodes")


def _sentinel_ports_exist(sentinel_port: int, sentinels: int) -> Conflict | None:
    return _ports_exist("sentinel_port", sentinel_port, sentinels, "Sentinels")


def _ports_exist(field: str, first: int, count: int, what: str) -> Conflict | None:
    highest = 65536 - count
    if first <= highest:
        return None
    return Conflict(field, f"at most {highest}, so that {count} {what} have ports up to 65535", str(highest))


def _ports_do_not_clash(data_port: int, replicas: int, sentinel_port: int, sentinels: int) -> Conflict | None:
    data = range(data_port, data_port + replicas + 1)
    sentinel = range(sentinel_port, sentinel_port + sentinels)
    clash = [str(port) for port in data if port in sentinel]
    if not clash:
        return None
    taken = f"{data[0]}-{data[-1]}, the data nodes' (clash on {', '.join(clash)})"
    free = data[-1] + 1 if data[-1] + sentinels <= 65535 else data[0] - sentinels
    return Conflict("sentinel_port", f"{sentinels} ports in a row outside {taken}", str(free))


CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Conflict | None]], ...] = (
    (("sentinels", "quorum"), _quorum_fits),
    (("down_after_ms", "failover_timeout_ms"), _failover_outlasts_detection),
    (("replicas", "parallel_syncs"), _parallel_syncs_fit),
    (("replicas", "min_replicas_to_write"), _fence_fits),
    (("data_port", "replicas"), _data_ports_exist),
    (("sentinel_port", "sentinels"), _sentinel_ports_exist),
    (("data_port", "replicas", "sentinel_port", "sentinels"), _ports_do_not_clash),
)
"""Checks across settings; each runs when all the settings that it reads are good by themselves."""
