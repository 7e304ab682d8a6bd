"""`make rotate-ca`, killed anywhere and continued: one new key, three `up`s, never trusted alone before it is trusted.

The engine is made up; the authority is the provider's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from infra import certificates
from infra.targets.certificate_provider import AuthorityProvider
from tests.tools.fakes import no_engine
from tools import deployment
from tools.deployment import Deployment
from tools.errors import ToolError
from tools.passwords import GENERATION_KEY, PASSWORD_KEYS
from tools.stack_config import merge
from tools.stacks import Stack

OWN = certificates.first_authority("theirs", None, certificates.utc_now()).signer


class World:
    """The stack's file and the state of its authority."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text(yaml.safe_dump({"config": dict.fromkeys(PASSWORD_KEYS, "x")}))
        self.own = False
        self.ups = 0
        self.fails_at = 0
        self.state: dict[str, Any] = AuthorityProvider().create(self.inputs()).outs or {}

    def inputs(self) -> dict[str, Any]:
        generation = float(yaml.safe_load(self.file.read_text())["config"].get(GENERATION_KEY, 0))
        own = (
            {"own_certificate": OWN.certificate, "own_key": OWN.key}
            if self.own
            else {"own_certificate": "", "own_key": ""}
        )
        return {"stack": "staging", "generation": generation} | own

    def call(self, arguments: list[str], _environment: object, **_: object) -> str:
        match arguments:
            case ["stack", "init", *_]:
                return ""
            case ["config", "set", key, value]:
                config = yaml.safe_load(self.file.read_text())
                config["config"][key] = value
                self.file.write_text(yaml.safe_dump(config))
                return ""
            case ["stack", "export", "--show-secrets"]:
                authority = {"type": "pulumi-python:dynamic/tls:Authority", "outputs": self.state}
                return json.dumps({"deployment": {"resources": [authority] if self.state else []}})
        raise AssertionError(f"an unexpected call: {arguments}")

    def run_pulumi(self, *_: Any) -> int:
        self.ups += 1
        if self.ups == self.fails_at:
            return 255
        if AuthorityProvider().diff("authority", self.state, self.inputs()).changes:
            self.state = AuthorityProvider().update("authority", self.state, self.inputs()).outs or {}
        return 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "Pulumi.staging.yaml")
    no_engine(monkeypatch, made.call)
    monkeypatch.setattr(deployment, "run_pulumi", made.run_pulumi)
    return made


@pytest.fixture
def staging(world: World, tmp_path: Path) -> Deployment:
    return Deployment(Stack("staging", tmp_path / "state", world.file))


def test_a_new_key_in_three_ups_and_another_one_next_time(staging: Deployment, world: World) -> None:
    seen = [world.state["certificate"]]
    for times in (1, 2):
        assert staging.rotate_authority() == 0
        assert world.ups == 3 * times
        assert world.state["trust"] == world.state["certificate"]
        assert not any(certificates.same_key(world.state["certificate"], one) for one in seen)
        seen.append(world.state["certificate"])


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_one_that_failed_goes_on_where_it_was(staging: Deployment, world: World, fails_at: int) -> None:
    world.fails_at = fails_at
    assert staging.rotate_authority() == 255
    assert staging.rotate_authority() == 0
    assert (world.state["made"], world.state["settled"]) == (1, True)


def test_with_a_pause_both_are_trusted_until_it_goes_on(
    staging: Deployment, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.state["certificate"]
    assert staging.rotate_authority(pause=True) == 0
    assert world.state["certificate"] == before
    assert world.state["trust"] == before + world.state["successor_certificate"]
    assert "make rotate-ca STACK=staging" in capsys.readouterr().out
    assert staging.rotate_authority() == 0
    assert (world.state["made"], world.state["settled"]) == (1, True)


def test_a_users_ca_is_taken_over_when_it_was_declared_and_not_made(staging: Deployment, world: World) -> None:
    world.own = True
    assert staging.rotate_authority() == 0
    assert world.state["trust"] == OWN.certificate
    with pytest.raises(ToolError, match="set caCertificate and caKey to another one"):
        staging.rotate_authority()


def test_a_stack_without_tls_is_told(staging: Deployment, world: World) -> None:
    world.state = {}
    with pytest.raises(ToolError, match="has no CA"):
        staging.rotate_authority()
    assert world.ups == 0


def test_the_dev_stacks_copy_keeps_the_generation() -> None:
    assert merge({}, {"config": {GENERATION_KEY: "3", "other": "1"}})["config"] == {GENERATION_KEY: "3"}
