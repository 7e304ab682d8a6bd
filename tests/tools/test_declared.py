"""The tools look for a stack where the program puts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import NAMESPACE_OF_STACK
from tools.declared import namespace_of
from tools.stacks import Stack


@pytest.mark.parametrize("name", ["prod", "Prod_EU", "a" * 63, "EU-", "9_9"])
def test_a_stack_has_one_namespace(name: str, tmp_path: Path) -> None:
    assert namespace_of(Stack(name, tmp_path, tmp_path / "absent.yaml")) == NAMESPACE_OF_STACK.compute(name, {})
