"""A stack's file: what is committed, what a release has, and what only the copy in use may hold: salt and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from tools.errors import ToolError
from tools.passwords import GENERATION_KEY, SECRET_KEYS
from tools.private_files import replace
from tools.stacks import PROJECT

SALT = "encryptionsalt"
# What the tools themselves write into a stack's file while it is operated; all else in it is a person's.
OPERATED = tuple(f"{PROJECT}:{key}" for key in ("contractMode", "canaryShare", "cluster"))
_SALTS = (SALT, "encryptedkey", "secretsprovider")


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


def of_release(committed: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """A release's settings, with the secrets that are in use now and with what the tools have written since.

    Secrets are never a release's: a rotation goes on working whichever release is deployed.
    """
    config = {**settings_of(committed), **operated_of(ours), **secrets_of(ours)}
    return {**_rest(committed), **{key: ours[key] for key in _SALTS if key in ours}, "config": config}


def same_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a person's settings are the same: nothing but secrets and what the tools wrote differs."""
    return _plain(one) == _plain(other) and _rest(one) == _rest(other)


def settings_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the secrets: what decides what is deployed."""
    return {key: value for key, value in _config(content).items() if not _is_secret(key, value)}


def operated_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the tools themselves have written."""
    return {key: value for key, value in _config(content).items() if key in OPERATED}


def secrets_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The secrets as they lie there, encrypted, and the number of the CA that is made."""
    return {key: value for key, value in _config(content).items() if _is_secret(key, value)}


def _config(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(content.get("config") or {})


def _is_secret(key: str, value: Any) -> bool:
    return key in (*SECRET_KEYS, GENERATION_KEY) or (isinstance(value, Mapping) and set(value) == {"secure"})


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings_of(content).items() if key not in OPERATED}


def _rest(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ("config", *_SALTS)}
