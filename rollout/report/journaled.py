"""Whether a report is what the journal in it says: everything is gathered once more, of that journal and its raw files.

So nothing can be left out, added, or called something else: whatever a report says of a rollout follows from the
journal's entries, and of those every one is held against the plan (rollout/report/order.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from prober.samples import Sample, SamplesDamaged, samples_in
from rollout.clock import SKEW
from rollout.entries import NONSENSE, Entry
from rollout.errors import RolloutError
from rollout.evidence import EvidenceError, EvidenceMissing, below
from rollout.history import Run, StepRecord, replay
from rollout.plan import TIMED, Plan
from rollout.report import order
from rollout.report.gather import ENTRIES, Gathering, tests_file
from rollout.report.inputs import Input, Manifest
from rollout.report.raw import Read
from rollout.soak import Credit
from rollout.soaking import OTHERS
from rollout.store import Missing
from smoke_tests.verdict import Verdict


def entries_of(found: Read) -> list[Entry]:
    """The journal that a report brings. Raises ValueError when it brings none, or one that is damaged."""
    journals = [content for given, content in found.journal if given.raw.path == ENTRIES]
    if len(journals) != 1 or len(found.journal) != 1:
        raise ValueError("the report brings no journal: nothing shows what was done, in which order, by which plan")
    entries = order.read(journals[0])
    if not entries:
        raise ValueError("the report's journal has no entry")
    return entries


def plan_of(found: Read) -> Plan | None:
    """The plan of the rollout that a report is of; None when its journal tells none."""
    try:
        run = replay(entries_of(found)).last
    except (ValueError, RolloutError):
        return None
    return run.plan if run else None


def problems(manifest: Manifest, verdict: Verdict, found: Read, folder: Path, now: datetime) -> Iterator[str]:
    """What the report or its journal says that cannot be."""
    try:
        entries = entries_of(found)
        run = replay(entries).last
    except (ValueError, RolloutError) as error:
        yield str(error).splitlines()[0]
        return
    if run is None:
        yield "the report's journal has no rollout"
        return
    yield from order.times(entries, manifest.made, now)
    yield from order.order(entries)
    if verdict is Verdict.PASS and (missing := order.owed(run)):
        yield f"the report passes a rollout that is not complete: {', '.join(missing[:3])}"
    try:
        yield from _credits(run, found, folder)
    except NONSENSE as error:
        yield f"a soak's credit is none that a rollout writes: {type(error).__name__}"
    yield from _inputs(manifest, entries, run, folder)


class Restored:
    """A report's folder as the store that its evidence came from."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}
        for folder_of, entry in _with_evidence(run):
            for piece in entry.data.get("evidence", ()):
                self._names.setdefault(str(piece["path"]), f"{folder_of}/{entry.number:06d}/{piece['name']}")

    def read(self, name: str) -> bytes:
        """Raises Missing."""
        try:
            return below(self._folder, self._names[name]).read_bytes()
        except (KeyError, OSError, EvidenceError):
            raise Missing(name) from None


def _inputs(manifest: Manifest, entries: Sequence[Entry], run: Run, folder: Path) -> Iterator[str]:
    tests = [given for given in manifest.inputs if given.kind == "junit"]
    for given in tests:
        if given.raw.path != tests_file(given.name):
            yield f"{given.raw.path} is no file of the suite {given.name}"
            return

    def compare(path: Path, content: bytes) -> None:
        name = path.relative_to(folder).as_posix()
        try:
            same = below(folder, name).read_bytes() == content
        except OSError:
            raise EvidenceMissing(f"{name} is missing: the journal names it") from None
        if not same:
            raise EvidenceError(f"{name} is not what the journal says")

    try:
        gathering = Gathering(Restored(run, folder), entries, folder, compare)
        again = gathering.gather(manifest.made, [(given.name, folder / given.raw.path) for given in tests])
    except (EvidenceError, RolloutError) as error:
        yield str(error).splitlines()[0]
        return
    told, wanted = ({each.raw.path: each for each in side.inputs} for side in (manifest, again))
    yield from (f"{path} was left out: the journal names it" for path in wanted if path not in told)
    yield from (f"{path} was added: the journal does not name it" for path in told if path not in wanted)
    yield from (_relabelled(told[path], wanted[path]) for path in wanted if path in told and told[path] != wanted[path])
    if manifest.inputs != again.inputs and set(told.values()) == set(wanted.values()):
        yield "the inputs are not in the journal's order"
    for what in ("project", "release", "baseline_release"):
        if getattr(manifest, what) != getattr(again, what):
            yield f"the report is of {what} {getattr(manifest, what)}, its journal of {getattr(again, what)}"


def _relabelled(told: Input, wanted: Input) -> str:
    fields = [name for name in Input.model_fields if getattr(told, name) != getattr(wanted, name)]
    each = ", ".join(f"{name} {getattr(told, name)!s}, the journal says {getattr(wanted, name)!s}" for name in fields)
    return f"{told.raw.path} was relabelled: {each}"


def _credits(run: Run, found: Read, folder: Path) -> Iterator[str]:
    """Every look's credit, earned once more by the samples of that look."""
    read = {given.raw.path: samples for given, samples in found.samples}
    for record in run.steps.values():
        if record.step.kind not in TIMED or record.begun is None:
            continue
        credit = Credit(release=run.release, max_gap_s=run.plan.sample_gap)
        for entry in record.observations:
            told = Credit.model_validate(entry.data["credit"])
            earned = credit.add(_samples(record, entry, read, folder))
            if told not in (earned, *(earned.reset(reason) for reason in told.resets[-1:])):
                yield f"entry {entry.number}: {record.id} was credited {told.credited_s:g} s, its samples say otherwise"
                return
            credit = told
        until = record.observations[-1].at if record.observations else record.begun.at
        elapsed = until - record.begun.at
        if credit.credited_s > (elapsed + SKEW).total_seconds():
            yield f"{record.id} was credited {credit.credited_s:g} s in {elapsed.total_seconds():g} s"


def _samples(record: StepRecord, entry: Entry, read: dict[str, list[Sample]], folder: Path) -> list[Sample]:
    """Of one look: this release's, and those that still named the one before."""
    samples: list[Sample] = []
    for piece in entry.data.get("evidence", ()):
        path = f"{record.id}/{entry.number:06d}/{piece['name']}"
        name = PurePosixPath(piece["name"]).name
        if name == "samples.jsonl":
            samples += read.get(path, [])
        elif name == OTHERS:
            try:
                samples += samples_in(below(folder, path).read_bytes(), path)
            except (OSError, EvidenceError, SamplesDamaged):
                continue  # the gathering says so
    return sorted(samples, key=lambda sample: sample.sequence)


def _with_evidence(run: Run) -> Iterator[tuple[str, Entry]]:
    for record in run.steps.values():
        for entry in (*record.observations, *([record.done] if record.done else [])):
            yield record.id, entry
    if run.searched:
        yield "search", run.searched
