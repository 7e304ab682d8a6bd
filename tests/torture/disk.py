"""What happens to the data set of a node that is down: each damage of plan.DAMAGES, done to its data folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ZEROS = 4096  # a block that a file system had allocated and not written when the power went


def damage(data: Path, kind: str, part: float, older: Path) -> str:
    """Damage this data folder; says what was done. `part`: how much a cut leaves. `older`: a copy of earlier days."""
    aof = data / "appendonlydir"
    match kind:
        case "incr-cut":
            return _cut(_newest(aof, "*.incr.aof"), part)
        case "incr-emptied":
            return _cut(_newest(aof, "*.incr.aof"), 0)
        case "base-cut":
            return _cut(_newest(aof, "*.base.*"), part)
        case "base-gone":
            return _remove(_newest(aof, "*.base.*"))
        case "zeros":
            return _pad(_newest(aof, "*.incr.aof"))
        case "manifest-gone":
            return _remove(_newest(aof, "*.manifest"))
        case "aof-gone":
            shutil.rmtree(aof, ignore_errors=True)
            return "appendonlydir removed"
        case "folder-emptied":
            shutil.rmtree(data)
            return "data folder removed"
        case "older":
            return _put_back(data, older)
    raise ValueError(kind)


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def _cut(path: Path | None, part: float) -> str:
    if path is None:
        return "nothing to cut"
    size = path.stat().st_size
    os.truncate(path, int(size * part))
    return f"{path.name} cut from {size} to {int(size * part)} bytes"


def _pad(path: Path | None) -> str:
    if path is None:
        return "nothing to add zeros to"
    with path.open("ab") as file:
        file.write(bytes(ZEROS))
    return f"{ZEROS} zeros at the end of {path.name}"


def _remove(path: Path | None) -> str:
    if path is None:
        return "nothing to remove"
    path.unlink()
    return f"{path.name} removed"


def _put_back(data: Path, older: Path) -> str:
    if not older.exists():
        return "no earlier copy yet"
    shutil.rmtree(data)
    shutil.copytree(older, data)
    return "the data folder of an earlier round put back"
