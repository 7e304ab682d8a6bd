"""What is said about the settings outside their model is generated from it, and current."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.setting_reader import PROJECT
from infra.settings import OPTIONS
from tools import config_docs

ROOT = config_docs.ROOT


def test_the_configuration_page_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == config_docs.page()


def test_the_project_file_is_current() -> None:
    text = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
    assert text == config_docs.project_file(text)


def test_the_project_is_named_as_the_remedies_say() -> None:
    assert (ROOT / "Pulumi.yaml").read_text(encoding="utf-8").startswith(f"name: {PROJECT}\n")


def test_the_page_has_a_row_for_every_setting() -> None:
    rows = [line for line in config_docs.page().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [option.key for option in OPTIONS]


def test_every_setting_is_described() -> None:
    assert [option.key for option in OPTIONS if not option.description] == []


def test_the_schema_has_exactly_the_settings_with_a_fixed_default() -> None:
    keys = [line.strip(" :") for line in config_docs.schema().splitlines() if line.startswith("  ") and line[2] != " "]
    fixed = [option.key for option in OPTIONS if option.default is not None and not option.secret]
    assert keys == fixed
    assert {"target", "masterName", "quorum", "appPassword", "caKey"}.isdisjoint(keys)


def test_check_fails_on_a_stale_page_and_write_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: x\n\nconfig:\n  old:\n    default: 1\n", encoding="utf-8")
    monkeypatch.setattr(config_docs, "ROOT", tmp_path)

    assert config_docs.main(["--check"]) == 1
    assert "Pulumi.yaml is out of date; run `python -m tools.config_docs --write`" in capsys.readouterr().err
    assert config_docs.main(["--write"]) == 0
    assert config_docs.main(["--check"]) == 0
    assert (tmp_path / "Pulumi.yaml").read_text(encoding="utf-8") == "name: x\n\n" + config_docs.schema()
