"""PURE  Settings that are fine one by one and wrong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.setting_rules import UNIT_BYTES, bytes_of


def majority(sentinels: int) -> int:
    """How many of `sentinels` have to agree before one of them may lead a failover."""
    return sentinels // 2 + 1


if TYPE_CHECKING:
    from pydantic import SecretStr


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


def memory_here() -> int:
    """The bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory_is_there(target: str, maxmemory: str) -> Conflict | None:
    """Elsewhere the engine or the cluster knows. Each node alone: they share, and seldom are all full."""
    there = memory_here() // UNIT_BYTES["mb"]
    if target != "process" or bytes_of(maxmemory) <= there * UNIT_BYTES["mb"]:
        return None
    return Conflict("maxmemory", f"at most {there}mb, the memory of this machine", f"{there // 4}mb")


def _containers_have_an_image(target: str, image: str) -> Conflict | None:
    if target == "process" or image:
        return None
    return Conflict("image", f"an image, since target is {target}", "redis@sha256:<digest>")


def _gateway_has_a_place(target: str, gateway: bool) -> Conflict | None:
    if not gateway or target != "process":
        return None
    return Conflict("gateway", "false, since the process target runs no gateway", "false")


def _gateway_ports_differ(gateway_port: int, gateway_read_port: int, gateway_stats_port: int) -> Conflict | None:
    taken = {gateway_port}
    for field, port in (("gateway_read_port", gateway_read_port), ("gateway_stats_port", gateway_stats_port)):
        if port in taken:
            free = next(candidate for candidate in range(1024, 1027) if candidate not in taken)
            return Conflict(field, "a port that the gateway does not use for something else", str(free))
        taken.add(port)
    return None


def _publishing_is_guarded(target: str, gateway: bool, firewall: bool, gateway_publish: str) -> Conflict | None:
    if not gateway_publish:
        return None
    if target != "docker":
        return Conflict("target", "docker, since gatewayPublish names a port of a Docker host", "docker")
    if not gateway:
        return Conflict("gateway", "true, since gatewayPublish publishes its port", "true")
    if not firewall:
        why = "true, since gatewayPublish is set: ports that Docker publishes pass the host's own firewall by"
        return Conflict("firewall", why, "true")
    return None


def _canary_has_a_gateway(gateway: bool, canary: str) -> Conflict | None:
    if gateway or not canary:
        return None
    return Conflict("canary", "nothing, since this stack runs no gateway that could send clients there", "")


def _standalone_address_follows(mode: str, gateway: bool, contract_mode: str) -> Conflict | None:
    if contract_mode != "standalone" or gateway or mode == "standalone":
        return None
    why = "sentinel, since this stack runs no gateway: the first node's address does not follow the master"
    return Conflict("contract_mode", why, "sentinel")


def _share_is_possible(workload: str, canary: str, canary_share: int) -> Conflict | None:
    if not canary_share:
        return None
    if not canary:
        return Conflict("canary_share", "0, since no `canary` is set that could get a share", "0")
    if workload == "record":
        why = (
            "0, since workload is record: what clients write during the canary stays in the canary, and is gone when "
            "they come back. For a system of record prove the release in staging, then roll it out node by node (up); "
            "if everything stored here can be lost, declare `workload: cache`"
        )
        return Conflict("canary_share", why, "0")
    return None


def _own_authority_serves(ca_certificate: str, ca_key: SecretStr) -> Conflict | None:
    if not ca_certificate and not ca_key.get_secret_value():
        return None
    if not ca_certificate:
        return Conflict("ca_certificate", "the certificate that belongs to `caKey`", "")
    from infra import certificates  # takes 0.1 s, for those alone who bring a CA

    try:
        certificates.own_authority(ca_certificate, ca_key.get_secret_value(), certificates.utc_now())
    except certificates.UnusableAuthority as reason:
        return Conflict("ca_key" if reason.in_key else "ca_certificate", str(reason), "")
    return None


def _gateway_has_an_image(target: str, gateway: bool, gateway_image: str) -> Conflict | None:
    if target == "process" or not gateway or gateway_image:
        return None
    return Conflict("gateway_image", "an image, since gateway is true: `make images` builds one", "sha256:<id>")


def _docker_has_a_firewall_image(target: str, firewall: bool, firewall_image: str) -> Conflict | None:
    if target != "docker" or not firewall or firewall_image:
        return None
    return Conflict("firewall_image", "an image, since firewall is true: `make images` builds one", "sha256:<id>")


CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Conflict | None]], ...] = (
    (("sentinels", "quorum"), _quorum_fits),
    (("down_after_ms", "failover_timeout_ms"), _failover_outlasts_detection),
    (("replicas", "parallel_syncs"), _parallel_syncs_fit),
    (("replicas", "min_replicas_to_write"), _fence_fits),
    (("data_port", "replicas"), _data_ports_exist),
    (("sentinel_port", "sentinels"), _sentinel_ports_exist),
    (("data_port", "replicas", "sentinel_port", "sentinels"), _ports_do_not_clash),
    (("ca_certificate", "ca_key"), _own_authority_serves),
    (("target", "maxmemory"), _memory_is_there),
    (("target", "image"), _containers_have_an_image),
    (("target", "gateway", "gateway_image"), _gateway_has_an_image),
    (("target", "firewall", "firewall_image"), _docker_has_a_firewall_image),
    (("target", "gateway"), _gateway_has_a_place),
    (("gateway_port", "gateway_read_port", "gateway_stats_port"), _gateway_ports_differ),
    (("gateway", "canary"), _canary_has_a_gateway),
    (("workload", "canary", "canary_share"), _share_is_possible),
    (("mode", "gateway", "contract_mode"), _standalone_address_follows),
    (("target", "gateway", "firewall", "gateway_publish"), _publishing_is_guarded),
)
"""Checks across settings; each runs when all the settings that it reads are good by themselves."""
