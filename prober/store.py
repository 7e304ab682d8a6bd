"""Sample files on disk: appended at once, synced now and then, rotated, and bounded in bytes and in number."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prober.samples import (
    PATTERN,
    Sample,
    SamplesDamaged,
    digest,
    digest_path,
    line_of,
    sample_files,
    samples_of,
)

MIB = 1024 * 1024
# No prober counts so far, and one that began there would soon have no numbers.
HIGHEST = 2**62


class FolderInUse(Exception):
    """Another prober writes into the folder."""


@dataclass(frozen=True)
class Limits:
    """How much is kept: at most `files` files of `file_bytes` bytes, the oldest go first.

    `sync_s`: seconds between two fsyncs, which is what a cut of power can cost. A killed prober costs nothing.
    """

    file_bytes: int = 8 * MIB
    files: int = 128
    sync_s: float = 1.0


class SampleStore:
    """One folder, one writer. A context manager: leaving it closes the last file with its digest."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises FolderInUse, SamplesDamaged for what no prober left there, and OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FolderInUse(f"another prober writes into {folder}") from None
        self._file: int | None = None
        self._path = Path()
        self._bytes = 0
        self._synced_at = clock()
        try:
            # Before anything is closed: a digest would vouch for what is hostile.
            self.next_sequence = self._last_sequence() + 1
            self._close_leftovers()
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, sample: Sample) -> None:
        """Hand one sample to the system: from here on it survives this process. Raises OSError (disk full)."""
        line = line_of(sample)
        if self._bytes + len(line) > self._limits.file_bytes:
            self._close_file()
        file = self._file if self._file is not None else self._open_file(sample.sequence)
        self._bytes += _write_all(file, line)
        self.next_sequence = sample.sequence + 1
        if self._clock() - self._synced_at >= self._limits.sync_s:
            os.fsync(file)
            self._synced_at = self._clock()

    def close(self) -> None:
        self._close_file()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_file(self, first: int) -> int:
        self._path = self._folder / PATTERN.replace("*", f"{first:012d}")
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._bytes = 0
        self._drop_oldest()
        return self._file

    def _close_file(self) -> None:
        if self._file is None:
            return
        os.fsync(self._file)
        os.close(self._file)
        self._file = None
        _note_digest(self._path)

    def _close_leftovers(self) -> None:
        """Files of a prober that was killed. A torn last line stays as it is: readers leave it out."""
        for file in sample_files(self._folder):
            if file.sha256 is None:
                _note_digest(file.path)

    def _last_sequence(self) -> int:
        for file in reversed(sample_files(self._folder)):
            for number, last in deque(enumerate(samples_of(file), start=1), maxlen=1):
                if last.sequence > HIGHEST:
                    raise SamplesDamaged(f"{file.path}, line {number}: no number is left after {last.sequence}")
                return last.sequence
            file.path.unlink()  # not one whole line: its name would be taken again
            digest_path(file.path).unlink(missing_ok=True)
        return -1

    def _drop_oldest(self) -> None:
        for file in sample_files(self._folder)[: -self._limits.files]:
            file.path.unlink()
            digest_path(file.path).unlink(missing_ok=True)


def _write_all(file: int, line: bytes) -> int:
    written = 0
    while written < len(line):
        written += os.write(file, line[written:])
    return written


def _note_digest(path: Path) -> None:
    """Beside the file, whole or not at all."""
    text = f"{digest(path.read_bytes())}  {path.name}\n"
    partial = digest_path(path).with_suffix(".partial")
    with partial.open("w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(digest_path(path))
