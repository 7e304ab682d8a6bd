"""A rotation of passwords, interrupted anywhere and continued, never shuts anybody out.

The engine is made up: it applies the stack's file to nodes, one by one. What holds at every moment: whatever password a
node shows its peers, each of them lets it in; and a client's password works until the rotation is finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from infra.settings import USERS, Settings, parse
from tests.tools.fakes import no_engine
from tools import deployment
from tools.deployment import Deployment
from tools.errors import ToolError
from tools.stacks import PROJECT, Stack

OLD = {user: f"Zx8-{user}-first-4fQ2" for user in USERS}


class Interrupted(Exception):
    """Someone killed the tool."""


class World:
    """The stack's file, and what its nodes go by: several configurations while an `up` is under way."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.live: list[Settings] = []
        self.steps = 0
        self.dies_at = 0
        """The step that an interruption comes in, counted from 1; 0 is none."""
        self.refuses_up = False
        self.write({"target": "process"} | {f"{user}Password": password for user, password in OLD.items()})
        self.apply()
        self.steps = 0

    def read(self) -> dict[str, str]:
        config = yaml.safe_load(self.file.read_text())["config"]
        return {key.removeprefix(f"{PROJECT}:"): value for key, value in config.items()}

    def write(self, values: Mapping[str, str]) -> None:
        self.file.write_text(yaml.safe_dump({"config": {f"{PROJECT}:{key}": text for key, text in values.items()}}))

    def call(self, arguments: list[str], _environment: object, *, secret_input: str | None = None, **_: object) -> str:
        """What tools.pulumi_cli.call does for `pulumi config`."""
        values = self.read()
        match arguments:
            case ["config", "--json", "--show-secrets"]:
                return json.dumps({f"{PROJECT}:{key}": {"value": text, "secret": True} for key, text in values.items()})
            case ["stack", "init", *_]:
                return ""  # it is there
            case ["stack", "export", "--show-secrets"]:
                known = {
                    "passwords": in_use(self.live[-1]),
                    "accepted": {
                        user: [each.get_secret_value() for each in secrets]
                        for user, secrets in self.live[-1].accepted.items()
                    },
                }
                outputs = {key: {"plaintext": json.dumps(value)} for key, value in known.items()}
                identity = {"type": deployment.IDENTITY, "outputs": outputs}
                return json.dumps({"deployment": {"resources": [{"type": "pulumi:pulumi:Stack"}, identity]}})
            case ["config", "set", "--secret", key]:
                assert secret_input
                changed = values | {key.removeprefix(f"{PROJECT}:"): secret_input}
            case ["config", "rm" | "rm-all", *keys]:
                changed = {key: text for key, text in values.items() if f"{PROJECT}:{key}" not in keys}
            case _:
                raise AssertionError(f"an unexpected call: {arguments}")
        self._step(lambda: self.write(changed))
        return ""

    def apply(self) -> int:
        """What `pulumi up` does: refused by settings that do not parse, and one node after the other."""
        if self.refuses_up:
            return 255
        declared = parse("staging", self.read())
        for running in self.live:
            for one, other in ((declared, running), (running, declared)):
                assert all(lets_in(one, user, used) for user, used in in_use(other).items()), "a node is shut out"
        self.live.append(declared)
        self._step(lambda: self.live.clear())
        self.live.append(declared)
        return 0

    def _step(self, change: Callable[[], None]) -> None:
        """An interruption comes before the change is whole."""
        self.steps += 1
        if self.steps == self.dies_at:
            raise Interrupted
        change()

    def everybody_lets_in(self, user: str, password: str) -> bool:
        return all(lets_in(each, user, password) for each in self.live)


def in_use(settings: Settings) -> dict[str, str]:
    return {user: secret.get_secret_value() for user, secret in settings.credentials.items()}


def lets_in(settings: Settings, user: str, password: str) -> bool:
    return password in [secret.get_secret_value() for secret in settings.accepted[user]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "Pulumi.staging.yaml")
    no_engine(monkeypatch, made.call)

    def run_pulumi(command: list[str], *_: Any) -> int:
        assert command[:2] == ["pulumi", "up"]
        return made.apply()

    monkeypatch.setattr(deployment, "run_pulumi", run_pulumi)
    return made


@pytest.fixture
def staging(world: World, tmp_path: Path) -> Deployment:
    return Deployment(Stack("staging", tmp_path / "state", world.file))


# Five users: next ones made, one `up`, three changes for each, one `up`.
STEPS = 5 + 1 + 3 * 5 + 1


def rotate_in_spite_of(staging: Deployment, world: World, dies_at: int) -> None:
    """Rotate, killed at one step; then again, as its user would. A refusal says that only the finish is left."""
    world.steps, world.dies_at = 0, dies_at
    with pytest.raises(Interrupted):
        staging.rotate()
    world.dies_at = 0
    try:
        assert staging.rotate() == 0
    except ToolError as refused:
        assert "make rotate-finish STACK=staging" in str(refused)


def test_a_rotation_changes_every_password_and_lets_both_in(staging: Deployment, world: World) -> None:
    assert staging.rotate() == 0
    assert world.steps == STEPS
    (live,) = world.live
    used = in_use(live)
    assert not [user for user in USERS if used[user] == OLD[user]]
    assert all(lets_in(live, user, password) for passwords in (OLD, used) for user, password in passwords.items())


def test_the_finish_lets_the_new_ones_in_alone(staging: Deployment, world: World) -> None:
    staging.rotate()
    used = in_use(world.live[0])
    assert staging.finish_rotation() == 0
    (live,) = world.live
    assert {user: [each.get_secret_value() for each in secrets] for user, secrets in live.accepted.items()} == {
        user: [password] for user, password in used.items()
    }
    assert world.read().keys() == {"target", *(f"{user}Password" for user in USERS)}


@pytest.mark.parametrize("dies_at", range(1, STEPS + 1))
def test_an_interrupted_rotation_goes_on_and_shuts_nobody_out(staging: Deployment, world: World, dies_at: int) -> None:
    rotate_in_spite_of(staging, world, dies_at)
    assert all(world.everybody_lets_in(user, password) for user, password in OLD.items())
    assert staging.finish_rotation() == 0
    (live,) = world.live
    assert not [user for user in USERS if lets_in(live, user, OLD[user])]
    assert in_use(live) == {user: text for user in USERS for text in [world.read()[f"{user}Password"]]}


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_an_interrupted_finish_is_finished_by_the_next_run(staging: Deployment, world: World, dies_at: int) -> None:
    staging.rotate()
    world.steps, world.dies_at = 0, dies_at
    with pytest.raises(Interrupted):
        staging.finish_rotation()
    world.dies_at = 0
    assert staging.finish_rotation() == 0
    assert staging.up() == 0  # where only the last `up` was left
    (live,) = world.live
    assert not [user for user in USERS if lets_in(live, user, OLD[user])]


def test_nothing_is_rotated_while_the_previous_passwords_still_work(staging: Deployment, world: World) -> None:
    staging.rotate()
    before = world.read()
    with pytest.raises(ToolError, match=r"nothing was\s+changed(.|\n)*fix: make rotate-finish STACK=staging"):
        staging.rotate()
    assert world.read() == before


@pytest.mark.parametrize("dies_at", [6, 7, 10, STEPS - 1])
def test_nothing_is_finished_while_a_rotation_is_under_way(staging: Deployment, world: World, dies_at: int) -> None:
    world.dies_at = dies_at
    with pytest.raises(Interrupted):
        staging.rotate()
    before = world.read()
    with pytest.raises(ToolError, match=r"nothing was changed(.|\n)*fix: make rotate STACK=staging"):
        staging.finish_rotation()
    assert world.read() == before


@pytest.mark.parametrize("dies_at", range(1, 2 + 4 + 1 + 3 * 5 + 1))
@pytest.mark.parametrize("users", [("operator",), USERS], ids=["one", "all"])
def test_passwords_changed_by_hand_become_the_next_ones(
    staging: Deployment, world: World, users: tuple[str, ...], dies_at: int
) -> None:
    """Nodes know nothing of them yet, and `up` refuses them."""
    changed = {f"{user}Password": f"Zx8-{user}-by-hand-4fQ2" for user in users}
    world.write(world.read() | changed)
    rotate_in_spite_of(staging, world, dies_at)
    assert all(world.everybody_lets_in(user, password) for user, password in OLD.items())
    assert staging.finish_rotation() == 0
    (live,) = world.live
    assert changed.items() <= {f"{user}Password": password for user, password in in_use(live).items()}.items()
    assert not [user for user in USERS if lets_in(live, user, OLD[user])]


def test_a_password_changed_by_hand_while_the_previous_ones_still_work_is_let_in_too(
    staging: Deployment, world: World
) -> None:
    staging.rotate()
    first = in_use(world.live[0])
    world.write(world.read() | {"operatorPassword": "Zx8-operator-by-hand-4fQ2"})
    assert staging.rotate() == 0
    assert staging.finish_rotation() == 0
    assert in_use(world.live[0]) == first | {"operator": "Zx8-operator-by-hand-4fQ2"}


def test_without_a_rotation_there_is_nothing_to_finish(
    staging: Deployment, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert staging.finish_rotation() == 0
    assert world.steps == 0
    assert "nothing to do" in capsys.readouterr().out


def test_an_up_that_fails_stops_the_rotation_before_any_password_is_used(staging: Deployment, world: World) -> None:
    world.refuses_up = True
    assert staging.rotate() == 255
    assert {user: world.read()[f"{user}Password"] for user in USERS} == OLD


def test_no_password_is_printed(staging: Deployment, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    staging.rotate()
    staging.finish_rotation()
    captured = capsys.readouterr()
    assert "make rotate-finish STACK=staging" in captured.out
    for password in (*OLD.values(), *in_use(world.live[0]).values()):
        assert password not in captured.out + captured.err
