"""Backend, passphrase and passwords: ours for dev, the user's own for every other stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contract import OPERATOR_USERS
from tools import stacks
from tools.engine import Engine
from tools.errors import ToolError
from tools.passwords import USERS, generate, missing_passwords
from tools.private_files import create_once
from tools.pulumi_environment import backend_folder, ensure_passphrase, environment, passphrase_file
from tools.stacks import Stack, choose

ENGINE = Engine(Path("/engine/bin/pulumi"), "3.259.0", "test")


def stack(tmp_path: Path, name: str) -> Stack:
    return Stack(name, tmp_path / "state", tmp_path / f"Pulumi.{name}.yaml")


def test_the_passphrase_is_private_and_made_once(tmp_path: Path) -> None:
    dev = stack(tmp_path, "dev")
    ensure_passphrase(dev, state_exists=False)
    file = passphrase_file(dev)
    first = file.read_text()
    ensure_passphrase(dev, state_exists=True)
    assert (file.stat().st_mode & 0o777, len(first) >= 32, file.read_text() == first) == (0o600, True, True)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_of_two_that_create_a_private_file_the_first_ones_content_stays(tmp_path: Path) -> None:
    create_once(tmp_path / "file", "first")
    create_once(tmp_path / "file", "second")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "first")]


def test_a_lost_passphrase_is_not_replaced_under_an_existing_state(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"dev\.passphrase is gone(.|\n)*fix: put the file back"):
        ensure_passphrase(stack(tmp_path, "dev"), state_exists=True)


def test_dev_has_a_backend_a_home_and_a_passphrase_of_its_own(tmp_path: Path) -> None:
    dev = stack(tmp_path, "dev")
    theirs = {
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
        "PULUMI_BACKEND_URL": "s3://theirs",
        "PULUMI_CONFIG_PASSPHRASE": "theirs",
        "PULUMI_ACCESS_TOKEN": "theirs",
    }
    ours = environment(dev, ENGINE, theirs, {})
    assert ours["PULUMI_BACKEND_URL"] == f"file://{dev.state}/pulumi"
    assert ours["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(passphrase_file(dev))
    assert ours["PULUMI_HOME"].startswith(str(dev.state))
    assert ours["PULUMI_OPTION_CONFIG_FILE"] == str(dev.state / "dev" / "Pulumi.dev.yaml")
    assert ours["PATH"].split(":")[0] == "/engine/bin"
    assert "theirs" not in ours.values()


@pytest.mark.parametrize(
    ("theirs", "config", "named"),
    [
        ({}, {}, "PULUMI_BACKEND_URL, or run `pulumi login`"),
        ({"PULUMI_BACKEND_URL": "file:///states"}, {}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
        ({"PULUMI_BACKEND_URL": "s3://states"}, {"secretsprovider": "passphrase"}, "PULUMI_CONFIG_PASSPHRASE_FILE"),
    ],
)
def test_another_stack_without_its_own_backend_or_passphrase_is_told_what_to_set(
    tmp_path: Path, theirs: dict[str, str], config: dict[str, str], named: str
) -> None:
    with pytest.raises(ToolError) as caught:
        environment(stack(tmp_path, "staging"), ENGINE, {"PULUMI_HOME": str(tmp_path), **theirs}, config)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "config"),
    [
        ({"PULUMI_BACKEND_URL": "file:///states", "PULUMI_CONFIG_PASSPHRASE_FILE": "/secret"}, {}),
        ({"PULUMI_BACKEND_URL": "s3://states"}, {"secretsprovider": "awskms://key"}),
        ({"PULUMI_ACCESS_TOKEN": "token"}, {}),
    ],
)
def test_another_stack_keeps_the_users_backend(tmp_path: Path, theirs: dict[str, str], config: dict[str, str]) -> None:
    staging = stack(tmp_path, "staging")
    ours = environment(staging, ENGINE, {"PULUMI_HOME": str(tmp_path), **theirs}, config)
    assert theirs.items() <= ours.items()
    assert ours["PULUMI_OPTION_CONFIG_FILE"] == str(staging.committed_config)


def test_a_login_counts_as_a_backend(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"current": "file:///states"}')
    theirs = {"PULUMI_HOME": str(tmp_path), "PULUMI_CONFIG_PASSPHRASE": "x"}
    environment(stack(tmp_path, "staging"), ENGINE, theirs, {})
    assert backend_folder(stack(tmp_path, "staging"), theirs) == Path("/states")


def test_only_missing_passwords_are_generated_and_each_is_new() -> None:
    stored: dict[str, str] = {}
    generate(missing_passwords({"config": {"redis-sentinel:appPassword": "set"}}), stored.__setitem__)
    assert set(stored) == {f"redis-sentinel:{user}Password" for user in OPERATOR_USERS}
    assert len(set(stored.values())) == 4
    assert all(len(password) == 32 for password in stored.values())


def test_the_passwords_are_those_of_the_contract() -> None:
    assert ("app", *OPERATOR_USERS) == USERS


@pytest.mark.parametrize("name", ["", "../dev", "a b", "nosuch"])
def test_a_stack_that_is_not_there_is_one_clear_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACK_CONFIG_FILE", raising=False)
    with pytest.raises(ToolError, match="fix: "):
        choose(name)


def test_the_state_folder_and_the_configuration_can_be_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.setenv("STACK_CONFIG_FILE", str(tmp_path / "mine.yaml"))
    monkeypatch.setenv("REDIS_STATE_DIR", str(tmp_path / "elsewhere"))
    dev = choose(stacks.DEV)
    assert (dev.committed_config, dev.folder) == (tmp_path / "mine.yaml", tmp_path / "elsewhere" / "dev")
