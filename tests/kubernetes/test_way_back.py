"""The way back from Sentinel with an application in the cluster: examples/app as its manifest deploys it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from client.ledger import Ledger
from rehearsal.application import PodApplication, beside, redis_of, visited
from rollout import standalone
from rollout.plan import Consumer
from smoke_tests.verdict import Verdict
from tests.kubernetes.lab import KUBECONFIG, load_images
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import await_that
from tools.images import build_sample

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
    application = PodApplication(shop, image, KUBECONFIG)
    with beside({"prod": application}):
        stack.set(contractNamespaces=json.dumps([shop]), clientPods=json.dumps([f"{shop}:app=sample"]))
        stack.make("up")
        application.start()
        yield str(application.consumer["health"])


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

    with visited(health) as visits, Ledger(contract, writers=2) as ledger:
        ledger.wait_for_acks(100)
        outcome = standalone.go(contract, declare, [consumer], watch_s=5)
        ledger.wait_for_acks(100)
    report = ledger.verify()
    ledger.cleanup()
    print(f"{outcome.reason}; of /health {visits}; {report}")
    assert outcome.verdict is Verdict.PASS, outcome.reason
    assert report.lost == ()
    assert visits.asked
    assert (visits.unanswered, visits.without_redis) == (0, 0)
    found = redis_of(health)
    assert (found["mode"], found["available"]) == ("standalone", True)
