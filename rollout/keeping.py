"""Evidence kept beside the journal: named by its digest, so that a changed byte is a missing file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from rollout.entries import digest
from rollout.store import Missing, Readable, Refused, Store

FOLDER = "evidence"


class Piece(BaseModel):
    """A raw file of evidence: what it is called, where it is in the store, the digest of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    sha256: str


class EvidenceLost(Exception):
    """A file that a step relies on is missing, was edited or is elsewhere. `edited`: not just missing."""

    def __init__(self, piece: Piece, *, edited: bool, why: str = "") -> None:
        self.edited = edited
        super().__init__(f"{piece.path} ({piece.name}) {why or ('was edited' if edited else 'is missing')}")


def keep(store: Store, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Write the files; returns their Pieces as plain JSON, for the journal."""
    pieces = []
    for name, content in sorted(files.items()):
        sha256 = digest(content)
        path = _place(name, sha256)
        store.create(path, content)  # the same content under the same name is there already: as good
        pieces.append(Piece(name=name, path=path, sha256=sha256).model_dump())
    return pieces


def fetch(store: Readable, piece: Piece) -> bytes:
    """The file's bytes. Raises EvidenceLost, also for a path that `keep` does not give."""
    if piece.path != _place(piece.name, piece.sha256):
        raise EvidenceLost(piece, edited=True, why="is not where evidence of this name and digest is kept")
    try:
        content = store.read(piece.path)
    except Missing:
        raise EvidenceLost(piece, edited=False) from None
    except Refused as error:
        raise EvidenceLost(piece, edited=True, why=str(error)) from None
    if digest(content) != piece.sha256:
        raise EvidenceLost(piece, edited=True)
    return content


def _place(name: str, sha256: str) -> str:
    return f"{FOLDER}/{sha256[:16]}-{_safe(name)}"


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in name)
