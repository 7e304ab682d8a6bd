"""PURE  What the Prometheus operator reads, for clusters that have it: who is scraped, and what is an alarm."""

from __future__ import annotations

from typing import Any

from infra.setting_checks import majority
from infra.settings import Settings
from infra.targets.pods import METRICS, STATISTICS, Labels

Manifest = dict[str, Any]

API = "monitoring.coreos.com/v1"
INTERVAL = "15s"


def service_monitor(settings: Settings, labels: Labels) -> Manifest:
    """The spec of the ServiceMonitor: each node's exporter and the gateway, whichever there are; empty for none."""
    ports = [METRICS] if settings.exporter_image else []
    ports += [STATISTICS] if settings.gateway else []
    if not ports:
        return {}
    return {
        "selector": {"matchLabels": labels.stack_wide()},
        "endpoints": [{"port": port, "interval": INTERVAL} for port in ports],
    }


def prometheus_rule(settings: Settings) -> Manifest:
    """The spec of the PrometheusRule. All of it is known by the exporters; empty without them."""
    if not settings.exporter_image:
        return {}
    ours = f'{{namespace="{settings.namespace}"}}'
    rules = [_rule("RedisNodeDown", f"redis_up{ours} == 0", "1m", "a node does not answer its exporter")]
    if settings.mode == "sentinel":
        masters = f'count(redis_instance_info{{namespace="{settings.namespace}",role="master"}} == 1) or vector(0)'
        rules += [
            _rule("RedisNotOneMaster", f"({masters}) != 1", "1m", "there is not exactly one node with role:master"),
            _rule(
                "RedisReplicaMissing",
                f"max(redis_connected_slaves{ours}) < {settings.replicas}",
                "2m",
                "fewer replicas are attached to the master than are declared",
            ),
            _rule(
                "SentinelMajorityAtRisk",
                f"min(redis_sentinel_master_ok_sentinels{ours}) <= {majority(settings.sentinels)}",
                "2m",
                "one more Sentinel lost, and none can replace a failed master",
            ),
        ]
    return {"groups": [{"name": f"{settings.namespace}.redis", "rules": rules}]}


def _rule(name: str, expression: str, lasts: str, summary: str) -> Manifest:
    return {
        "alert": name,
        "expr": expression,
        "for": lasts,
        "labels": {"severity": "critical"},
        "annotations": {"summary": summary},
    }
