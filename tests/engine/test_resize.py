"""More nodes and fewer again: every Sentinel knows exactly the declared ones, and no write is lost."""

from __future__ import annotations

import pytest

from tests.engine.resizing import grow_and_shrink
from tests.engine.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(600)]


def resets(stack: Stack) -> int:
    return sum(stack.log(name).count("+reset-master") for name in stack.pids() if name.startswith("sentinel"))


def test_a_sentinel_is_reset_only_when_somebody_is_gone(new_stack: Stack) -> None:
    new_stack.make("up")
    assert resets(new_stack) == 0
    grow_and_shrink(new_stack, replicas=4)
    done = resets(new_stack)
    assert done > 0
    new_stack.up_unchanged()
    assert resets(new_stack) == done
