"""Removes what no release needs any more: trees, their environments, their stack files. No link is followed.

All of it may be made again; what another process works in stays until it ends.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from rollout.environments import lock_hash
from rollout.errors import RolloutError
from rollout.trees import is_used_by_others, only_one
from tools.private_files import private_folder

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# What a command that was killed has half made, or half removed.
_HALF = re.compile(r"\..+")
_ENVIRONMENT = re.compile(r"([0-9a-zA-Z]+)-python\d+\.\d+")


def prune(home: Path, kept: Collection[str]) -> list[str]:
    """Keep what these releases need. What was removed, and what could not be, a line each."""
    try:
        with only_one(private_folder(home / "trees")):
            return [_removed(each, home) for each in _unneeded(home, kept)]
    except OSError as error:
        return [f"{error.filename} could not be looked through: {error.strerror}"]


def _unneeded(home: Path, kept: Collection[str]) -> list[Path]:
    trees, environments, files = (home / name for name in ("trees", "environments", "stack-files"))
    wanted = set(kept) | {each.name for each in _named(trees, _COMMIT) if is_used_by_others(each)}
    half = [each for folder in (trees, environments) for each in _named(folder, _HALF)]
    commits = [each for folder in (trees, files) for each in _named(folder, _COMMIT)]
    gone = [each for each in commits if each.name not in wanted]
    return [*half, *gone, *_unused(environments, trees, wanted)]


def _unused(folder: Path, trees: Path, wanted: Collection[str]) -> Iterator[Path]:
    """Environments of no wanted tree; none when one of these cannot tell: a rollback must not wait for downloads."""
    try:
        needed = {lock_hash(trees / commit) for commit in wanted}
    except RolloutError:
        return
    for each in _named(folder, _ENVIRONMENT):
        if each.name.rpartition("-")[0] not in needed:
            yield each


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What is ours in a folder that is one, and no link to one."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if pattern.fullmatch(each.name))


def _removed(path: Path, home: Path) -> str:
    name = path.relative_to(home).as_posix()
    doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}")
    try:
        path.rename(doomed)  # at once: half of an environment must not look like a whole one
        if doomed.is_symlink():
            doomed.unlink()
        else:
            shutil.rmtree(doomed)
    except OSError as error:
        return f"{name} could not be removed: {error.strerror}"
    return f"removed {name}, which no release needs any more"
