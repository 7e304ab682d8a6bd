"""What the Prometheus operator is given: only what there is to scrape, and alarms in the declared numbers."""

from __future__ import annotations

from infra.targets.monitors import prometheus_rule, service_monitor
from infra.targets.pods import Labels, gateway_service, headless_service
from infra.topology import Kind
from tests.unit.samples import MARKER
from tests.unit.test_pods import IMAGE, settings

LABELS = Labels("dev")


def ports_of(spec: dict[str, object]) -> set[object]:
    ports = spec["ports"]
    assert isinstance(ports, list)
    return {port["name"] for port in ports}


def test_who_is_scraped_has_a_service_with_such_a_port() -> None:
    of = settings(exporterImage=IMAGE)
    ports = {each["port"] for each in service_monitor(of, LABELS)["endpoints"]}
    assert ports == {"metrics", "statistics"}
    offered = ports_of(gateway_service(of, LABELS))
    for kind in Kind:
        assert "metrics" in ports_of(headless_service(kind, 6379, of, LABELS))
        offered |= ports_of(headless_service(kind, 6379, of, LABELS))
    assert ports <= offered


def test_nothing_is_declared_that_nobody_could_answer() -> None:
    assert service_monitor(settings(gateway="false"), LABELS) == {}
    assert prometheus_rule(settings()) == {}
    assert [each["port"] for each in service_monitor(settings(), LABELS)["endpoints"]] == ["statistics"]


def test_alarms_speak_of_the_declared_numbers_and_of_one_stack() -> None:
    of = settings(exporterImage=IMAGE, replicas="4", sentinels="5")
    (group,) = prometheus_rule(of)["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert rules["RedisReplicaMissing"].endswith("< 4")
    assert rules["SentinelMajorityAtRisk"].endswith("<= 3")
    assert all(f'namespace="{of.namespace}"' in expression for expression in rules.values())
    assert MARKER not in str(group)
    (alone,) = prometheus_rule(settings(exporterImage=IMAGE, mode="standalone"))["groups"]
    assert [rule["alert"] for rule in alone["rules"]] == ["RedisNodeDown"]
