"""One look at a soak: new samples kept as evidence, credit earned, drift asked, triggers judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from prober.samples import Sample, SamplesDamaged, line_of, samples_in
from rollout.durations import show
from rollout.errors import RolloutError
from rollout.evidence import RawFile
from rollout.history import Run, StepRecord
from rollout.judging import Seen, checks_of, judge
from rollout.keeping import EvidenceLost, Piece, fetch, keep
from rollout.provenance import foreign_sample
from rollout.soak import Credit
from rollout.stacks import Outcome, Stacks
from rollout.store import Store
from smoke_tests.evidence import Check
from smoke_tests.verdict import Verdict

# Judged are the latest so many samples of the step: some hours of them, and no machine's whole memory.
WINDOW = 100_000
# Samples that name another release: the triggers judge them, for they are of this stack; the report does not use them.
OTHERS = "samples-of-others.jsonl"
# Production's under the release before, and at most so many of them: an hour at a prober's usual ten a second. The
# last of them are held against as many from the beginning of the step: further away, on either side, samples differ by
# what else the machine did at that hour as well.
BEFORE, COMPARED = "before.jsonl", 36_000


@dataclass(frozen=True)
class Observed:
    """What was seen this time. `silent`: the prober has said nothing for longer than a gap."""

    credit: Credit
    outcome: Outcome
    complete: bool
    silent: bool
    text: str
    state: str
    evidence: list[dict[str, Any]]
    baseline: int
    quorum: bool | None
    figures: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "credit": self.credit.model_dump(mode="json"),
            "verdict": str(self.outcome.verdict),
            "reason": self.outcome.reason,
            "state": self.state,
            "baseline": self.baseline,
            "silent": self.silent,
            "evidence": self.evidence,
            "quorum": self.quorum,
            "figures": self.figures,
        }


class Soaking:
    """A soak or monitoring step of a run."""

    def __init__(self, store: Store, stacks: Stacks, run: Run, record: StepRecord) -> None:
        self._store = store
        self._stacks = stacks
        self._run = run
        self._record = record
        self._phase = run.plan.phases[record.phase]

    def begin(self) -> dict[str, Any]:
        """What the step is measured from: only later samples count."""
        return {
            "after": self._latest(self._phase.samples),
            "baseline": self._latest(self._run.plan.phases["prod"].samples) if self._compares else -1,
            "state": self._stacks.state(self._phase.stack).state,
        }

    def observe(self, now: datetime) -> Observed:
        """Look once. Samples that are damaged, of another stack, or none that a prober takes, are a fail."""
        begun = self._record.begun
        if begun is None:
            raise RuntimeError("observed before it began")
        last = self._record.observations[-1] if self._record.observations else None
        data = last.data if last else begun.data
        credit = Credit.model_validate(data["credit"]) if last else self._new()
        after = credit.last.sequence if credit.last else int(begun.data["after"])
        try:
            fresh = self._stacks.samples(self._phase.samples, after)
            base = self._fresh_baseline(int(data["baseline"]))
            before = self._before(int(begun.data["after"])) if last is None else []
            self._refuse_foreign(fresh, [*base, *before])
        except RolloutError as error:
            return self._refused(str(error), credit, str(data["state"]), int(data["baseline"]))
        evidence = keep(self._store, {**self._sorted(fresh), **jsonl("baseline", base), **jsonl("before", before)})
        credit = credit.add(fresh)
        state = self._stacks.state(self._phase.stack).state
        drift = self._stacks.drift(self._phase.stack)
        if state != data["state"]:
            credit = credit.reset("the stack was deployed to")
        elif drift.verdict is Verdict.FAIL:
            credit = credit.reset(f"drift: {drift.reason}")
        quorum = self._stacks.quorum(self._phase.stack)
        outcome = self._judge(evidence, quorum, now)
        needed = self._record.step.seconds or 0.0
        quiet_s = abs((now - (last.at if last else begun.at)).total_seconds())
        silent = not fresh and quiet_s > credit.max_gap_s
        return Observed(
            credit=credit,
            outcome=outcome,
            complete=credit.credited_s >= needed and credit.samples > 0,
            silent=silent,
            text=self._text(credit, needed, outcome, silent),
            state=state,
            evidence=evidence,
            baseline=base[-1].sequence if base else int(data["baseline"]),
            quorum=quorum,
            figures=dict(drift.figures),
        )

    def _refuse_foreign(self, own: list[Sample], prods: list[Sample]) -> None:
        """Raises RolloutError."""
        prod = self._run.plan.phases["prod"].stack
        if problem := foreign_sample(own, self._phase.stack) or foreign_sample(prods, prod):
            raise RolloutError(problem)

    def _refused(self, reason: str, credit: Credit, state: str, baseline: int) -> Observed:
        return Observed(
            credit=credit,
            outcome=Outcome(Verdict.FAIL, reason),
            complete=False,
            silent=False,
            text=reason,
            state=state,
            evidence=[],
            baseline=baseline,
            quorum=None,
        )

    @property
    def _compares(self) -> bool:
        return self._record.phase == "canary"

    def _new(self) -> Credit:
        return Credit(release=self._run.release, max_gap_s=self._run.plan.sample_gap)

    def _latest(self, folder: str) -> int:
        return next((sample.sequence for sample in self._stacks.newest(folder)), -1)

    def _fresh_baseline(self, after: int) -> list[Sample]:
        return self._stacks.samples(self._run.plan.phases["prod"].samples, after) if self._compares else []

    def _before(self, until: int) -> list[Sample]:
        """Production's latest samples of the release before, from before its `up` began."""
        ups = [each.begun for each in self._run.of_phase("prod") if each.step.kind == "up"]
        if self._record.phase != "prod" or not ups[0]:
            return []
        found: list[Sample] = []
        for sample in self._stacks.newest(self._phase.samples):
            if sample.sequence > until or sample.wall >= ups[0].at or sample.release == self._run.release:
                continue
            if len(found) == COMPARED or (found and sample.release != found[0].release):
                break
            found.append(sample)
        return found[::-1]

    def _judge(self, fresh: list[dict[str, Any]], quorum: bool | None, now: datetime) -> Outcome:
        looks = self._record.observations
        pieces = [piece for entry in looks for piece in entry.data["evidence"]] + fresh
        try:
            samples = self._latest_of(pieces, "samples.jsonl", OTHERS)
            baseline = self._latest_of(pieces, "baseline.jsonl") if self._compares else None
            before = self._latest_of(pieces, BEFORE)
            since = self._read(pieces, COMPARED, "samples.jsonl", OTHERS)[:COMPARED] if before else []
            before = before[max(0, len(before) - len(since)) :]
            drill = self._drill()
        except EvidenceLost as error:
            verdict = Verdict.FAIL if error.edited else Verdict.INCONCLUSIVE
            return Outcome(verdict, f"evidence: {error}")
        except SamplesDamaged as error:
            return Outcome(Verdict.FAIL, f"evidence: {error}")
        answers = [answer for entry in looks if (answer := entry.data.get("quorum")) is not None]
        epochs = [sample.epoch for sample in samples if sample.epoch is not None]
        return judge(
            Seen(
                samples,
                baseline,
                before,
                since,
                planned_failovers=self._run.planned_failovers(self._record.phase, epochs[0]) if epochs else 0,
                quorum=[*answers, *([] if quorum is None else [quorum])],
                drill=drill,
                raw=tuple(RawFile(path=piece["path"], sha256=piece["sha256"]) for piece in pieces),
                when=now,
            )
        )

    def _drill(self) -> list[Check] | None:
        """The checks of the phase's controlled failover, read from its evidence; None when it has none so far."""
        done = [each.done for each in self._run.of_phase(self._record.phase) if each.step.kind == "failover"]
        entries = [entry for entry in done if entry]
        if not entries:
            return None
        pieces = [Piece.model_validate(piece) for entry in entries for piece in entry.data["evidence"]]
        return checks_of({piece.name: fetch(self._store, piece) for piece in pieces})

    def _sorted(self, fresh: list[Sample]) -> dict[str, bytes]:
        """A prober goes on for a while under the earlier release's name: those samples prove nothing of this one."""
        release = self._run.release
        others = [sample for sample in fresh if sample.release != release]
        named = jsonl("samples", [sample for sample in fresh if sample.release == release])
        return named | ({OTHERS: _content(others)} if others else {})

    def _latest_of(self, pieces: list[dict[str, Any]], *names: str) -> list[Sample]:
        """What the triggers judge."""
        return self._read(pieces[::-1], WINDOW, *names)[-WINDOW:]

    def _read(self, pieces: list[dict[str, Any]], enough: int, *names: str) -> list[Sample]:
        """The files of these names, from the first on until there is enough; in the order in which they were taken."""
        found: list[Sample] = []
        for piece in map(Piece.model_validate, pieces):
            if piece.name in names and len(found) < enough:
                found += samples_in(fetch(self._store, piece), piece.name)
        found.sort(key=lambda sample: sample.sequence)
        if twice := next((a for a, b in pairwise(found) if a.sequence == b.sequence), None):
            raise SamplesDamaged(f"{names[0]}: sequence {twice.sequence} twice")
        return found

    def _text(self, credit: Credit, needed: float, outcome: Outcome, silent: bool) -> str:
        text = f"{show(credit.credited_s)} of {show(needed)} credited, {credit.samples} samples, {credit.pauses} pauses"
        if credit.resets:
            text += f", {len(credit.resets)} resets (last: {credit.resets[-1]})"
        if silent:
            text += "; the prober is silent"
        return text if outcome.verdict is Verdict.PASS else f"{text}; {outcome.reason}"


def jsonl(name: str, samples: list[Sample]) -> dict[str, bytes]:
    """A file of evidence for `keep`; none without samples."""
    return {f"{name}.jsonl": _content(samples)} if samples else {}


def _content(samples: list[Sample]) -> bytes:
    return b"".join(map(line_of, samples))
