"""`make secrets STACK=canary CLIENTS_OF=prod`: production's app password, once, and never as an argument."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools import deployment
from tools.deployment import Deployment
from tools.errors import ToolError
from tools.passwords import SHARED_KEY
from tools.stacks import Stack

MARKER = "Zx8-production-4fQ2"


class Engine:
    """What tools.pulumi_cli.call does for a canary's configuration and production's outputs."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {"contract": {"REDIS_PASSWORD": MARKER, "REDIS_HOST": "10.0.0.1"}}
        self.config: dict[str, str] = {}
        self.calls: list[list[str]] = []

    def call(self, arguments: list[str], _environment: object, *, secret_input: str | None = None) -> str:
        self.calls.append(arguments)
        match arguments:
            case ["stack", "output", "--json", "--show-secrets"]:
                return json.dumps(self.outputs)
            case ["config", "--json", "--show-secrets"]:
                return json.dumps({key: {"value": text, "secret": True} for key, text in self.config.items()})
            case ["config", "set", "--secret", key]:
                assert secret_input
                self.config[key] = secret_input
                return ""
        raise AssertionError(f"an unexpected call: {arguments}")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(deployment, "find_engine", lambda: None)
    monkeypatch.setattr(deployment, "backend_folder", lambda *_: None)
    monkeypatch.setattr(deployment, "environment", lambda *_: {})
    monkeypatch.setattr(deployment, "call", made.call)
    return made


def of(name: str, folder: Path) -> Deployment:
    return Deployment(Stack(name, folder, folder / f"Pulumi.{name}.yaml"))


def test_the_password_comes_from_productions_outputs_and_is_set_once(engine: Engine, tmp_path: Path) -> None:
    canary, prod = of("canary", tmp_path), of("prod", tmp_path)
    canary.accept_clients_of(prod)
    assert engine.config == {SHARED_KEY: MARKER}
    canary.accept_clients_of(prod)
    assert sum("set" in call for call in engine.calls) == 1
    assert not any(MARKER in word for call in engine.calls for word in call)


def test_a_rotated_password_is_taken_over(engine: Engine, tmp_path: Path) -> None:
    engine.config[SHARED_KEY] = "an-earlier-one"
    of("canary", tmp_path).accept_clients_of(of("prod", tmp_path))
    assert engine.config == {SHARED_KEY: MARKER}


def test_production_that_is_not_up_is_said_and_nothing_is_set(engine: Engine, tmp_path: Path) -> None:
    engine.outputs.clear()
    with pytest.raises(ToolError, match="stack 'prod' is not up"):
        of("canary", tmp_path).accept_clients_of(of("prod", tmp_path))
    assert engine.config == {}
