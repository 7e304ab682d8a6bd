"""The Python environment of a release, by its lock files; made once, and shared by releases with the same ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rollout.errors import RolloutError
from tools import bootstrap
from tools.private_files import private_folder

LOCKS = ("pyproject.toml", "uv.lock", "requirements.lock")
# What installs packages has no business with the stacks' secrets.
_SECRETS = ("PULUMI_", "ROLLOUT_", "AWS_", "AZURE_", "ARM_", "GOOGLE_", "KUBE")
SECONDS = bootstrap.INSTALL_SECONDS + 60


def lock_hash(tree: Path) -> str:
    """What stands for the environment. Raises RolloutError when the release has no lock files."""
    try:
        return bootstrap.fingerprint(tree)
    except OSError as error:
        raise RolloutError(f"the release has no {Path(error.filename).name}: nobody knows its packages") from None


def environment_of(tree: Path, root: Path, home: Path) -> Path:
    """The virtual environment for this tree: the project's own if its packages are the same. Raises RolloutError."""
    wanted = lock_hash(tree)
    ours = root / ".venv"
    if _is_of(ours, wanted):
        return ours
    folder = home / f"{wanted}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not _is_of(folder / ".venv", wanted):
        _install(tree, folder)
    return folder / ".venv"


def _is_of(venv: Path, wanted: str) -> bool:
    """Whether it was installed to the end from these lock files."""
    stamp = venv / "lock-stamp"
    return os.access(venv / "bin" / "python", os.X_OK) and stamp.is_file() and stamp.read_text() == wanted


def _install(tree: Path, folder: Path) -> None:
    private_folder(folder)
    for name in LOCKS:
        shutil.copyfile(tree / name, folder / name)
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    command = [sys.executable, str(Path(bootstrap.__file__)), str(folder)]
    try:
        done = subprocess.run(command, env=theirs, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RolloutError(f"the release's packages were not installed within {SECONDS} s; nothing was done") from None
    if done.returncode != 0 or not _is_of(folder / ".venv", lock_hash(tree)):
        raise RolloutError(
            f"the release's packages could not be installed into {folder}: {done.stderr.strip()[-500:]}\n"
            "  fix: check that the package index can be reached, then run the command again"
        )
