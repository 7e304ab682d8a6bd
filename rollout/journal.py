"""The rollout's memory: one file per entry, each with its predecessor's digest, so that nothing is changed unseen.

    journal/000001.json, journal/000002.json, ...

An entry is created conditionally: of two writers that both want to write entry n one loses, reads what is new and
takes n + 1. Whoever has the folder (or the URL) has the whole rollout: nothing else is remembered anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from securesystemslib.signer import Signer

from rollout.attestation import is_envelope, opened
from rollout.clock import SKEW
from rollout.entries import NO_PREDECESSOR, NONSENSE, Entry
from rollout.errors import RolloutError
from rollout.signatures import Signatures
from rollout.signing import VARIABLE
from rollout.store import Refused, Store

FOLDER = "journal"
_NAME = re.compile(r"(\d{6})\.json")
_ATTEMPTS = 50


class JournalDamaged(RolloutError):
    """The chain does not hold: somebody changed, removed or added an entry."""


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """Reads, verifies and appends. `entries` is what was verified so far, in order.

    Until it is told whose signatures count (`trust`), it holds the chain alone, and signs nothing.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime] = _now) -> None:
        """Raises JournalDamaged."""
        self._store = store
        self._clock = clock
        self.entries: list[Entry] = []
        self._head = NO_PREDECESSOR
        self._signatures: Signatures | None = None
        self._signer: Signer | None = None
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
            self._take(entry)

    def trust(self, signatures: Signatures, signer: Signer | None) -> None:
        """Hold every entry against these signatures, from now on too, and sign what is appended.

        Raises JournalDamaged for what somebody else wrote.
        """
        self.refresh()
        for entry in self.entries:
            self._check(entry, signatures)
        self._signatures, self._signer = signatures, signer

    def append(self, run: str, kind: str, data: Mapping[str, Any] | None = None) -> Entry:
        """Write the next entry; when this returns it survives a power cut. Raises RolloutError, JournalDamaged."""
        for _ in range(_ATTEMPTS):
            self.refresh()
            number = len(self.entries) + 1
            at = self._time()
            kept = dict(data or {})
            entry = self._signed(Entry(number=number, previous=self._head, at=at, run=run, kind=kind, data=kept))
            if self._store.create(_path(number), entry.content):
                self._take(entry)
                return entry
        raise RolloutError(
            f"the journal at {self._store.address}: {_ATTEMPTS} times somebody else wrote the next entry first\n"
            "  fix: see who else runs rollout commands on it, then try again"
        )

    def _take(self, entry: Entry) -> None:
        if self._signatures:
            self._check(entry, self._signatures)
        self.entries.append(entry)
        self._head = entry.head

    def _check(self, entry: Entry, signatures: Signatures) -> None:
        try:
            problem = signatures.problem(entry)
            signatures.add(entry)
        except NONSENSE:
            raise self._damaged(f"entry {entry.number} ({entry.kind}) is none that a rollout writes") from None
        if problem:
            raise JournalDamaged(
                f"the journal at {self._store.address} cannot be trusted: {problem}; nothing was done\n"
                "  fix: find out who wrote it and restore the journal from a copy; a key that was replaced stays "
                "listed in rollout.yaml as long as the journal has entries by it"
            )

    def _signed(self, entry: Entry) -> Entry:
        """The entry as it is to be written. Raises RolloutError when nobody would take it."""
        signatures, signer = self._signatures, self._signer
        if signatures is None:
            return entry
        try:
            entry = signatures.signed(entry, signer) if signer else entry
        except Exception as error:  # the library: each signer raises what its service does
            raise RolloutError(
                f"the journal's next entry could not be signed: {type(error).__name__}; nothing was written\n"
                f"  fix: see that the key in ${VARIABLE} can be used from here"
            ) from None
        if problem := signatures.problem(entry):
            raise RolloutError(
                f"nothing was written to the journal: {problem}\n"
                f"  fix: name a key that rollout.yaml lists in ${VARIABLE}; an approver their own"
            )
        return entry

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
    if is_envelope(content):
        try:
            entry = opened(content)
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
        spelled = content
    else:
        entry, spelled = _unsigned(content, number)
    if entry.number != number or entry.previous != previous or spelled != content:
        raise ValueError(f"entry {number} does not follow from entry {number - 1}: one of them was changed")
    return entry


def _unsigned(content: bytes, number: int) -> tuple[Entry, bytes]:
    """The entry, and how it is spelled."""
    try:
        entry = Entry.model_validate_json(content)
        return entry, entry.plain  # NaN and Infinity have no spelling
    except ValueError:
        cut = "" if content.endswith(b"\n") else ": it was cut"
        raise ValueError(f"entry {number} is not an entry{cut}") from None
