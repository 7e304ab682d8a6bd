"""What git is asked of the project's repository. Names that others give never become options."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rollout.errors import RolloutError

SECONDS = 60


def git(root: Path, *arguments: str, said: bytes | None = None) -> bytes:
    """Standard output of `git ARGUMENTS` in the repository. Raises RolloutError."""
    # A hook's variables would name another repository or index.
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=theirs,
            input=said or b"",
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: a NUL in a name
        raise RolloutError(f"`git {arguments[0]}` in {root}: {type(error).__name__}\n  fix: install git") from None
    if done.returncode != 0:
        raise RolloutError(f"`git {arguments[0]}` in {root}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def resolved(root: Path, name: str) -> str:
    """The object that a name stands for, which is taken for no option. Raises RolloutError when there is none."""
    return git(root, "rev-parse", "--verify", "--end-of-options", name).decode().strip()


def commit_of(root: Path, name: str) -> str:
    """The full commit that a name stands for. Raises RolloutError when there is none."""
    known = name and not name.startswith("-")
    try:
        if known:
            return resolved(root, f"{name}^{{commit}}")
    except RolloutError:
        pass
    raise RolloutError(
        f"release {name!r} is no commit of {root}; expected a commit, a branch or a tag\n"
        "  fix: see `git log`; in CI fetch the whole history"
    )


def is_reachable(root: Path, commit: str, branch: str) -> bool:
    """Whether the branch has the commit. Raises RolloutError when there is no such branch."""
    for full in (f"refs/heads/{branch}", f"refs/remotes/{branch}"):
        try:
            tip = resolved(root, f"{full}^{{commit}}")
        except RolloutError:
            continue
        # Nothing of the commit is outside the branch.
        return not git(root, "rev-list", "--max-count=1", commit, f"^{tip}")
    raise RolloutError(
        f"the branch that releases come from, {branch!r}, is not here\n"
        "  fix: fetch it; or name another with `branch` in rollout.yaml"
    )
