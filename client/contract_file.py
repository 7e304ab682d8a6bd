"""Reads a contract from a file of KEY=VALUE lines, as `make -s env` and render_env write them."""

from __future__ import annotations

import shlex
from pathlib import Path

from infra.contract import OperatorContract
from infra.problems import ConfigurationError, Problem


def read_operator_contract(path: Path) -> OperatorContract:
    """Raises ConfigurationError for a file that is missing, unreadable or not a valid contract."""
    try:
        words = shlex.split(path.read_text(), comments=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problem = Problem(str(path), str(reason), "a file of KEY=VALUE lines", f"make -s operator-env > {path}")
        raise ConfigurationError("unknown", [problem]) from None
    return OperatorContract.from_env(dict(word.partition("=")[::2] for word in words))
