"""More nodes and fewer again on the cluster, also when the master is one of those that go."""

from __future__ import annotations

import pytest

from tests.engine.resizing import resize
from tests.engine.stack import master_of
from tests.kubernetes.hosts import make_master
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(1500)]


def test_a_stack_grows_and_shrinks_without_ghosts_even_when_the_master_goes(stack: KubernetesStack) -> None:
    # Five do not have a host each.
    stack.set(spread="soft")
    resize(stack, replicas=4, sentinels=5)
    make_master(stack, "data-4")
    assert master_of(stack.contract()) == "data-4"
    resize(stack, replicas=2, sentinels=3)
    assert sorted(claim["metadata"]["name"] for claim in stack.get("pvc")["items"]) == sorted(
        f"data-{name}" for kind in ("data", "sentinel") for name in stack.names(kind)
    )
    assert stack.restarts() == 0
    before = stack.uids()
    stack.up_unchanged()
    assert stack.uids() == before
