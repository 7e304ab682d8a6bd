"""PURE  Journal entries -> where every rollout stands. Nothing is remembered but what the journal says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from rollout import people
from rollout.entries import NONSENSE, Entry
from rollout.journal import JournalDamaged
from rollout.plan import UNTOUCHING, PhaseName, Plan, Step
from smoke_tests.verdict import Verdict

# Never repeated: what was done once must be looked at, not done again.
DESTRUCTIVE = ("failover",)

End = Literal["done", "failed", "rolled-back", "aborted"]


@dataclass
class StepRecord:
    """One step of one rollout. `begun` without `verdict`: under way, or cut off in the middle."""

    phase: PhaseName
    id: str
    step: Step
    begun: Entry | None = None
    done: Entry | None = None
    verdict: Verdict | None = None
    observations: list[Entry] = field(default_factory=list)

    def clear(self) -> None:
        self.begun = self.done = self.verdict = None
        self.observations = []


@dataclass
class Run:
    """One rollout, as far as it got."""

    id: str
    release: str
    plan: Plan
    started: datetime
    steps: dict[str, StepRecord]
    starter: str = ""
    approvals: dict[str, Entry] = field(default_factory=dict)
    phases_done: list[str] = field(default_factory=list)
    paused: str = ""
    rollback_reason: str = ""
    rollback_ordered: datetime | None = None
    actions_done: dict[str, Entry] = field(default_factory=dict)
    searched: Entry | None = None
    end: End | None = None
    end_reason: str = ""
    evidence: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def next_step(self) -> StepRecord | None:
        return next((record for record in self.steps.values() if record.verdict is not Verdict.PASS), None)

    @property
    def failed_step(self) -> StepRecord | None:
        """The step that failed with its stack touched."""
        return next((each for each in self.steps.values() if each.verdict in (Verdict.FAIL, Verdict.ERROR)), None)

    @property
    def production_touched(self) -> bool:
        """Whether there is anything that a rollback takes back."""
        return any(each.begun and each.phase != "staging" and each.step.kind in ("up", "share") for each in self._all)

    def begun(self, phase: PhaseName, kind: str) -> bool:
        return any(each.begun for each in self._all if each.phase == phase and each.step.kind == kind)

    def of_phase(self, phase: PhaseName) -> list[StepRecord]:
        return [each for each in self._all if each.phase == phase]

    def approval_of(self, record: StepRecord) -> Entry | None:
        """What approves this step: somebody's, not the starter's, and bound to exactly what was shown."""
        entry = self.approvals.get(record.id)
        if entry is None or not self.is_of_what_was_shown(entry, record) or self.refusal(entry.data):
            return None
        return entry

    def is_of_what_was_shown(self, approval: Entry, record: StepRecord) -> bool:
        """Whether its binding is the step's; secrets may be replaced at any time."""
        bindings = [each.data.get("binding") or {} for each in (approval, record.begun) if each]
        first, *others = [{key: value for key, value in each.items() if key != "secrets"} for each in bindings]
        return bool(first) and others == [first]

    def refusal(self, approval: Mapping[str, Any]) -> str:
        """Why an approval does not count; '' when it does."""
        return people.refusal(approval, {"by": self.starter}, may_be_same=self.plan.approvals.own)

    def planned_failovers(self, phase: PhaseName, since_epoch: int) -> int:
        """Controlled failovers of the phase that began at this configuration epoch or later.

        By the epoch and not by the clock: what samples of that epoch and later saw of them is known for certain.
        """
        begun = [each.begun for each in self.of_phase(phase) if each.step.kind == "failover" and each.begun]
        epochs = [entry.data.get("epoch") for entry in begun]
        return sum(epoch is not None and epoch >= since_epoch for epoch in epochs)

    @property
    def _all(self) -> list[StepRecord]:
        return list(self.steps.values())


@dataclass
class History:
    """Every rollout of the project, and which releases are barred because they failed."""

    runs: dict[str, Run] = field(default_factory=dict)
    barred: dict[str, str] = field(default_factory=dict)
    notified_upto: int = 0

    @property
    def last(self) -> Run | None:
        return next(reversed(self.runs.values()), None)

    def proven_before(self, run: Run) -> str | None:
        """The last release that went all the way before this run; None for the first rollout."""
        earlier = [each for each in self.runs.values() if each.id != run.id and each.end == "done"]
        return next((each.release for each in reversed(earlier) if each.release != run.release), None)


def replay(entries: Sequence[Entry]) -> History:
    """Read the journal from its beginning. Raises JournalDamaged for an entry that no rollout writes."""
    history = History()
    for entry in entries:
        try:
            apply(history, entry)
        except NONSENSE as error:
            what = f"entry {entry.number} ({entry.kind}) is none that a rollout writes: {type(error).__name__}"
            raise JournalDamaged(
                f"the journal is damaged: {what}; nothing was done\n  fix: restore it from a copy"
            ) from None
    return history


def apply(history: History, entry: Entry) -> None:
    """Take up the next entry. Raises KeyError, TypeError or ValueError for one that no rollout writes."""
    if entry.kind == "started":
        history.runs[entry.run] = _started(entry)
    elif entry.kind in ("notified", "notify-failed"):
        history.notified_upto = int(entry.data["upto"])
    elif entry.kind == "released":
        history.barred.pop(str(entry.data["release"]), None)
    elif entry.run in history.runs:
        _apply(history, history.runs[entry.run], entry)


def _started(entry: Entry) -> Run:
    plan = Plan.model_validate(entry.data["plan"])
    steps = {id: StepRecord(phase, id, step) for phase, id, step in plan.steps()}
    return Run(entry.run, str(entry.data["release"]), plan, entry.at, steps, str(entry.data.get("by") or ""))


def _apply(history: History, run: Run, entry: Entry) -> None:
    data = entry.data
    record = run.steps.get(str(data.get("step")))
    for piece in data.get("evidence", ()):
        if set(piece) != {"name", "path", "sha256"} or not all(isinstance(value, str) for value in piece.values()):
            raise ValueError("no piece of evidence")
        run.evidence.append((str(data.get("step") or data.get("action")), piece))
    match entry.kind:
        case "begun" if record:
            record.clear()
            record.begun = entry
        case "observed" if record:
            record.observations.append(entry)
        case "done" if record:
            _done(record, entry)
        case "voided":
            _void(run, str(data["step"]))
        case "approved":
            run.approvals[str(data["step"])] = entry
        case "searched":
            run.searched = entry
        case "phase-done":
            run.phases_done.append(str(data["phase"]))
        case "paused":
            run.paused = str(data["reason"]) or "no reason given"
        case "resumed":
            run.paused = ""
        case "rollback-ordered":
            run.rollback_reason, run.end, run.paused = str(data["reason"]), None, ""
            run.rollback_ordered = entry.at
            history.barred[run.release] = run.rollback_reason
        case "rollback-done" if data["verdict"] == Verdict.PASS:
            run.actions_done[str(data["action"])] = entry
        case "ended":
            run.end, run.end_reason = data["end"], str(data["reason"])
            if run.end in ("failed", "rolled-back"):
                history.barred[run.release] = run.end_reason


def _done(record: StepRecord, entry: Entry) -> None:
    verdict = Verdict(entry.data["verdict"])
    repeatable = record.step.kind in UNTOUCHING or verdict is Verdict.INCONCLUSIVE
    if verdict is not Verdict.PASS and repeatable and record.step.kind not in DESTRUCTIVE:
        record.clear()  # to be tried again: nothing was shown, or nothing touched
        return
    record.done, record.verdict = entry, verdict


def _void(run: Run, step_id: str) -> None:
    """From this step on the phase is to be done again."""
    reached = False
    for record in run.of_phase(run.steps[step_id].phase):
        reached = reached or record.id == step_id
        if reached:
            record.clear()
            run.approvals.pop(record.id, None)
