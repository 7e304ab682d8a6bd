"""PURE  Folders that only their owner may enter, whatever the umask."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> Path:
    """The folder, made with mode 0700 if it is absent, and whatever is absent above it."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    return folder
