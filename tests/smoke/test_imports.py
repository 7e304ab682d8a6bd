"""The suite takes a contract, not a deployment: it imports nothing that knows how one is made."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smoke_tests

SUITE = Path(smoke_tests.__file__).parent
ALLOWED = ("client", "infra.contract", "infra.problems", "smoke_tests", "pytest", "redis", "pydantic", "rich")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield str(node.module)


def allowed(module: str) -> bool:
    own = any(module == name or module.startswith(f"{name}.") for name in ALLOWED)
    return own or module.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", sorted(SUITE.rglob("*.py")), ids=lambda path: str(path.relative_to(SUITE)))
def test_only_the_client_and_the_contract_are_imported(path: Path) -> None:
    assert [module for module in imported(path) if not allowed(module)] == []


@pytest.mark.parametrize("module", ["infra.program", "infra", "pulumi", "tests.deployment", "redistribute"])
def test_the_rule_can_refuse(module: str) -> None:
    assert not allowed(module)
