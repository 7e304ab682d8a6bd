"""Where things are: the repository, the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME` (an absolute path, else `~/.cache`) / redis-sentinel-provisioned. May not exist yet."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "redis-sentinel-provisioned"
