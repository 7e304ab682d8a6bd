"""The way back from Sentinel with an application in the cluster: examples/app as its manifest deploys it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from client.ledger import Ledger
from rollout import standalone
from rollout.plan import Consumer
from smoke_tests.verdict import Verdict
from tests.background import meanwhile
from tests.kubernetes.lab import KUBECONFIG, kubectl, load_images
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that
from tools.images import build_sample
from tools.paths import ROOT

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image(engine: Any, cluster: None) -> str:
    """The sample's image, from its own Dockerfile, on every node."""
    built = build_sample()
    load_images(["redis-sentinel-sample"])
    return built


@pytest.fixture
def health(stack: KubernetesStack, image: str) -> Iterator[str]:
    """The address of /health of the application, deployed in a namespace of its own; it serves through Sentinel."""
    shop = f"{stack.namespace}-shop"
    kubectl("create", "namespace", shop)
    try:
        stack.set(contractNamespaces=json.dumps([shop]), clientPods=json.dumps([f"{shop}:app=sample"]))
        stack.make("up")
        deployment, service = yaml.safe_load_all((ROOT / "examples/app/kubernetes.yaml").read_text())
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})
        kubectl("--namespace", shop, "apply", "-f", "-", stdin=text)
        kubectl("--namespace", shop, "rollout", "status", "deployment/sample", "--timeout=60s")
        address = json.loads(kubectl("--namespace", shop, "get", "service", "sample", "-o", "json"))["spec"][
            "clusterIP"
        ]
        yield f"http://{address}:8080/health"
    finally:
        kubectl("delete", "namespace", shop, timeout_s=200)


def redis_of(health: str) -> dict[str, Any]:
    with urllib.request.urlopen(health, timeout=3) as answer:  # noqa: S310 - a Service of the cluster
        return dict(json.load(answer)["redis"])


class Visitor:
    """Somebody who asks the application all the time."""

    def __init__(self, health: str) -> None:
        self._health = health
        self.answers, self.problems = 0, list[str]()

    def ask(self, stop: Event) -> None:
        while not stop.wait(0.05):
            try:
                seen = redis_of(self._health)
                self.answers += 1
                if not seen["available"]:
                    self.problems.append(f"Redis away: {seen['problem']}")
            except OSError as error:
                self.problems.append(f"no answer: {error}")


def test_the_way_back_restarts_the_consumers_and_nobody_notices(stack: KubernetesStack, health: str) -> None:
    contract = stack.contract().application()
    found = await_that(lambda: redis_of(health), 30, "an answer of the application")
    assert (found["mode"], found["available"]) == ("sentinel", True)
    assert found["sentinel"]["answering"] == 3
    consumer = Consumer(
        name="sample",
        deployment="sample",
        namespace=f"{stack.namespace}-shop",
        kubeconfig=KUBECONFIG,
        health=health,
    )

    def declare() -> None:
        stack.set(contractMode="standalone")
        stack.make("up")

    visitor = Visitor(health)
    with meanwhile(visitor.ask), Ledger(contract, writers=2) as ledger:
        ledger.wait_for_acks(100)
        outcome = standalone.go(contract, declare, [consumer], watch_s=5)
        ledger.wait_for_acks(100)
    report = ledger.verify()
    ledger.cleanup()
    print(f"{outcome.reason}; {visitor.answers} answers of /health, {len(visitor.problems)} bad; {report}")
    assert outcome.verdict is Verdict.PASS, outcome.reason
    assert report.lost == ()
    assert visitor.problems == []
    found = redis_of(health)
    assert (found["mode"], found["available"]) == ("standalone", True)
