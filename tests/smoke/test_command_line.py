"""What a user may get wrong costs one message, exit code 2, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contract import render_env
from smoke_tests.__main__ import main
from smoke_tests.catalogue import catalogue
from tests.smoke.samples import CONTRACT
from tests.unit.samples import MARKER


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message for arguments that must be refused."""
    try:
        code = main(arguments)
    except SystemExit as exit:
        code = int(str(exit.code))
    message = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in message
    assert MARKER not in message
    return message


def contract_file(folder: Path, **changes: str) -> str:
    path = folder / "contract.env"
    path.write_text(render_env(CONTRACT.to_env() | changes))
    return str(path)


def test_no_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--contract FILE is needed" in refused(capsys)
    assert "No such file" in refused(capsys, "--contract", str(tmp_path / "absent"))


def test_a_bad_contract_and_every_problem_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = contract_file(tmp_path, REDIS_PORT="many", REDIS_NODES="")
    message = refused(capsys, "--contract", path)
    assert "REDIS_PORT" in message
    assert "REDIS_NODES" in message


def test_a_stack_that_is_no_folder_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = contract_file(tmp_path, REDIS_STACK="../../elsewhere")
    assert "REDIS_STACK" in refused(capsys, "--contract", path, "--evidence", str(tmp_path / "a" / "evidence"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["contract.env"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    message = refused(capsys, "--contract", contract_file(tmp_path), "--evidence", str(tmp_path / "file"))
    assert "no evidence can be written" in message


@pytest.mark.parametrize("only", ["quorum.nothing", "", "quorum.peers,"])
def test_unknown_checks(only: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such check" in refused(capsys, "--contract", contract_file(tmp_path), "--only", only)


def test_the_list_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [spec.id for spec in catalogue()]


def test_the_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = capsys.readouterr().out
    for line in ("0 pass", "1 fail", "2 error", "3 inconclusive"):
        assert line in help_text


def test_check_ids_are_unique() -> None:
    ids = [spec.id for spec in catalogue()]
    assert len(ids) == len(set(ids))
