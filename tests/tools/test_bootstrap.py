"""`.venv` counts as good only after a whole install from the present lock files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import fakes
from tools import bootstrap
from tools.paths import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "uv.lock").write_text("one")
    (tmp_path / "requirements.lock").write_text("one")
    return tmp_path


def fake_uv(project: Path, then: str = "") -> str:
    """A uv that notes that it ran and makes a Python that proves anything."""
    python = project / ".venv" / "bin" / "python"
    make = f"mkdir -p {python.parent}; printf '#!/bin/sh\\nexit 0\\n' > {python}; chmod 755 {python}"
    return str(fakes.script(project / "uv", f"echo ran >> {project}/uv.log; {make}; {then}"))


def runs(project: Path) -> int:
    return len((project / "uv.log").read_text().splitlines())


def test_a_second_run_does_nothing_and_a_changed_lock_does(project: Path) -> None:
    uv = fake_uv(project)
    bootstrap.ensure(project, uv=uv)
    bootstrap.ensure(project, uv=uv)
    assert runs(project) == 1
    (project / "uv.lock").write_text("two")
    bootstrap.ensure(project, uv=uv)
    assert runs(project) == 2


def test_a_failed_install_does_not_count(project: Path) -> None:
    bootstrap.ensure(project, uv=fake_uv(project))
    (project / "uv.lock").write_text("two")
    with pytest.raises(bootstrap.BootstrapError, match=r"the index is away(.|\n)*fix: "):
        bootstrap.ensure(project, uv=fake_uv(project, "echo the index is away; exit 2"))
    assert not bootstrap.is_current(project)
    (project / "uv.lock").write_text("one")
    assert not bootstrap.is_current(project)


def test_an_install_that_cannot_import_does_not_count(project: Path) -> None:
    breaking = f"printf '#!/bin/sh\\nexit 1\\n' > {project}/.venv/bin/python"
    with pytest.raises(bootstrap.BootstrapError, match=r"delete the folder \.venv"):
        bootstrap.ensure(project, uv=fake_uv(project, breaking))
    assert not bootstrap.is_current(project)


def test_an_environment_whose_python_is_gone_does_not_count(project: Path) -> None:
    bootstrap.ensure(project, uv=fake_uv(project))
    (project / ".venv" / "bin" / "python").unlink()
    assert not bootstrap.is_current(project)


def test_an_older_python_reads_one_clear_message() -> None:
    pretend = "import sys; sys.version_info = (3, 9, 2); sys.argv = ['x']; exec(open('tools/bootstrap.py').read())"
    done = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this project needs Python 3.11 or newer")
    assert "Traceback" not in done.stderr


def test_requirements_lock_agrees_with_uv_lock() -> None:
    locked = {f"{package['name']}=={package['version']}" for package in _locked_packages()}
    required = {line.split(" ")[0] for line in _requirements() if line[:1].isalnum()}
    assert required == locked, "run `make lock`"


def test_requirements_lock_has_hashes_and_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert text.count(" \\\n    --hash=sha256:") >= len(_locked_packages())
    assert "://" not in text


def _locked_packages() -> list[dict[str, str]]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return [package for package in packages if "virtual" not in package["source"]]


def _requirements() -> Iterator[str]:
    yield from (ROOT / "requirements.lock").read_text().splitlines()


def test_another_folders_environment_is_made_of_its_own_lock_files(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: fake_uv(project))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", str(project)])
    assert bootstrap.main() == 0
    assert bootstrap.is_current(project) and runs(project) == 1
