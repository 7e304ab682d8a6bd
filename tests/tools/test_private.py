"""What holds secrets is its owner's alone whatever the umask, and goes with the process that needed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.targets.certificate_provider import CaFileProvider
from infra.targets.process_control import write_files
from tests.waiting import await_that
from tools import bootstrap, contract_file
from tools.paths import ROOT
from tools.private_files import replace

MARKER = "MaRkEr-5f0c2"


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_every_file_and_folder_of_ours_is_private(tmp_path: Path) -> None:
    bootstrap.keep_private(tmp_path / "state")
    replace(tmp_path / "other" / "dev" / "secret", MARKER)
    write_files(tmp_path / "nodes" / "dev" / "data-0", {"auth.conf": MARKER}, {"start.sh": "#!/bin/sh\n"})
    CaFileProvider().create({"path": str(tmp_path / "tls" / "dev" / "ca.crt"), "text": "a certificate"})
    found = modes(tmp_path)
    assert found.pop("tls/dev/ca.crt") == 0o644
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    assert len(found) > 12


def test_what_an_older_version_left_open_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    (tmp_path / ".state").mkdir(mode=0o777)
    bootstrap.keep_private(tmp_path / ".state")
    assert modes(tmp_path) == {".state": 0o700}


READS = """\
import sys, time
from pathlib import Path
from client.contract_file import _variables
for _ in range(2):
    assert _variables(Path(sys.argv[2]), "env")["REDIS_PASSWORD"] == "MaRkEr-5f0c2"
print("read", flush=True)
time.sleep(float(sys.argv[3]))
"""


def test_a_program_gets_the_contract_and_no_file_is_left_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "contract-x1.env").write_text(MARKER)  # left by an older version
    (tmp_path / "reads.py").write_text(READS)
    code = (
        "import sys; from pathlib import Path; from tools.contract_file import run_module;"
        f"sys.exit(run_module('reads', ['60'], {{'REDIS_PASSWORD': '{MARKER}'}}, Path({str(tmp_path)!r})))"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    runner = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert runner.stdout
    assert runner.stdout.readline() == "read\n"
    (child,) = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    os.kill(int(child), signal.SIGKILL)
    assert [path.name for path in tmp_path.glob("*.env") if MARKER in path.read_text()] == []


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    with contract_file._contract_file({"REDIS_PASSWORD": MARKER}, tmp_path) as path:
        assert MARKER in path.read_text() and MARKER in path.read_text()
        assert path.parent.stat().st_mode & 0o077 == 0
    await_that(lambda: not path.exists(), 1, "its end")
