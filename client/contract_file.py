"""Reads a contract from a file of KEY=VALUE lines, as `make -s env` and render_env write them."""

from __future__ import annotations

import shlex
from pathlib import Path

from infra.contract import Contract, OperatorContract
from infra.problems import ConfigurationError, Problem


def read_contract(path: Path) -> Contract:
    """The application's contract; the operator's file holds it too. Raises ConfigurationError like the other one."""
    return Contract.from_env(_variables(path, "env"))


def read_operator_contract(path: Path) -> OperatorContract:
    """Raises ConfigurationError for a file that is missing, unreadable or not a valid contract."""
    return OperatorContract.from_env(_variables(path, "operator-env"))


def stack_of(path: Path) -> str | None:
    """Whose contract it is, where the file tells: the operator's does. Raises as `read_contract`."""
    return _variables(path, "env").get("REDIS_STACK") or None


def _variables(path: Path, command: str) -> dict[str, str]:
    try:
        words = shlex.split(path.read_text(), comments=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problem = Problem(str(path), str(reason), "a file of KEY=VALUE lines", f"make -s {command} > {path}")
        raise ConfigurationError("unknown", [problem]) from None
    return dict(word.partition("=")[::2] for word in words)
