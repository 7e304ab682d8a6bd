"""The operator's handover: what the script is given, and what its answers become. A stand-in plays the script."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import handover
from client.handover import Handover, HandoverError, MissingCli, hand_over
from infra.contract import Endpoint, render_env
from tests.unit.test_contract import CONTRACT, ENV, MARKER

FIGURES = "old=10.0.0.1:7380 new=10.0.0.1:7381 fenced_ms=183 total_ms=912 epoch_before=4 epoch=5"
STAMP = "2026-01-01T00:00:00+0000 operator handover.sh:"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for handover.sh: a test writes its body. It works in a folder of its own."""
    path = tmp_path / "handover.sh"
    monkeypatch.setattr(handover, "SCRIPT", path)
    monkeypatch.setenv("REDIS_CLI_BINARY", "/x/valkey-cli")
    monkeypatch.chdir(tmp_path)
    return path


def write(script: Path, body: str) -> None:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o700)


def failed(script: Path, body: str) -> str:
    """What the operator is told when the script does this."""
    write(script, body)
    with pytest.raises(HandoverError) as caught:
        hand_over(CONTRACT)
    return str(caught.value)


def test_the_figures_are_those_of_the_last_line(script: Path) -> None:
    write(script, f"echo something else\necho '{FIGURES}'")
    old, new = Endpoint("10.0.0.1", 7380), Endpoint("10.0.0.1", 7381)
    assert hand_over(CONTRACT) == Handover(old, new, fenced_ms=183, total_ms=912, epoch_before=4, epoch=5)


def test_the_script_gets_what_it_needs_and_nothing_of_the_callers_environment(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", f"{MARKER}-passphrase")
    write(script, f"env >env\necho \"$*\" >arguments\necho '{FIGURES}'")
    hand_over(CONTRACT)
    given = dict(line.split("=", 1) for line in Path("env").read_text().splitlines())
    wanted = {
        "CLI": "/x/valkey-cli",
        "CLI_FLAGS": "",
        "MASTER_NAME": CONTRACT.master_name,
        "SENTINELS": " ".join(map(str, CONTRACT.sentinels)),
        "DATA_NODES": " ".join(str(node.endpoint) for node in CONTRACT.nodes),
        "DOWN_AFTER_MS": "2000",
        "MIN_REPLICAS": "",
        "REDISCLI_AUTH": CONTRACT.users["operator"].get_secret_value(),
    }
    assert given | wanted == given
    assert given.keys() - wanted.keys() <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}  # a shell adds some
    assert Path("arguments").read_text() == "\n"


def test_the_operator_is_told_the_scripts_last_word(script: Path) -> None:
    body = f"echo '{STAMP} waiting' >&2\necho '{STAMP} gave up: no quorum at 10.0.0.1:27380' >&2\nexit 1"
    assert failed(script, body) == "gave up: no quorum at 10.0.0.1:27380"


def test_a_script_that_fails_without_a_word_is_told_by_its_status(script: Path) -> None:
    assert failed(script, "exit 7") == "status 7"


def test_a_handover_that_moved_the_master_all_the_same_is_an_error(script: Path) -> None:
    body = f"echo '{FIGURES}'\necho '{STAMP} the master moved, but the fence ended before' >&2\nexit 1"
    assert failed(script, body) == "the master moved, but the fence ended before"


def test_a_script_without_an_end_is_ended(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "TIMEOUT_S", 0.1)
    assert failed(script, "exec sleep 60").startswith("no end within")


def test_without_a_cli_the_remedy_is_told(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_CLI_BINARY")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingCli, match="name it in REDIS_CLI_BINARY"):
        failed(script, "exit 0")


def run_main(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> int:
    Path("contract.env").write_text(render_env(ENV | changes))
    monkeypatch.setattr("sys.argv", ["handover", "--contract", "contract.env"])
    return handover.main()


def test_the_command_prints_both_masters_by_name_and_the_seconds(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(script, f"echo '{FIGURES}'")
    nodes = {"REDIS_NODES": "data-0=10.0.0.1:7380,data-1=10.0.0.1:7381"}
    assert run_main(monkeypatch, nodes) == 0
    assert capsys.readouterr().out.splitlines() == [
        "old master  data-0 (10.0.0.1:7380)",
        "new master  data-1 (10.0.0.1:7381)",
        "writes paused for 0.18 s; all agreed and in sync after 0.91 s",
    ]


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"REDIS_SENTINEL_ENABLED": "false"}, "failover: a standalone deployment has no replica to hand over to\n"),
        ({"REDIS_PORT": "none"}, "REDIS_PORT: found 'none'"),
    ],
)
def test_what_cannot_be_handed_over_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, str], told: str
) -> None:
    assert run_main(monkeypatch, changes) == 1
    shown = capsys.readouterr()
    assert told in shown.err and shown.err.startswith("failover: ")
    assert MARKER not in shown.err + shown.out
