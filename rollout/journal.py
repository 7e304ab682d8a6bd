"""The rollout's memory: one file per entry, each with its predecessor's digest, so that nothing is changed unseen.

    journal/000001.json, journal/000002.json, ...

An entry is created conditionally: of two writers that both want to write entry n one loses, reads what is new and
takes n + 1. Whoever has the folder (or the URL) has the whole rollout: nothing else is remembered anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from rollout.clock import SKEW
from rollout.errors import RolloutError
from rollout.store import Refused, Store

FOLDER = "journal"
NO_PREDECESSOR = "0" * 64
_NAME = re.compile(r"(\d{6})\.json")
_ATTEMPTS = 50


class JournalDamaged(RolloutError):
    """The chain does not hold: somebody changed, removed or added an entry."""


class Entry(BaseModel):
    """One thing that happened. `run` names the rollout, `kind` what happened, `data` its details (plain JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    previous: str
    at: AwareDatetime
    run: str
    kind: str
    data: dict[str, Any]

    def to_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json")) + b"\n"

    @property
    def head(self) -> str:
        """The digest that stands for the chain up to this entry."""
        return digest(self.to_bytes())


def canonical(value: Any) -> bytes:
    """JSON of which there is only one spelling: what digests are made of."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """Reads, verifies and appends. `entries` is what was verified so far, in order."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = _now) -> None:
        """Raises JournalDamaged."""
        self._store = store
        self._clock = clock
        self.entries: list[Entry] = []
        self._head = NO_PREDECESSOR
        self.refresh()

    @property
    def head(self) -> str:
        """The last entry's digest: it stands for the whole chain."""
        return self._head

    def refresh(self) -> None:
        """Read and verify what others have appended.

        An entry appears whole or not at all, so one that is cut was cut by somebody, the last one too.
        """
        names = self._numbered()
        for number in sorted(names):
            if number <= len(self.entries):
                continue
            if number != len(self.entries) + 1:
                raise self._damaged(f"entry {len(self.entries) + 1} is missing, but there is an entry {number}")
            try:
                content = self._store.read(names[number])
            except Refused as error:
                raise self._damaged(str(error)) from None
            try:
                entry = entry_of(content, number, self._head)
            except ValueError as error:
                raise self._damaged(str(error)) from None
            self.entries.append(entry)
            self._head = digest(content)

    def verify(self) -> None:
        """Read everything again from the beginning. Raises JournalDamaged."""
        self.entries, self._head = [], NO_PREDECESSOR
        self.refresh()

    def append(self, run: str, kind: str, data: Mapping[str, Any] | None = None) -> Entry:
        """Write the next entry; when this returns it survives a power cut. Raises RolloutError, JournalDamaged."""
        for _ in range(_ATTEMPTS):
            self.refresh()
            number = len(self.entries) + 1
            at = self._time()
            kept = dict(data or {})
            entry = Entry(number=number, previous=self._head, at=at, run=run, kind=kind, data=kept)
            content = entry.to_bytes()
            if self._store.create(_path(number), content):
                self.entries.append(entry)
                self._head = digest(content)
                return entry
        raise RolloutError(
            f"the journal at {self._store.address}: {_ATTEMPTS} times somebody else wrote the next entry first\n"
            "  fix: see who else runs rollout commands on it, then try again"
        )

    def _time(self) -> datetime:
        """Now, never before the last entry: two machines' clocks differ a little. Raises RolloutError if by more."""
        now = self._clock()
        last = self.entries[-1].at if self.entries else now
        if last > now + SKEW:
            raise RolloutError(
                f"the journal's last entry is of {last:%Y-%m-%d %H:%M:%S}, this machine's clock says "
                f"{now:%Y-%m-%d %H:%M:%S}; nothing was written\n  fix: set the clock that is wrong"
            )
        return max(now, last)

    def _numbered(self) -> dict[int, str]:
        matches = [match for name in self._store.names(FOLDER) if (match := _NAME.fullmatch(name))]
        return {int(match[1]): f"{FOLDER}/{match[0]}" for match in matches}

    def _damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(
            f"the journal at {self._store.address} is damaged: {what}; nothing was done\n"
            "  fix: restore it from a copy; it is the only proof of what was rolled out"
        )


def _path(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def entry_of(content: bytes, number: int, previous: str) -> Entry:
    """The entry of this number that follows `previous`. Raises ValueError saying why it is none."""
    try:
        entry = Entry.model_validate_json(content)
        spelled = entry.to_bytes()  # NaN and Infinity have no spelling
    except ValueError:
        cut = "" if content.endswith(b"\n") else ": it was cut"
        raise ValueError(f"entry {number} is not an entry{cut}") from None
    if entry.number != number or entry.previous != previous or spelled != content:
        raise ValueError(f"entry {number} does not follow from entry {number - 1}: one of them was changed")
    return entry
