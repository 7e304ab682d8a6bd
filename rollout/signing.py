"""Who signs what this command writes: the key in $ROLLOUT_SIGNING_KEY, as a file, as text, or in a KMS.

The variable is taken out of the environment when it is read: no command that a rollout starts inherits it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from securesystemslib.signer import Key, Signer

from rollout.errors import RolloutError
from rollout.keys import private_key

VARIABLE = "ROLLOUT_SIGNING_KEY"
_URI = re.compile(r"([A-Za-z0-9._@-]+)=([a-z0-9]+:.+)")

Signing = Callable[[Mapping[str, Key]], Signer | None]
"""The signer, given the keys that rollout.yaml lists, by name; None: nobody signs."""


def unsigned(_keys: Mapping[str, Key]) -> None:
    """Nobody signs."""


def from_environment() -> Signing:
    """What the variable says now; it is looked at when something is to be signed."""
    given = os.environ.pop(VARIABLE, "")
    return lambda keys: signer(given, keys) if given else None


def signer(given: str, keys: Mapping[str, Key]) -> Signer:
    """By the text of a private key, NAME=URI (NAME: the listed public key), or a file's path. Raises RolloutError."""
    if match := _URI.fullmatch(given):
        return _by_uri(match[1], match[2], keys)
    try:
        return private_key(given.encode() if given.startswith("-----BEGIN") else Path(given).read_bytes())
    except (OSError, ValueError) as error:
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise RolloutError(
            f"the key in ${VARIABLE} cannot be used: {why}\n"
            "  fix: a private key's file, its PEM text, or NAME=URI of a KMS; `rollout key NAME` makes a file"
        ) from None


def _by_uri(name: str, uri: str, keys: Mapping[str, Key]) -> Signer:
    if name not in keys:
        raise RolloutError(
            f"${VARIABLE} names the key {name}, rollout.yaml lists {', '.join(keys) or 'none'}\n"
            "  fix: NAME=URI with the listed key's name; or list its public part in rollout.yaml"
        )
    try:
        return Signer.from_priv_key_uri(uri, keys[name])
    except Exception as error:  # the library: each signer raises what its service does
        raise RolloutError(
            f"the key {name} in ${VARIABLE} cannot be used: {_shortly(error)}\n"
            "  fix: see docs/rollout.md for the URIs and the packages that they need"
        ) from None


def _shortly(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
