"""`down` of a protected stack: refused before the engine is asked, in the words of what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import checkpoint, deployment
from tools.deployment import Deployment
from tools.errors import ToolError
from tools.stacks import Stack


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setattr(deployment, "find_engine", lambda: None)
    monkeypatch.setattr(deployment, "backend_folder", lambda *_: tmp_path / "backend")
    monkeypatch.setattr(deployment, "environment", lambda *_: {})

    def never(*_: object) -> int:
        raise AssertionError("the engine was asked")

    monkeypatch.setattr(deployment, "run_pulumi", never)
    monkeypatch.setattr(deployment, "call", never)
    return Deployment(Stack("staging", tmp_path / "state", tmp_path / "Pulumi.staging.yaml"))


def state(tmp_path: Path, *, protect: bool) -> None:
    file = checkpoint.checkpoint_file(tmp_path / "backend", "staging")
    file.parent.mkdir(parents=True)
    resources = [{"urn": "urn:pulumi:staging::p::docker:index/network:Network::network", "protect": protect}]
    file.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))


@pytest.mark.parametrize("declared", ["true", "false"])
def test_a_refused_down_says_what_to_do(staging: Deployment, tmp_path: Path, declared: str) -> None:
    state(tmp_path, protect=True)
    staging.stack.config.write_text(f"config:\n  redis-sentinel:protect: '{declared}'\n")
    with pytest.raises(ToolError) as refused:
        staging.down()
    told = str(refused.value)
    assert "stack 'staging' is protected: network may not be deleted; nothing was changed" in told
    assert "make up STACK=staging, then make down STACK=staging CONFIRM=staging" in told
    assert ("protect: false" in told) == (declared == "true"), "what is done already is not asked for"


def test_what_is_not_protected_is_destroyed(staging: Deployment, tmp_path: Path) -> None:
    state(tmp_path, protect=False)
    with pytest.raises(AssertionError, match="the engine was asked"):
        staging.down()
