"""The prober as its users start it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.contract import Contract, render_env
from infra.targets.base import PROJECT


def contract_file(contract: Contract, folder: Path) -> Path:
    file = folder / "contract.env"
    file.write_text(render_env(contract.to_env()))
    return file


@contextmanager
def prober(contract: Contract, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Writes into `folder`/samples; ended at the end, whatever the test did."""
    command = [sys.executable, "-m", "prober", "--contract", str(contract_file(contract, folder))]
    command += ["--out", str(folder / "samples"), "--release", "r1", *arguments]
    process = subprocess.Popen(command, cwd=PROJECT, text=True, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)
        if process.stderr:
            process.stderr.close()
