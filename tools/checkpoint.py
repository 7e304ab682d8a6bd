"""What a file backend's folder says about a stack, read without starting pulumi (which costs a second each time)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.stacks import PROJECT


def checkpoint_file(backend: Path, stack: str) -> Path:
    return backend / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def lock_files(backend: Path, stack: str) -> list[Path]:
    """The locks that pulumi holds, or left behind, on the stack."""
    return sorted((backend / ".pulumi" / "locks" / "organization" / PROJECT / stack).glob("*.json"))


def exists(backend: Path, stack: str) -> bool:
    return checkpoint_file(backend, stack).is_file()


def mend(backend: Path) -> None:
    """Remove what a killed pulumi left half written, beside files that are whole: their empty attributes.

    Pulumi replaces a file as a whole, but empties and rewrites the `.attrs` beside it; killed in between, every later
    command fails with "failed to load checkpoint: EOF". A file without attributes is as good to it.
    """
    for attributes in (backend / ".pulumi").rglob("*.attrs"):
        with suppress(FileNotFoundError):
            if attributes.stat().st_size == 0:
                attributes.unlink()


def salt(backend: Path, stack: str) -> str | None:
    """The salt of the passphrase that encrypts the state's secrets; None before the first update."""
    provider = _latest(backend, stack).get("secrets_providers") or {}
    return (provider.get("state") or {}).get("salt")


def has_pending_operations(backend: Path, stack: str) -> bool:
    """Whether an update was killed in the middle of an operation."""
    return bool(_latest(backend, stack).get("pending_operations"))


def protected(backend: Path, stack: str) -> list[str]:
    """The names of the resources that the state says are protected."""
    resources = _latest(backend, stack).get("resources") or []
    return [str(each["urn"]).rpartition("::")[2] for each in resources if each.get("protect")]


def _latest(backend: Path, stack: str) -> dict[str, Any]:
    try:
        content = json.loads(checkpoint_file(backend, stack).read_text())
    except (OSError, ValueError):
        return {}  # pulumi itself says what is wrong with it
    return ((content.get("checkpoint") or {}).get("latest")) or {}
