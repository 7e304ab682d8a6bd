"""Keys in files: a new pair, of which nobody else may read the private one; and somebody's public one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Key

from rollout.errors import RolloutError
from rollout.keys import NAME, public_key, public_pem
from tools.private_files import private_folder


def write_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """A new Ed25519 pair: NAME.pem, mode 0600, and NAME.pub.pem. Raises RolloutError; overwrites nothing."""
    if not re.fullmatch(NAME, name):
        raise RolloutError(
            f"key name {name!r}: expected letters, digits and . _ @ -, 60 at most\n  fix: rollout key ci, for example"
        )
    signer = CryptoSigner.generate_ed25519()
    files = private_folder(folder) / f"{name}.pem", folder / f"{name}.pub.pem"
    for file in files:
        if file.exists():
            raise RolloutError(
                f"{file} exists; no key was made\n"
                "  fix: choose another name or folder (--out); who loses a private key cannot sign with it again"
            )
    _create(files[0], signer.private_bytes, 0o600)
    _create(files[1], public_pem(signer).encode(), 0o644)
    return files


def read_public(file: Path) -> Key:
    """The public key in a PEM file. Raises RolloutError."""
    try:
        return public_key(file.read_text())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RolloutError(f"{file}: {why}\n  fix: name the file of the public key, such as ci.pub.pem") from None


def _create(file: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(content)
    except OSError as error:
        raise RolloutError(
            f"{file} cannot be written: {error.strerror}\n  fix: name another folder with --out"
        ) from None
