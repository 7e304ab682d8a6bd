"""A stack other than dev, made, ended and made again by the README's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.connect import connect
from tests.deployment import free_ports
from tests.docker.stack import OwnStack

pytestmark = pytest.mark.engine


def test_a_stack_that_was_ended_is_made_again_by_up(tmp_path: Path) -> None:
    stack = OwnStack(tmp_path)
    (tmp_path / "backend").mkdir()
    first = str(free_ports(20))
    stack.configure({"target": "process", "mode": "standalone", "dataPort": first, "protect": "true"})
    stack.make("secrets")
    stack.make("up")
    password = stack.contract().password
    assert "protect: false" in stack.make("down", f"CONFIRM={stack.name}", fails=True)
    stack.set(protect="false")
    stack.make("up")
    stack.make("down", f"CONFIRM={stack.name}")
    stack.make("up")
    try:
        assert stack.contract().password == password
        with connect(stack.contract().application()) as client:
            client.set("k", "v")
    finally:
        stack.make("down", f"CONFIRM={stack.name}")
    assert stack.processes() == {}
