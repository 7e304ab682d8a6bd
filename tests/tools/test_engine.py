"""The engine is found in the promised order, accepted on evidence, and refused with reasons and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import fakes
from tools import engine
from tools.engine_parts import HELPERS, EngineRefused
from tools.errors import ToolError
from tools.progress import Say


def silent(_message: str) -> None:
    """No progress in tests."""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing: an empty PATH folder, no toolchain, no lab kit, no cache, no way out."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ENGINE_SOURCES", raising=False)
    monkeypatch.setattr(engine, "ROOT", tmp_path / "repository")
    monkeypatch.setattr(engine, "TOOLCHAINS", ())
    monkeypatch.setattr(engine, "download_engine", refusing("the release server cannot be reached"))
    monkeypatch.setattr(engine, "build_engine", refusing("no Go"))
    return tmp_path


def refusing(reason: str) -> object:
    def make(_folder: Path, _say: Say) -> None:
        raise EngineRefused(reason)

    return make


def making(version: str) -> object:
    def make(folder: Path, _say: Say) -> None:
        fakes.engine(folder / "bin", version)

    return make


def test_the_engine_on_path_comes_first(bare: Path) -> None:
    fakes.engine(bare / "path")
    fakes.engine(bare / "lab" / "bin")
    assert engine.find_engine(silent) == engine.Engine(bare / "path" / "pulumi", "3.259.0", "PATH")


def test_an_old_engine_on_path_is_passed_over_for_the_toolchain(bare: Path) -> None:
    fakes.engine(bare / "path", "v3.258.1")
    fakes.engine(bare / "lab" / "bin", "v3.300.0")
    found = engine.find_engine(silent)
    assert (found.pulumi, found.version) == (bare / "lab" / "bin" / "pulumi", "3.300.0")


def test_an_engine_without_its_helpers_is_refused(bare: Path) -> None:
    fakes.engine(bare / "path", helpers=("pulumi-language-python",))
    with pytest.raises(EngineRefused, match="lacks pulumi-language-python-exec, pulumi-resource-pulumi-python"):
        engine.examine(bare / "path" / "pulumi", "PATH")


@pytest.mark.parametrize("said", ["v4.0.0", "v2.300.0", "3.99.0", "nonsense", "v3.259.0; exit 3"])
def test_an_engine_of_another_version_or_none_is_refused(bare: Path, said: str) -> None:
    with pytest.raises(EngineRefused):
        engine.examine(fakes.engine(bare / "path", said), "PATH")


def test_the_lab_kit_beside_the_repository_makes_the_toolchain(bare: Path) -> None:
    fakes.engine(bare / "made")
    fakes.script(
        bare / "shared" / "lab" / "lab",
        f'[ "$*" = "install pulumi" ] && mkdir -p "$LAB_HOME" && mv {bare}/made "$LAB_HOME/bin"',
    )
    assert engine.find_engine(silent).pulumi == bare / "lab" / "bin" / "pulumi"


def test_the_release_is_made_once_and_cached(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "download_engine", making("v3.259.0"))
    first = engine.find_engine(silent)
    monkeypatch.setattr(engine, "download_engine", refusing("the network is gone"))
    assert engine.find_engine(silent) == first
    assert first.pulumi.is_relative_to(bare / "cache" / "redis-sentinel-provisioned" / "engine-3.259.0")


@pytest.mark.usefixtures("bare")
def test_the_build_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "build_engine", making("v3.259.0"))
    assert "built from Go modules" in engine.find_engine(silent).source


def test_what_was_made_badly_is_not_kept(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "build_engine", making("v3.1.0"))
    with pytest.raises(ToolError, match=r"is version 3\.1\.0"):
        engine.find_engine(silent)
    assert [path.name for path in (bare / "cache" / "redis-sentinel-provisioned").iterdir()] == ["engine-3.259.0.lock"]


@pytest.mark.usefixtures("bare")
def test_with_nothing_the_error_lists_every_source_and_the_remedy() -> None:
    with pytest.raises(ToolError) as caught:
        engine.find_engine(silent)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip(" -") for line in lines[1:5]] == ["path", "toolchain", "installer", "build"]
    assert "fix: install Pulumi" in lines[5]


@pytest.mark.usefixtures("bare")
def test_a_wrong_engine_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_SOURCES", "path,internet")
    with pytest.raises(ToolError, match="internet"):
        engine.find_engine(silent)


def test_asking_for_the_version_leaves_the_home_alone(bare: Path) -> None:
    pulumi = fakes.script(bare / "path" / "pulumi", f'echo "$PULUMI_HOME" > {bare}/home; echo v3.259.0')
    for helper in HELPERS:
        fakes.script(bare / "path" / helper, "exit 0")
    engine.examine(pulumi, "PATH")
    home = Path((bare / "home").read_text().strip())
    assert not home.exists() and home != Path.home() / ".pulumi"
