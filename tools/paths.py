"""Where things are: the repository, the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def state_folder() -> Path:
    """`$REDIS_STATE_DIR`, default `.state`: everything we write, also when the program runs from a tree elsewhere."""
    return Path(os.environ.get("REDIS_STATE_DIR") or ROOT / ".state").absolute()


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME` (an absolute path, else `~/.cache`) / redis-sentinel-provisioned. May not exist yet."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "redis-sentinel-provisioned"
