"""Looks for the passwords in use where they must not be: logs, state, evidence, the journal and reports.

A password that was found is counted and its place named; the password itself is told nowhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote

from rollout.entries import Entry
from rollout.errors import RolloutError
from rollout.history import Run
from rollout.keeping import EvidenceLost, Piece, fetch
from rollout.stacks import Outcome, Stacks
from rollout.store import Readable
from smoke_tests.verdict import Verdict
from tools.errors import ToolError

FIGURE = "secrets.found, found"
COMMAND = "python -m rollout report"


def passwords_of(stacks: Stacks, run: Run) -> frozenset[str]:
    """Those of every stack of the rollout; none when one of them cannot be asked: a search for some proves little."""
    try:
        return frozenset().union(*(stacks.passwords(phase.stack) for phase in run.plan.phases.values()))
    except RolloutError:
        return frozenset()


def search(store: Readable, stacks: Stacks, run: Run, entries: Iterable[Entry], passwords: Collection[str]) -> Outcome:
    """These passwords in what every stack, the journal and the run's evidence have. No pass if one cannot be asked."""
    if not passwords:
        return Outcome(Verdict.INCONCLUSIVE, "no stack told its passwords: nothing could be looked for", COMMAND)
    searched, found, silent = 0, dict[str, int](), list[str]()
    for place, content in _places(store, stacks, run, entries, silent):
        searched += 1
        if count := occurrences(content, passwords):
            found[place] = found.get(place, 0) + count
    told = {
        "passwords": len(passwords),
        "places": searched,
        "found": dict(sorted(found.items())),
        "not searched": silent,
    }
    reason = f"{len(passwords)} passwords looked for in {searched} places"
    if found:
        reason = f"{reason}; found in {', '.join(sorted(found)[:5])}"
    if silent:
        reason = f"{reason}; not searched: {'; '.join(silent)}"
    files = {"secrets.json": json.dumps(told, indent=2).encode()}
    verdict = Verdict.FAIL if found else Verdict.INCONCLUSIVE if silent else Verdict.PASS
    # None found where not everything was searched is no figure.
    figures = {} if verdict is Verdict.INCONCLUSIVE else {FIGURE: float(sum(found.values()))}
    return Outcome(verdict, reason, COMMAND, figures, files)


def occurrences(content: bytes, passwords: Collection[str]) -> int:
    """How often any of them stands there, as it is or as JSON, a URL, Python or base64 spell it."""
    return sum(content.count(spelling) for password in passwords for spelling in _spellings(password))


def _spellings(password: str) -> set[bytes]:
    raw = password.encode()
    texts = {password, json.dumps(password)[1:-1], quote(password, safe=""), repr(password)[1:-1]}
    # In the middle of something longer the first and last letters depend on what is around.
    shifted = [base64.b64encode(b"\0" * shift + raw).rstrip(b"=")[4 if shift else 0 : -1] for shift in range(3)]
    return {text.encode() for text in texts} | {each for each in shifted if len(each) >= 8}


def _places(
    store: Readable, stacks: Stacks, run: Run, entries: Iterable[Entry], silent: list[str]
) -> Iterator[tuple[str, bytes]]:
    """`silent`: where what cannot be searched is noted, with the reason."""
    for phase in run.plan.phases.values():
        try:
            yield from ((f"{phase.stack}: {name}", content) for name, content in stacks.traces(phase.stack))
        except ToolError as error:
            silent.append(f"{phase.stack}: {str(error).splitlines()[0]}")
    yield from ((f"journal entry {entry.number}", entry.plain) for entry in entries)
    for _, value in run.evidence:
        piece = Piece.model_validate(value)
        try:
            yield f"evidence {piece.path}", fetch(store, piece)
        except EvidenceLost:
            continue  # the report says so
