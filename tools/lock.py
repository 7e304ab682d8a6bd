"""Renews uv.lock from pyproject.toml, and requirements.lock (for plain pip, with hashes) from uv.lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.paths import ROOT

UV = "uv>=0.9,<1"
LOCK_SECONDS = 300


def main() -> int:
    """Exit code 0 when both files are written."""
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        try:
            renew(Path(shutil.which("uv") or _uv_from_pip(Path(folder))))
        except subprocess.CalledProcessError as error:
            print(f"error: `{' '.join(map(str, error.cmd))}` failed, see above", file=sys.stderr)
            return 1
    return 0


def renew(uv: Path) -> None:
    """Raises subprocess.CalledProcessError."""
    _run([uv, "lock", "--quiet"])
    # No `--emit-index-url`: which registry is used is the installing machine's choice.
    export = ["--frozen", "--no-emit-project", "--all-groups", "--no-annotate", "--quiet"]
    _run([uv, "export", *export, "-o", "requirements.lock"])


def _uv_from_pip(folder: Path) -> Path:
    _run([sys.executable, "-m", "venv", folder])
    _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
    return folder / "bin" / "uv"


def _run(command: list[str | Path]) -> None:
    # uv would take an activated environment, ours included, for the one to look at.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=LOCK_SECONDS, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
