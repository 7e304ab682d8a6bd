"""A release as files: a private working tree of its commit, beside the state, and whether it still is what it was.

Written from the commit's blobs themselves, so that no filter, attribute or ignored file has a say. Before each use
every file is hashed again; what is not of the commit is removed, what differs makes the whole tree anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollout.errors import RolloutError
from rollout.git import git, resolved
from tools.private_files import private_folder

# The tree's way to its environment, which is no file of the commit.
VENV = ".venv"
_LINK, _PROGRAM = "120000", "100755"
# The trees that this process works in, each with the handle whose lock tells others.
_USED: dict[Path, int] = {}


@dataclass(frozen=True)
class Blob:
    """One file of a commit. `id`: git's hash of its content."""

    mode: str
    id: str
    path: str


def tree_of(root: Path, commit: str) -> str:
    """git's hash of everything that the commit holds. Raises RolloutError."""
    return resolved(root, f"{commit}^{{tree}}")


def content_of(root: Path, commit: str, path: str) -> str | None:
    """A file of the commit; None when it has no such file."""
    blob = next((each for each in _blobs(root, commit) if each.path == path), None)
    return git(root, "cat-file", "blob", blob.id).decode() if blob else None


def working_tree(root: Path, home: Path, commit: str) -> Path:
    """The commit's files in `home`, made or made whole again. Raises RolloutError."""
    folder = private_folder(home) / commit
    blobs = _blobs(root, commit)
    with only_one(home):
        if not _is_whole(folder, blobs):
            _make(root, folder, blobs)
        _use(folder)
    return folder


def is_used_by_others(folder: Path) -> bool:
    """Whether another process works in the tree. From now on this one does not. To be asked under `only_one`."""
    _forget(folder)
    try:
        handle = _opened(folder)
    except OSError:
        return False  # no folder, or a link: no tree of ours
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _use(folder: Path) -> None:
    """Until the process ends others see that it works there. A tree that was made anew is another folder."""
    handle = _opened(folder)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _forget(folder)
    _USED[folder] = handle


def _forget(folder: Path) -> None:
    if (handle := _USED.pop(folder, None)) is not None:
        os.close(handle)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _blobs(root: Path, commit: str) -> list[Blob]:
    found = []
    for line in git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
        (mode, kind, identity), path = line.partition(b"\t")[0].decode().split(), os.fsdecode(line.partition(b"\t")[2])
        if kind != "blob":
            raise RolloutError(f"release {commit} has a submodule, {path}\n  fix: a release is one commit, whole")
        found.append(Blob(mode, identity, path))
    return found


def _is_whole(folder: Path, blobs: list[Blob]) -> bool:
    """Whether every file is as the commit has it; what is not of it is removed on the way."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = {each.path for each in blobs}
    folders = {str(parent) for path in files for parent in Path(path).parents}
    for place, inside, names in os.walk(folder):
        for name in [*inside, *names]:
            path = Path(place, name)
            known = path.relative_to(folder).as_posix()
            is_folder = path.is_dir() and not path.is_symlink()
            if known in files or (known == VENV and path.is_symlink()) or (known in folders and is_folder):
                continue
            if name in inside:
                inside.remove(name)
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)  # a step that runs in it may write its bytecode just now
            else:
                path.unlink(missing_ok=True)
    return all(_is_as_committed(folder / each.path, each) for each in blobs)


def _is_as_committed(path: Path, blob: Blob) -> bool:
    try:
        if path.is_symlink():
            return blob.mode == _LINK and _hash(os.fsencode(path.readlink()), blob.id) == blob.id
        right_mode = blob.mode != _LINK and bool(path.stat().st_mode & 0o100) == (blob.mode == _PROGRAM)
        return right_mode and _hash(path.read_bytes(), blob.id) == blob.id
    except OSError:
        return False


def _hash(content: bytes, like: str) -> str:
    """git's hash of a blob, by the algorithm of the repository."""
    make = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return make(b"blob %d\0" % len(content) + content).hexdigest()


def _make(root: Path, folder: Path, blobs: list[Blob]) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))  # mode 0700
    try:
        for blob, content in zip(blobs, _contents(root, blobs), strict=True):
            path = unfinished / blob.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if blob.mode == _LINK:
                path.symlink_to(os.fsdecode(content))
            else:
                path.write_bytes(content)
                path.chmod(0o755 if blob.mode == _PROGRAM else 0o644)
        if not _is_whole(unfinished, blobs):
            raise RolloutError(f"{folder} could not be made as the commit has it\n  fix: git fsck")
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _contents(root: Path, blobs: list[Blob]) -> Iterator[bytes]:
    out = git(root, "cat-file", "--batch", said="".join(f"{each.id}\n" for each in blobs).encode())
    at = 0
    for blob in blobs:
        end = out.index(b"\n", at)
        words = out[at:end].split()
        if len(words) != 3:
            raise RolloutError(f"{blob.path} is not in the repository: {out[at:end].decode()}\n  fix: fetch it whole")
        size = int(words[2])
        yield out[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Two commands at once take turns. The lock dies with its owner."""
    handle = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
