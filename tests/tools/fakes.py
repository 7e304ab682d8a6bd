"""Made-up programs for tests of what looks for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import deployment
from tools.engine_parts import HELPERS


def script(file: Path, body: str) -> Path:
    """An executable shell script with this body."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def engine(folder: Path, version: str = "v3.259.0", helpers: tuple[str, ...] = HELPERS) -> Path:
    """A `pulumi` that says this version, with its helper programs beside it."""
    for helper in helpers:
        script(folder / helper, "exit 0")
    return script(folder / "pulumi", f"echo {version}")


def no_engine(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]) -> None:
    """A deployment that looks for no engine and no backend; what it asks of `pulumi` goes to `call`."""
    monkeypatch.setattr(deployment, "find_engine", lambda: None)
    monkeypatch.setattr(deployment, "backend_folder", lambda *_: None)
    monkeypatch.setattr(deployment, "environment", lambda *_: {})
    monkeypatch.setattr(deployment, "call", call)
