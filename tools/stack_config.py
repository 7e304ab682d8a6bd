"""The dev stack's configuration: the committed file, plus the salt and the secrets that only the copy may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from tools.errors import ToolError
from tools.passwords import GENERATION_KEY, SECRET_KEYS
from tools.private_files import replace

SALT = "encryptionsalt"


def read_config(file: Path) -> dict[str, Any]:
    """A stack file's content; {} when it is absent or empty. Raises ToolError when it is no YAML mapping."""
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ToolError(f"{file} is not valid YAML: {error}\n  fix: correct the file") from None
    if not isinstance(content, dict) or not isinstance(content.get("config") or {}, dict):
        raise ToolError(
            f"{file} is not a stack's configuration\n  fix: `config:` with `redis-sentinel:key: value` lines"
        )
    return content


def merge(committed: Mapping[str, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    """The committed settings as they are now, with the copy's salt and secrets kept.

    A setting removed from the committed file vanishes; a password that the committed file sets itself wins.
    """
    kept = {key: value for key, value in (copy.get("config") or {}).items() if key in (*SECRET_KEYS, GENERATION_KEY)}
    merged = {**committed, "config": {**kept, **(committed.get("config") or {})}}
    if SALT in copy:
        merged[SALT] = copy[SALT]
    return merged


def refresh_copy(committed: Path, copy: Path, salt: str | None) -> dict[str, Any]:
    """Bring the copy up to date on disk and return it. `salt` is what the stack's state uses, if it exists."""
    before = read_config(copy)
    after = merge(read_config(committed), before)
    if salt:
        after.setdefault(SALT, salt)
    if after != before:
        replace(copy, yaml.safe_dump(after, sort_keys=False))
    return after
