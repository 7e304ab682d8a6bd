"""The stack's passwords: generated once, handed to Pulumi through standard input, never in an argument."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from tools.stacks import PROJECT

USERS = ("app", "replica", "sentinel", "monitor", "operator")
PASSWORD_KEYS = tuple(f"{PROJECT}:{user}Password" for user in USERS)
# Only during a rotation.
NEXT_KEYS = tuple(f"{key}Next" for key in PASSWORD_KEYS)
PREVIOUS_KEYS = tuple(f"{key}Previous" for key in PASSWORD_KEYS)
# On a canary: production's.
SHARED_KEY = f"{PROJECT}:appPasswordShared"
# With what is set by hand, never generated.
SECRET_KEYS = (*PASSWORD_KEYS, *NEXT_KEYS, *PREVIOUS_KEYS, SHARED_KEY, f"{PROJECT}:caKey")
# No secret, and set by `make rotate-ca`.
GENERATION_KEY = f"{PROJECT}:caGeneration"
# 24 random bytes are 32 characters of A-Z a-z 0-9 _ -: safe unquoted in every file that carries them.
RANDOM_BYTES = 24


def missing_passwords(config: Mapping[str, Any]) -> list[str]:
    """The keys of the passwords that a stack's configuration does not set."""
    return [key for key in PASSWORD_KEYS if key not in (config.get("config") or {})]


def generate(keys: list[str], store: Callable[[str, str], None]) -> None:
    """Make a password for each key and `store(key, password)` it."""
    for key in keys:
        store(key, secrets.token_urlsafe(RANDOM_BYTES))
