"""More nodes and fewer again: every Sentinel knows exactly the declared ones, and no write is lost."""

from __future__ import annotations

import subprocess

import pytest

from tests.engine.resizing import resize
from tests.engine.stack import Stack, await_noted, master_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def move_master_to(stack: Stack, name: str) -> None:
    folder = stack.nodes / name
    script = [str(folder / "bin" / "handover.sh"), str(folder / "conf" / "node.env"), "to-this-node"]
    subprocess.run(script, check=True, capture_output=True)
    assert master_of(stack.contract()) == name


def resets(stack: Stack) -> int:
    return sum(stack.log(name).count("+reset-master") for name in stack.pids() if name.startswith("sentinel"))


def test_a_stack_grows_and_shrinks_without_ghosts_even_when_the_master_goes(new_stack: Stack) -> None:
    new_stack.make("up")
    resize(new_stack, replicas=4, sentinels=5)
    assert resets(new_stack) == 0
    move_master_to(new_stack, "data-4")
    await_noted(new_stack)
    resize(new_stack, replicas=2, sentinels=3)
    assert set(new_stack.pids()) == {*(f"data-{i}" for i in range(3)), *(f"sentinel-{i}" for i in range(3))}
    done = resets(new_stack)
    assert done > 0
    assert set(new_stack.operations(new_stack.make("up"))) == {"unchanged"}
    assert resets(new_stack) == done
