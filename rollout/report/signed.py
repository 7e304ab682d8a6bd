"""Whether a report and its journal are signed by who a reader trusts.

The journal's entries are the attestations of what was done; the last one, which names the report's own SHA-256, lies
beside the report, so that the test runs that were added to it are vouched for, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Key

from rollout.attestation import opened
from rollout.entries import NONSENSE, Entry
from rollout.errors import RolloutError
from rollout.evidence import EvidenceError, below, digest
from rollout.history import Run, replay
from rollout.report.journaled import entries_of
from rollout.report.raw import Read
from rollout.signatures import Signatures

ATTESTATION = "report.attestation.json"


def problems(found: Read, report_json: Path, keys: Mapping[str, Key]) -> Iterator[str]:
    """What is wrong with the signatures. `keys`: whose count; none: those that the report's own plan lists."""
    try:
        entries = entries_of(found)
        run = replay(entries).last
        if run is None:
            return
        yield from _problems(entries, run, report_json, keys)
    except RolloutError:
        return  # the journal is damaged, which is said elsewhere
    except NONSENSE as error:
        yield f"the signatures are of entries that no rollout writes: {type(error).__name__}"


def _problems(entries: Sequence[Entry], run: Run, report_json: Path, keys: Mapping[str, Key]) -> Iterator[str]:
    if missing := run.plan.signing.missing:
        if keys:
            yield f"the report's journal is not signed: {missing}"
        if not any(entry.is_signed for entry in entries):
            return
    signatures = Signatures(keys or run.plan.signing.public_keys)
    for entry in entries:
        if problem := signatures.problem(entry):
            yield problem
            return
        signatures.add(entry)
    yield from _of_the_report(signatures, run, report_json)


def _of_the_report(signatures: Signatures, run: Run, report_json: Path) -> Iterator[str]:
    """The entry that names this very report."""
    try:
        entry = opened(below(report_json.parent, ATTESTATION).read_bytes())
        sha256 = digest(report_json.read_bytes())
    except (OSError, EvidenceError):
        yield f"{ATTESTATION} cannot be read: nobody signed the report itself"
        return
    except ValueError as error:
        yield f"{ATTESTATION} {error}"
        return
    if (entry.run, entry.kind, entry.data.get("sha256")) != (run.id, "reported", sha256):
        yield f"{ATTESTATION} is of another report"
    elif problem := signatures.problem(entry):
        yield f"{ATTESTATION}: {problem}"
