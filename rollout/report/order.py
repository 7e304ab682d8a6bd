"""PURE  Whether a journal's entries are what a rollout writes: in the plan's order, complete, at plausible times.

The entries are replayed one by one, and each is held against what the rollout could do at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from rollout import binding
from rollout.clock import SKEW
from rollout.engine import PROOFS
from rollout.entries import NO_PREDECESSOR, NONSENSE, Entry, canonical, digest
from rollout.history import History, Run, StepRecord, apply
from rollout.journal import entry_of
from rollout.plan import TIMED, PhaseName
from rollout.soak import Credit
from smoke_tests.verdict import Verdict

# What a rollout writes between two steps, whatever the step.
_STEPS = ("begun", "observed", "done")


def read(content: bytes) -> list[Entry]:
    """The entries of a file, one a line, each following from the one before. Raises ValueError."""
    entries: list[Entry] = []
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        entries.append(entry_of(line, number, entries[-1].head if entries else NO_PREDECESSOR))
    return entries


def times(entries: Sequence[Entry], made: datetime, now: datetime) -> Iterator[str]:
    """Never backwards, and nothing of the future: neither an entry's time nor the report's."""
    for before, entry in pairwise(entries):
        if entry.at < before.at:
            yield f"entry {entry.number} is of an earlier time than entry {before.number}"
    if entries and made < entries[-1].at:
        yield f"the report was made at {made}, before the journal's last entry"
    for what, moment in (*((f"entry {entry.number}", entry.at) for entry in entries), ("the report", made)):
        if moment > now + SKEW:
            yield f"{what} is of the future: {moment}"
            return


def order(entries: Sequence[Entry]) -> Iterator[str]:
    """What no rollout writes, entry by entry."""
    history = History()
    for entry in entries:
        run = history.runs.get(entry.run)
        try:
            found = list(_started(history, entry) if entry.kind == "started" else _problems(run, entry))
            apply(history, entry)
        except NONSENSE as error:
            yield f"entry {entry.number} ({entry.kind}) is none that a rollout writes: {type(error).__name__}"
            return
        yield from (f"entry {entry.number} ({entry.kind}): {problem}" for problem in found)


def owed(run: Run) -> list[str]:
    """The steps of the plan that are not done, in order; the phases that were not closed; the end that did not come."""
    steps = [record.id for record in run.steps.values() if record.verdict is not Verdict.PASS]
    phases = [f"phase {phase} is not proven" for phase in run.plan.phases if phase not in run.phases_done]
    return [*steps, *phases, *([] if run.end == "done" else ["it has not ended as done"])]


def _started(history: History, entry: Entry) -> Iterator[str]:
    last = history.last
    if last and not last.end:
        yield f"while rollout {last.id} was under way"
    if entry.run in history.runs or not entry.run:
        yield "a second time"
    if entry.data["release"] in history.barred:
        yield f"release {entry.data['release']} had failed and was not released"
    if digest(canonical(entry.data["plan"])) != entry.data.get("plan_hash"):
        yield "the plan is not what its hash says"


def _problems(run: Run | None, entry: Entry) -> Iterator[str]:
    if run is None:
        if entry.run:
            yield "of a rollout that did not begin"
        return
    record = run.steps.get(str(entry.data.get("step")))
    if entry.kind in _STEPS:
        yield from _of_a_step(run, record, entry)
    elif entry.kind == "approved":
        yield from _approved(run, record, entry)
    elif entry.kind == "phase-done":
        missing = [each.id for each in run.steps.values() if each.phase == entry.data["phase"] and not _passed(each)]
        if missing or entry.data["phase"] not in run.plan.phases:
            yield f"without {', '.join(missing) or 'being in the plan'}"
    elif entry.kind == "ended":
        missing = [phase for phase in run.plan.phases if phase not in run.phases_done]
        if missing and entry.data["end"] == "done":
            yield f"without {', '.join(missing)}"


def _of_a_step(run: Run, record: StepRecord | None, entry: Entry) -> Iterator[str]:
    if record is None:
        yield "of a step that the plan does not have"
        return
    expected = run.next_step
    if run.end or expected is None or expected.id != record.id:
        yield f"of {record.id}, when {'nothing' if run.end or not expected else expected.id} was next"
    if earlier := [phase for phase in _before(run, record.phase) if phase not in run.phases_done]:
        yield f"of {record.id}, before phase {earlier[0]} was proven"
    if entry.kind == "begun":
        yield from _rehearsed(run, record, entry)
        return
    if record.begun is None:
        yield f"{record.id} never began"
        return
    seconds = float(entry.data.get("seconds", 0.0))
    if not 0 <= seconds <= (entry.at - record.begun.at + SKEW).total_seconds():
        yield f"{record.id} took {seconds:g} s of the {(entry.at - record.begun.at).total_seconds():g} s since it began"
    if entry.kind == "done" and entry.data["verdict"] == Verdict.PASS:
        yield from _passes(run, record, entry)


def _passes(run: Run, record: StepRecord, entry: Entry) -> Iterator[str]:
    """What a step needs to pass."""
    if record.step.kind in PROOFS and not entry.data.get("evidence"):
        yield f"{record.id} passed without a file that shows it"
    if record.step.kind == "approval" and run.approval_of(record) is None:
        yield f"{record.id}: nobody approved what was shown"
    if record.step.kind in TIMED:
        looks = record.observations
        credit = Credit.model_validate(looks[-1].data["credit"]) if looks else None
        needed = record.step.seconds or 0.0
        if credit is None or credit.credited_s < needed or looks[-1].data["verdict"] != Verdict.PASS:
            yield f"{record.id} passed with {credit.credited_s if credit else 0:g} of {needed:g} s credited"


def _approved(run: Run, record: StepRecord | None, entry: Entry) -> Iterator[str]:
    if record is None or record.step.kind != "approval" or record.begun is None or run.next_step is not record:
        yield "of what did not wait for it"
    elif not run.is_of_what_was_shown(entry, record):
        yield "of something else than was shown"
    else:
        yield from _bound(run, record, entry)
    if why_not := run.refusal(entry.data):
        yield why_not


def _bound(run: Run, record: StepRecord, entry: Entry) -> Iterator[str]:
    approved = entry.data["binding"]
    if moved := binding.moved(binding.shown(run, record.phase)[:1], approved):
        yield f"since the preview was shown {moved}"
    if approved["commit"] != run.release:
        yield f"of commit {approved['commit']}, in a rollout of {run.release}"


def _rehearsed(run: Run, record: StepRecord, entry: Entry) -> Iterator[str]:
    if (record.phase, record.step.kind) != ("prod", "up") or not run.plan.rehearses:
        return
    done = [each.done.at for each in run.steps.values() if each.step.kind == "rehearsal" and each.done]
    if not done or (entry.at - max(done) - SKEW).total_seconds() > run.plan.rehearsal_max_age:
        yield "production was opened without a fresh rehearsal of the rollback"


def _before(run: Run, phase: PhaseName) -> list[PhaseName]:
    phases = list(run.plan.phases)
    return phases[: phases.index(phase)]


def _passed(record: StepRecord) -> bool:
    return record.verdict is Verdict.PASS
