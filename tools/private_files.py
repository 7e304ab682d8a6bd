"""Files that only their owner may read, complete or absent."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from infra.private_folders import private_folder as private_folder


def replace(file: Path, text: str) -> None:
    """Write the file with mode 0600; a reader sees the old content or the new one, nothing between."""
    unfinished = _written_beside(file, text)
    unfinished.replace(file)


def create_once(file: Path, text: str) -> None:
    """As `replace`, but keeps what is there: of two that create it at once, the first one's content stays."""
    unfinished = _written_beside(file, text)
    try:
        os.link(unfinished, file)
    except FileExistsError:
        return
    finally:
        unfinished.unlink()


def _written_beside(file: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=private_folder(file.parent))  # mode 0600
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    return Path(name)
