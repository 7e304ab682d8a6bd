"""Exporters beside the nodes, for who may read them; ServiceMonitor and PrometheusRule where a cluster has those."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.stack import findings_of
from tests.kubernetes.lab import kubectl, load_images
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that, never

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(600)]

GROUP = "monitoring.coreos.com"
KINDS = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}
EXPORTER = """\
FROM debian:bookworm-slim
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends prometheus-redis-exporter \\
    && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["prometheus-redis-exporter"]
"""


def definition(kind: str, plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition that takes any spec."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


@pytest.fixture
def operator() -> Iterator[None]:
    """The kinds of the Prometheus operator, without the operator."""
    crds = [f"{plural}.{GROUP}" for plural in KINDS.values()]
    try:
        for kind, plural in KINDS.items():
            kubectl("apply", "-f", "-", stdin=json.dumps(definition(kind, plural)))
        kubectl("wait", "crd", *crds, "--for=condition=Established", "--timeout=30s")
        yield
    finally:
        kubectl("delete", "crd", *crds, "--ignore-not-found")


@pytest.fixture(scope="module")
def exported(stack: KubernetesStack, engine: Any) -> KubernetesStack:
    """The stack with an exporter beside each node, which this machine may read."""
    image, _ = engine.images.build(fileobj=io.BytesIO(EXPORTER.encode()), tag="local/redis-exporter:test", rm=True)
    load_images(["local/redis-exporter:test"])
    stack.set(exporterImage=str(image.id), monitoring='["10.77.0.0/24"]')
    stack.make("up")
    return stack


def metrics_of(stack: KubernetesStack, pod: str, port: int = 9121) -> str:
    address = stack.get("pod", pod)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=3) as answer:
        return str(answer.read().decode())


def test_every_exporter_reaches_its_node_and_answers_who_may_read_it(exported: KubernetesStack) -> None:
    assert findings_of(exported.contract()) == ()
    for pod in exported.names("data") + exported.names("sentinel"):
        await_that(lambda pod=pod: "\nredis_up 1\n" in metrics_of(exported, pod), 30, f"the metrics of {pod}")  # type: ignore[misc]
    assert exported.restarts() == 0
    exported.set(monitoring="[]")
    exported.make("up")
    never(lambda: _answers(exported, "data-0"), 5, "an exporter answers nobody who may not read it")
    exported.set(monitoring='["10.77.0.0/24"]')
    exported.make("up")


def _answers(stack: KubernetesStack, pod: str) -> bool:
    try:
        return bool(metrics_of(stack, pod))
    except OSError:
        return False


def test_monitor_and_rules_come_with_their_kinds_and_name_what_there_is(
    exported: KubernetesStack, operator: None
) -> None:
    exported.make("up")
    (monitor,) = exported.get("servicemonitors")["items"]
    for endpoint in monitor["spec"]["endpoints"]:
        labels = ",".join(f"{key}={value}" for key, value in monitor["spec"]["selector"]["matchLabels"].items())
        slices = exported.get("endpointslices", "--selector", labels)["items"]
        found = [
            address
            for each in slices
            if any(port["name"] == endpoint["port"] for port in each["ports"] or [])
            for address in each["endpoints"]
        ]
        assert len(found) == {"metrics": 6, "statistics": 2}[endpoint["port"]]
    (rule,) = exported.get("prometheusrules")["items"]
    expressions = " ".join(each["expr"] for group in rule["spec"]["groups"] for each in group["rules"])
    known = "".join(metrics_of(exported, pod) for pod in ("data-0", "data-1", "data-2", "sentinel-0"))
    for metric in re.findall(r"redis_\w+(?=\{)", expressions):
        assert f"\n{metric}" in known, metric
    exported.up_unchanged()


def test_without_the_kinds_there_is_an_up_all_the_same(exported: KubernetesStack) -> None:
    exported.make("up")
    assert findings_of(exported.contract()) == ()
    exported.up_unchanged()
