"""Where a rollout keeps journal, lock and evidence: a local folder, or an fsspec URL that can create conditionally.

Files are written once, whole or not at all, and never changed. Names use `/`, relative to the root.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import fsspec  # type: ignore[import-untyped]  # fsspec carries no types
from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from rollout.errors import RolloutError


class Missing(Exception):
    """There is no such file. The message is its name."""


class Refused(RolloutError):
    """The name leads out of the store, or through a link. The message says which."""


class Readable(Protocol):
    """A place that files are read from."""

    def read(self, name: str) -> bytes:
        """Raises Missing, and Refused for a name that leads out of it."""


class Store(Readable, Protocol):
    """A place for files. Every operation raises Refused for a name that leads out of it."""

    @property
    def address(self) -> str:
        """For people; never with a password."""

    @property
    def local(self) -> Path | None:
        """The folder, when it is one of this machine."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file so that it survives a power cut. False when the name is taken: nothing was written."""

    def names(self, folder: str) -> list[str]:
        """The files directly in the folder, sorted, without the folder's name."""

    def remove(self, name: str) -> None:
        """Remove the file; one that is gone is no error."""


def open_store(place: str) -> Store:
    """The store at a folder or URL. Raises RolloutError when it cannot be used."""
    scheme = urlsplit(place).scheme
    if scheme in ("", "file"):
        return FolderStore(Path(place.removeprefix("file://")).absolute())
    try:
        filesystem, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise RolloutError(
            f"the journal cannot be kept at {_shown(place)}: {error}\n"
            "  fix: install the package that the message names (s3://: s3fs), or use a folder"
        ) from None
    return ObjectStore(filesystem, root, _shown(place))


class FolderStore:
    """A local folder. Every file is fsynced, and its name too. No link below it is followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        return str(self._root)

    @property
    def local(self) -> Path | None:
        return self._root

    def create(self, name: str, content: bytes) -> bool:
        path = self._at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            # A link is made only where nothing is, and what it names is complete.
            os.link(unfinished, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(unfinished)  # noqa: PTH108 - the counterpart of mkstemp
        _sync_folder(path.parent)
        return True

    def read(self, name: str) -> bytes:
        try:
            return self._at(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(name) from None

    def names(self, folder: str) -> list[str]:
        try:
            entries = list(self._at(folder).iterdir())
        except FileNotFoundError:
            return []
        return sorted(path.name for path in entries if path.is_file() and not path.name.startswith("."))

    def remove(self, name: str) -> None:
        path = self._at(name)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync_folder(path.parent)

    def _at(self, name: str) -> Path:
        path = self._root
        for part in _parts(name):
            path = path / part
            if path.is_symlink():
                raise Refused(f"{name} is or goes through a link, which may lead anywhere")
        return path


class ObjectStore:
    """Objects through fsspec. The filesystem must refuse to create what exists, in one step."""

    def __init__(self, filesystem: AbstractFileSystem, root: str, address: str) -> None:
        """Raises RolloutError for a filesystem whose creation is not known to be conditional."""
        self._filesystem: Any = filesystem
        self._root = root.rstrip("/")
        self._address = address
        if not _creates_conditionally(filesystem):
            raise RolloutError(
                f"the journal cannot be kept at {address}: two writers could overwrite each other's entries there\n"
                "  fix: use a folder, or an object store whose fsspec filesystem creates conditionally, such as s3://"
            )

    @property
    def address(self) -> str:
        return self._address

    @property
    def local(self) -> Path | None:
        return None

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        try:
            self._filesystem.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        self._filesystem.invalidate_cache()
        try:
            return bytes(self._filesystem.cat_file(self._path(name)))
        except FileNotFoundError:
            raise Missing(name) from None

    def names(self, folder: str) -> list[str]:
        self._filesystem.invalidate_cache()
        try:
            entries = self._filesystem.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry["name"]).name for entry in entries if entry["type"] == "file")

    def remove(self, name: str) -> None:
        try:
            self._filesystem.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return "/".join((self._root, *_parts(name)))


def _parts(name: str) -> tuple[str, ...]:
    """Raises Refused."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts or "\0" in name:
        raise Refused(f"{name!r} leads out of the store")
    return pure.parts


def _creates_conditionally(filesystem: AbstractFileSystem) -> bool:
    """fsspec's own fallback looks first and writes then, which two writers can do at once."""
    kind = type(filesystem)
    if isinstance(filesystem, AsyncFileSystem):
        return kind._pipe_file is not AsyncFileSystem._pipe_file
    return bool(kind.pipe_file is not AbstractFileSystem.pipe_file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shown(place: str) -> str:
    """A URL without the user and password that it may carry."""
    parts = urlsplit(place)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
