"""The dev stack's copy follows the committed file and keeps only what must not be committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.errors import ToolError
from tools.stack_config import merge, read_config, refresh_copy

PASSWORD = {"secure": "v1:abc:def"}
COPY = {
    "config": {"redis-sentinel:target": "docker", "redis-sentinel:old": 1, "redis-sentinel:appPassword": PASSWORD},
    "encryptionsalt": "v1:salt",
}


def test_committed_settings_win_and_removed_ones_vanish() -> None:
    merged = merge({"config": {"redis-sentinel:target": "process", "redis-sentinel:replicas": 3}}, COPY)
    assert merged == {
        "config": {
            "redis-sentinel:appPassword": PASSWORD,
            "redis-sentinel:target": "process",
            "redis-sentinel:replicas": 3,
        },
        "encryptionsalt": "v1:salt",
    }


def test_a_password_in_the_committed_file_wins() -> None:
    committed = {"config": {"redis-sentinel:appPassword": {"secure": "v1:mine"}}}
    assert merge(committed, COPY)["config"]["redis-sentinel:appPassword"] == {"secure": "v1:mine"}


def test_an_empty_committed_file_keeps_salt_and_passwords() -> None:
    assert merge({}, COPY) == {"config": {"redis-sentinel:appPassword": PASSWORD}, "encryptionsalt": "v1:salt"}


def test_the_copy_is_private_and_left_alone_when_nothing_changed(tmp_path: Path) -> None:
    committed, copy = tmp_path / "Pulumi.dev.yaml", tmp_path / "state" / "Pulumi.dev.yaml"
    committed.write_text("config:\n  redis-sentinel:target: process\n")
    refresh_copy(committed, copy, None)
    before = copy.stat()
    refresh_copy(committed, copy, None)
    assert (copy.stat().st_ino, before.st_mode & 0o777) == (before.st_ino, 0o600)


def test_a_lost_salt_is_taken_from_the_state(tmp_path: Path) -> None:
    committed = tmp_path / "Pulumi.dev.yaml"
    committed.write_text("config: {}\n")
    assert refresh_copy(committed, tmp_path / "copy.yaml", "v1:from-state")["encryptionsalt"] == "v1:from-state"


@pytest.mark.parametrize("content", ["config: [", "- a\n- b\n", "config: text\n"])
def test_a_file_that_is_no_configuration_is_one_clear_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(content)
    with pytest.raises(ToolError, match=r"Pulumi\.dev\.yaml is not (.|\n)*fix: "):
        read_config(file)
