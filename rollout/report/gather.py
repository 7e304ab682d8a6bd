"""A rollout's journal and kept evidence -> a report's folder: the raw files, and the manifest that names them.

What the journal itself says (phases, approvals, figures of steps) is written as files of its own; everything else is
the kept evidence, byte by byte. What no step measured is in no file, and the report says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from prober.samples import SamplesDamaged, samples_in
from rollout import binding
from rollout.clock import outside
from rollout.entries import NONSENSE, Entry
from rollout.errors import RolloutError
from rollout.evidence import EvidenceError, load, seal
from rollout.faults import Faults
from rollout.history import StepRecord, replay
from rollout.keeping import EvidenceLost, Piece, fetch
from rollout.plan import TIMED
from rollout.report.catalogue import LINES
from rollout.report.inputs import (
    Approval,
    Failover,
    Input,
    Kind,
    Manifest,
    Measurement,
    PhaseRecord,
    QuorumAnswer,
    Teeth,
)
from rollout.report.order import owed
from rollout.store import Readable
from smoke_tests.evidence import Check, Evidence
from smoke_tests.verdict import Verdict

COMMAND = "python -m rollout report"
ENTRIES = "journal/entries.jsonl"
# A release's tests ran before its rollout began, and not long before.
TESTS_AGE = timedelta(days=30)
_MEASURED = {line.by.removeprefix("measured:") for line in LINES if line.by.startswith("measured:")}
# Reckoned from the evidence, whatever the journal says.
_BY_EVIDENCE = {"faults.failed", "canary.share-off"}
# A step's own figures, by the names that the engine asks of it.
_NAMES = {
    "rollback_s": ("rollback.seconds", "s"),
    "gap_s": ("rollback.gap", "s"),
    "lost_acks": ("rollback.lost-acks", "lost"),
}
M = TypeVar("M", bound=BaseModel)
_MOVED = re.compile(r"master (\S+) -> (\S+?)(?:;|$)")


def write(path: Path, content: bytes) -> None:
    """A new file of the folder. Raises RolloutError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except (OSError, ValueError) as error:
        raise RolloutError(f"{path} cannot be written: {error}\n  fix: name another folder with --out") from None


class Gathering:
    """One report's folder. `put` leaves each file there; `verify` passes one that compares instead."""

    def __init__(
        self,
        store: Readable,
        entries: Sequence[Entry],
        folder: Path,
        put: Callable[[Path, bytes], None] = write,
    ) -> None:
        """Of the latest rollout that the entries have. Raises RolloutError when they have none."""
        history = replay(entries)
        if history.last is None:
            raise RolloutError("the journal has no rollout")
        self._store = store
        self._entries = entries
        self._history = history
        self._run = history.last
        self._folder = folder
        self._put = put
        self._inputs: list[Input] = []
        self._failovers: list[Failover] = []
        self._measurements: list[Measurement] = []
        self._quorum: list[QuorumAnswer] = []
        self._baseline = ""

    def gather(self, made: datetime, tests: Iterable[tuple[str, Path]] = ()) -> Manifest:
        """Fill the folder. `tests`: JUnit files by the name of their suite.

        Raises RolloutError when kept evidence is lost or edited, or an entry is none that a rollout writes.
        """
        try:
            return self._gather(made, tests)
        except NONSENSE as error:
            what = f"the journal has an entry that no rollout writes: {type(error).__name__}"
            raise RolloutError(f"no report: {what}\n  fix: restore the journal from a copy") from None

    def _gather(self, made: datetime, tests: Iterable[tuple[str, Path]]) -> Manifest:
        for record in self._run.steps.values():
            for entry in [*record.observations, *([record.done] if record.done else [])]:
                self._step(record, entry)
            # What ran in a soak's last look; what an earlier one saw has set its clock back.
            for entry in record.observations[-1:]:
                self._figures(record, entry, str(entry.data.get("command") or "python -m prober"))
        if self._run.searched:
            self._searched(self._run.searched)
        self._owed(made)
        for name, path in tests:
            self._junit(name, path, made)
        self._journal(made)
        release = self._history.proven_before(self._run) or self._baseline or "none"
        return Manifest(
            project=self._run.plan.project,
            release=self._run.release,
            baseline_release=release,
            made=made,
            inputs=tuple(self._inputs),
        )

    def _step(self, record: StepRecord, entry: Entry) -> None:
        folder = f"{record.id}/{entry.number:06d}"
        command = str(entry.data.get("command") or "python -m prober")
        paths = [self._restore(folder, Piece.model_validate(piece)) for piece in entry.data.get("evidence", ())]
        for path in paths:
            self._sort(record, entry, path, command)
        if (answer := entry.data.get("quorum")) is not None:
            self._quorum.append(QuorumAnswer(when=entry.at, ok=bool(answer)))
        if entry is record.done:
            self._figures(record, entry, command)
        if record.step.kind == "up":
            self._measure(entry, "deploy.seconds", float(entry.data["seconds"]), "s", command)

    def _figures(self, record: StepRecord | None, entry: Entry, command: str) -> None:
        for name, value in dict(entry.data.get("figures", {})).items():
            id, _, unit = name.partition(", ")
            id, unit = _NAMES.get(name, (id, unit)) if record and record.step.kind == "rehearsal" else (id, unit)
            if id in _MEASURED and id not in _BY_EVIDENCE:
                self._measure(entry, id, float(value), unit, command)

    def _shown(self, record: StepRecord, faults: Faults) -> bool:
        return bool(faults.shown) and faults.stack == self._run.plan.phases[record.phase].stack

    def _own_figures(
        self, record: StepRecord, entry: Entry, figures: Mapping[str, float], times: Iterable[datetime], command: str
    ) -> None:
        """What the evidence says itself, if it is of the step's time; the journal's word is not asked."""
        begun = record.begun.at if record.begun else entry.at
        if any(outside(moment, begun, entry.at) for moment in times):
            return
        for name, value in figures.items():
            id, _, unit = name.partition(", ")
            if id in _BY_EVIDENCE:
                self._measure(entry, id, value, unit, command)

    def _searched(self, entry: Entry) -> None:
        """Where passwords were looked for."""
        for piece in entry.data["evidence"]:
            self._restore(f"search/{entry.number:06d}", Piece.model_validate(piece))
        self._figures(None, entry, str(entry.data["command"]))

    def _owed(self, made: datetime) -> None:
        """How much of the plan was not done; while it goes on nobody knows."""
        if not self._run.end:
            return
        missing = owed(self._run)
        note = ", ".join(missing[:3]) or "every step of every phase, in order"
        value, id = float(len(missing)), "rollout.steps"
        self._measurements.append(Measurement(id=id, value=value, unit="steps", when=made, command=COMMAND, note=note))

    def _measure(self, entry: Entry, id: str, value: float, unit: str, command: str) -> None:
        note = f"{entry.data.get('step') or entry.data['action']}: {entry.data['reason']}"
        self._measurements.append(
            Measurement(id=id, value=value, unit=unit, when=entry.at, command=command or COMMAND, note=note)
        )

    def _sort(self, record: StepRecord, entry: Entry, path: Path, command: str) -> None:
        timed = record.step.kind in TIMED
        if timed and path.name == "samples.jsonl":
            self._add("canary" if record.phase == "canary" else "soak", record, path, entry.at, command)
        elif timed and path.name == "baseline.jsonl":
            if not self._baseline:
                self._baseline = _release_of(path)
            self._add("baseline", record, path, entry.at, command)
        elif record.step.kind == "faults" and (faults := _is(Faults, path)) and self._shown(record, faults):
            self._own_figures(record, entry, faults.figures, [each.when for each in faults.shown], command)
        elif (
            record.step.kind == "share"
            and path.name == "clients.json"
            and (off := _share_off(record, path)) is not None
        ):
            self._own_figures(record, entry, {"canary.share-off, points": off}, [], command)
        elif record.step.kind == "teeth" and _is(Teeth, path):
            self._add("teeth", record, path, entry.at, command)
        elif record.step.kind in ("smoke", "failover") and (evidence := _is(Evidence, path)):
            self._add("smoke", record, path, entry.at, command)
            self._failovers += self._drill(record, evidence, path)

    def _drill(self, record: StepRecord, evidence: Evidence, path: Path) -> list[Failover]:
        """The controlled failover that a smoke run made, when every figure of it is there."""
        checks = {check.check: check for check in evidence.checks}
        gap, lost, agreed = (checks.get(f"failover.{name}") for name in ("gap", "no-lost-acks", "agreement"))
        if not (gap and lost and agreed and gap.measured and lost.measured and agreed.measured):
            return []
        moved = _MOVED.search(gap.reason)
        acknowledged = self._acknowledged(lost, path)
        if not moved or not acknowledged:
            return []
        return [
            Failover(
                when=gap.started,
                phase=record.phase,
                kind="planned",
                old=moved[1],
                new=moved[2],
                gap_ms=gap.measured.value,
                completed_s=agreed.measured.value,
                acknowledged=acknowledged,
                lost=int(lost.measured.value),
            )
        ]

    def _acknowledged(self, check: Check, path: Path) -> int:
        """One line of raw samples is one acknowledged write."""
        if check.samples is None:
            return 0
        try:
            return load(path.parent, check.samples).count(b"\n")
        except EvidenceError:
            return 0

    def _journal(self, made: datetime) -> None:
        run = self._run
        self._lines("failovers", self._failovers, made)
        self._lines("measurements", self._measurements, made)
        self._lines("quorum", self._quorum, made)
        self._lines("phases", [phase for name in run.plan.phases if (phase := self._phase(name))], made)
        self._lines("approvals", [_approval(each) for each in run.approvals.values()], made)
        stacks = {f"stack of {name}": phase.stack for name, phase in run.plan.phases.items()}
        head, who = self._entries[-1].head, run.starter or "nobody that is named"
        searched = {"passwords": str(run.searched.data["reason"])} if run.searched else {}
        replaced = [f"after {since}" for each in run.steps if (since := binding.replaced(run, each))]
        rotated = {"secrets replaced": ", ".join(replaced)} if replaced else {}
        facts = {
            "rollout": run.id,
            "plan": run.plan.hash,
            "journal's head": head,
            "journal signed by": run.plan.signing.signers or "nobody",
            "state": run.end or "under way",
            **searched,
            **rotated,
            "started by": who,
            **stacks,
        }
        path = self._folder / "journal" / "facts.json"
        self._put(path, (json.dumps(facts, indent=2) + "\n").encode())
        self._add("facts", None, path, made, COMMAND)
        path = self._folder / ENTRIES
        self._put(path, b"".join(entry.content for entry in self._entries))
        self._add("journal", None, path, made, COMMAND)

    def _phase(self, name: str) -> PhaseRecord | None:
        records = [each for each in self._run.steps.values() if each.phase == name]
        entries = [entry for each in records for entry in (each.begun, *each.observations, each.done) if entry]
        if not entries:
            return None
        timed = [each for each in records if each.step.kind in TIMED]
        credited = sum(min(each.step.seconds or 0.0, _credited(each)) for each in timed)
        verdicts = {each.verdict for each in records}
        bad = next((v for v in (Verdict.ERROR, Verdict.FAIL) if v in verdicts), Verdict.INCONCLUSIVE)
        closed = name in self._run.phases_done
        return PhaseRecord(
            phase=name,
            stack=self._run.plan.phases[records[0].phase].stack,
            began=min(entry.at for entry in entries),
            ended=max(entry.at for entry in entries) if closed else None,
            required_soak_s=sum(each.step.seconds or 0.0 for each in timed),
            credited_soak_s=round(credited, 3),
            verdict=Verdict.PASS if closed else bad,
        )

    def _junit(self, name: str, path: Path, made: datetime) -> None:
        target = self._folder / tests_file(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RolloutError(f"{path} cannot be read: {error.strerror}\n  fix: --junit {name}=FILE") from None
        self._put(target, content)
        self._add("junit", None, target, made, "make test", name, self._run.started - TESTS_AGE)

    def _lines(self, kind: Kind, rows: Iterable[BaseModel], made: datetime) -> None:
        text = "".join(row.model_dump_json() + "\n" for row in rows)
        if not text:
            return
        path = self._folder / "journal" / f"{kind}.jsonl"
        self._put(path, text.encode())
        self._add(kind, None, path, made, COMMAND)

    def _restore(self, folder: str, piece: Piece) -> Path:
        """The kept file under its own name, which may have folders in it."""
        name = PurePosixPath(piece.name)
        if name.is_absolute() or ".." in name.parts or not name.parts or not piece.name.isprintable():
            raise RolloutError(f"{piece.name!r} leads out of the report's folder; nothing more was written")
        path = self._folder / folder / name
        try:
            self._put(path, fetch(self._store, piece))
        except EvidenceLost as error:
            raise RolloutError(
                f"no report: evidence {error}\n  fix: restore the journal's folder from a copy; what cannot be shown "
                "cannot be reported"
            ) from None
        return path

    def _add(
        self,
        kind: Kind,
        record: StepRecord | None,
        path: Path,
        when: datetime,
        command: str,
        name: str = "",
        since: datetime | None = None,
    ) -> None:
        begun = record.begun.at if record and record.begun else None
        # What the canary is held against is production's.
        whose = "prod" if kind == "baseline" else record.phase if record else None
        self._inputs.append(
            Input(
                kind=kind,
                phase=record.phase if record else "all",
                raw=seal(self._folder, path),
                when=when,
                command=command,
                name=name,
                stack=self._run.plan.phases[whose].stack if whose else "",
                since=since or begun,
                until=when,
            )
        )


def tests_file(suite: str) -> str:
    """Where a suite's JUnit file is in a report's folder."""
    return f"tests/{suite}.xml"


def _share_off(record: StepRecord, path: Path) -> float | None:
    """How far production's clients were from the share, in points; None when they did not say."""
    try:
        told = json.loads(path.read_bytes().splitlines()[-1])
        clients, canary = int(told["clients"]), int(told["canary"])
        if not 0 <= canary <= clients:
            return None
        return round(abs(100 * canary / clients - (record.step.percent or 0)), 3)
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _release_of(path: Path) -> str:
    """Of the first sample; '' when there is none that can be read, which the report will say."""
    try:
        return next((sample.release for sample in samples_in(path.read_bytes(), path.name)), "")
    except SamplesDamaged:
        return ""


def _is(model: type[M], path: Path) -> M | None:
    """The file as this model; None when it is something else."""
    try:
        return model.model_validate_json(path.read_bytes()) if path.suffix == ".json" else None
    except ValidationError:
        return None


def _credited(record: StepRecord) -> float:
    return float(record.observations[-1].data["credit"]["credited_s"]) if record.observations else 0.0


def _approval(entry: Entry) -> Approval:
    binding = entry.data["binding"]
    return Approval(
        when=entry.at,
        phase=str(entry.data["step"]).partition("/")[0],
        who=str(entry.data["name"]),
        reason=str(entry.data["reason"]),
        plan_sha256=str(binding["plan"]),
        state_sha256=str(binding["state"]),
        config_epoch=int(binding["epoch"] or 0),  # 0: no Sentinels to have one, a first deployment
    )
