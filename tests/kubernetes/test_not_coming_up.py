"""Pods that do not come up: `up` says within a minute which, why and what to do, and what served goes on serving."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from client.ledger import Ledger
from tests.kubernetes.stack import KubernetesStack
from tests.waiting import SLACK

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(600)]

TOLD_S = 60
NO_IMAGE = f"registry.invalid/redis@sha256:{'0' * 64}"


def fails_in_time(stack: KubernetesStack, **settings: str) -> str:
    """What an `up` with these settings says. It fails in time, loses no write, and the next one mends all."""
    before = dict(stack.settings)
    with Ledger(stack.contract()) as ledger:
        ledger.wait_for_acks(100)
        changed = _seen_changing(stack)
        stack.set(**settings)
        try:
            output = stack.make("up", fails=True)
            ledger.wait_for_acks(200)
        finally:
            stack.configure(before)
    report = ledger.verify()
    ledger.cleanup()
    took = max(map(int, re.findall(r"data-rollout updating \((\d+)s\)", output)))
    print(f"told after {took} s: {report}\n{output[-1500:]}")
    assert report.lost == ()
    assert took < TOLD_S * SLACK
    assert changed() == {"data-2"}, "the others stay as they were"
    assert "what served goes on serving" in output
    assert "Traceback" not in output
    return output


def _seen_changing(stack: KubernetesStack) -> Callable[[], set[str]]:
    before = stack.uids()
    return lambda: {name for name, uid in before.items() if stack.uids().get(name) != uid}


def test_an_image_that_is_not_there(stack: KubernetesStack) -> None:
    output = fails_in_time(stack, image=NO_IMAGE)
    assert f"data-2, container server, image {NO_IMAGE}: " in output
    assert "ErrImagePull" in output or "ImagePullBackOff" in output
    assert "fix: pulumi config set image" in output
    stack.make("up")
    stack.up_unchanged()


def test_no_host_with_room(stack: KubernetesStack) -> None:
    output = fails_in_time(stack, maxmemory="999gb")
    assert "data-2: Unschedulable: " in output
    assert "Insufficient memory" in output
    stack.make("up")


def test_a_quota_that_is_used_up(stack: KubernetesStack) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    quota |= {"spec": {"hard": {"pods": str(len(stack.uids()) - 1)}}}
    (stack.home / "quota.json").write_text(json.dumps(quota))
    stack.kubectl("apply", "-f", str(stack.home / "quota.json"))
    try:
        output = fails_in_time(stack, maxmemory="96mb")
    finally:
        stack.kubectl("delete", "resourcequota", "small")
    assert "pods of data: FailedCreate: " in output
    assert "exceeded quota: small" in output
    stack.make("up")
