"""PURE  One thing that happened, and its only spelling: what the journal's chain is made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, PrivateAttr

NO_PREDECESSOR = "0" * 64
# What reading an entry that no rollout wrote may raise.
NONSENSE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


class Entry(BaseModel):
    """One thing that happened. `run` names the rollout, `kind` what happened, `data` its details (plain JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    previous: str
    at: AwareDatetime
    run: str
    kind: str
    data: dict[str, Any]
    _envelope: bytes = PrivateAttr(default=b"")

    @property
    def plain(self) -> bytes:
        """The entry itself, readable also when it is signed. Raises ValueError for what JSON cannot spell."""
        return canonical(self.model_dump(mode="json")) + b"\n"

    @property
    def content(self) -> bytes:
        """The journal's file: the signed envelope (rollout/attestation.py), else the entry itself."""
        return self._envelope or self.plain

    @property
    def is_signed(self) -> bool:
        """Whether it is in an envelope; whose signature that has is for rollout/signatures.py to say."""
        return bool(self._envelope)

    @property
    def head(self) -> str:
        """The digest that stands for the chain up to this entry."""
        return digest(self.content)

    def in_envelope(self, envelope: bytes) -> Entry:
        """The same, written as this envelope."""
        entry = self.model_copy()
        entry._envelope = envelope
        return entry


def canonical(value: Any) -> bytes:
    """JSON of which there is only one spelling: what digests are made of."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
