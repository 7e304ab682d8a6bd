"""Does what can be done now, and stops. Every step is in the journal before it begins and after it ended.

Killed anywhere, the next `advance` reads the journal: a step that was done is not done again; one that was begun is
looked at first when doing it twice would do harm, else repeated.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import takewhile
from typing import Any

from rollout import binding, lock, people
from rollout.durations import show
from rollout.entries import Entry, canonical, digest
from rollout.errors import RolloutError
from rollout.history import DESTRUCTIVE, History, Run, StepRecord, replay
from rollout.journal import Journal
from rollout.judging import judge_drill
from rollout.keeping import EvidenceLost, Piece, fetch, keep
from rollout.notify import Notify, NotSent, text_of
from rollout.plan import PHASES, TIMED, UNTOUCHING, PhaseName, Plan
from rollout.provenance import foreign, foreign_sample
from rollout.releases import Releases
from rollout.serving import serving_since
from rollout.signatures import Signatures
from rollout.signing import Signing, unsigned
from rollout.soaking import Soaking, jsonl
from rollout.stacks import Outcome, Stacks, StackState
from rollout.store import Store
from smoke_tests.verdict import Verdict
from tools.errors import ToolError

Say = Callable[[str], None]

# What passes only with a raw file of evidence.
PROOFS = ("preflight", "preview", "smoke", "teeth", "faults", "rehearsal", "failover")


class Code(IntEnum):
    """The exit codes of `rollout advance`, which CI acts on."""

    DONE = 0
    SOAKING = 10
    WAITING = 20
    FAILED = 30
    INCONCLUSIVE = 40


@dataclass(frozen=True)
class Result:
    """Where the rollout stopped, and why."""

    code: Code
    reason: str


class Engine:
    """The rollout of one project. `notify` may be None; `now` is the wall clock, for records and ages only.

    `signing`: who signs what it writes, if the plan lists keys.
    """

    def __init__(
        self,
        store: Store,
        releases: Releases,
        say: Say,
        notify: Notify | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        signing: Signing = unsigned,
    ) -> None:
        """Raises JournalDamaged."""
        self.store = store
        self.journal = Journal(store, now)
        self._releases = releases
        self._say = say
        self._notify = notify
        self._now = now
        self._signing = signing

    @property
    def history(self) -> History:
        """Every rollout as the journal has it now."""
        self.journal.refresh()
        return replay(self.journal.entries)

    def start(self, plan: Plan, release: str, by: str = "") -> Run:
        """Begin a rollout; nothing is touched yet. Raises RolloutError when one is under way or the release barred.

        `by`: who does, and so cannot approve.
        """
        with lock.held(self.store, "rollout start"):
            history = self.history
            if history.last and not history.last.end:
                raise RolloutError(
                    f"rollout {history.last.id} of {history.last.release} is under way; nothing was done\n"
                    "  fix: let it end (rollout advance), or rollout abort --reason ..."
                )
            if release in history.barred:
                raise RolloutError(
                    f"release {release} failed ({history.barred[release]}) and is refused\n"
                    f"  fix: roll out another; or, with the cause found: rollout release {release} --reason ..."
                )
            if plan.signing.missing and not plan.signing.none:
                raise RolloutError(
                    f"{plan.signing.missing}, and canary and prod take a signed journal only; nothing was begun\n"
                    "  fix: rollout key ci, and list what it prints; or `signing: none`, which every report then says"
                )
            self._trust(plan)
            run_id = f"{self._now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            data = {"release": release, "plan": plan.to_json(), "plan_hash": plan.hash, "by": by}
            self.journal.append(run_id, "started", data)
            self._tell()
            return self.current()

    def current(self) -> Run:
        """The latest rollout. Raises RolloutError when there is none."""
        run = self.history.last
        if run is None:
            raise RolloutError("there is no rollout\n  fix: rollout start")
        return run

    def advance(self, upto: PhaseName = PHASES[-1]) -> Result:
        """Do what can be done now, no step of a phase after `upto`. Raises RolloutError."""
        with lock.held(self.store, "rollout advance") as broken:
            run = self.reviewed()
            if broken:
                self._write(run, "took-over", {"holder": broken.model_dump(mode="json")})
                self._say(f"went on where {broken} stopped")
            try:
                while (result := self._move(self.current(), upto)) is None:
                    continue
            finally:
                self._tell()
            if not run.end and self.current().end:
                self._tidy()
            return result

    def approve(self, name: str, reason: str, by: str = "") -> Entry:
        """Approve what waits, bound to what was shown. Raises RolloutError when nothing waits or something moved.

        `by`: whose command this is, whatever name is given.
        """
        run = self.reviewed()
        record = run.next_step
        if run.end or record is None or record.step.kind != "approval" or record.begun is None:
            raise RolloutError("nothing waits for approval\n  fix: rollout advance, then look at rollout status")
        given = {"name": name, "reason": reason, "by": by, "ci_run": people.ci_run()}
        if why_not := run.refusal(given):
            raise RolloutError(
                f"not approved: {why_not}\n  fix: somebody else approves, with --name and --reason; or the plan says "
                "approvals: {self: true}"
            )
        shown, current = record.begun.data["binding"], self._binding(run, record.phase)
        if moved := binding.moved([shown], current):
            raise RolloutError(
                f"not approved: since the preview was shown {moved}\n  fix: rollout advance shows it anew, then approve"
            )
        return self._write(run, "approved", {"step": record.id, **given, "binding": current})

    def order(self, kind: str, data: Mapping[str, Any]) -> None:
        """pause, resume: taken up by a running `advance` between two steps. Raises RolloutError."""
        run = self.trusted()
        if run.end:
            raise RolloutError(f"rollout {run.id} has ended ({run.end}): nothing to do")
        self._write(run, kind, data)
        self._tell()

    def abort(self, reason: str) -> None:
        """Give up before production is touched, while nobody else could be about to. Raises RolloutError."""
        with lock.held(self.store, "rollout abort"):
            if self.trusted().production_touched:
                raise RolloutError(
                    "production is touched already: an abort would leave it half way; nothing was done\n"
                    "  fix: rollout rollback --reason ..."
                )
            self.order("ended", {"end": "aborted", "reason": reason})
            self._tidy()

    def rollback(self, reason: str) -> Result:
        """Take back what this rollout did to production; also after it ended. Raises RolloutError."""
        run = self.reviewed(ended=True)
        if run.end not in (None, "done"):
            raise RolloutError(f"rollout {run.id} is {run.end} already: nothing to do")
        # Ordered first: an `advance` that holds the lock does it at its next step.
        self._write(run, "rollback-ordered", {"reason": reason})
        return self.advance()

    def release(self, name: str, reason: str) -> None:
        """Let a barred release be rolled out again. Raises RolloutError when it is not barred."""
        self.trusted()
        if name not in self.history.barred:
            raise RolloutError(f"release {name} is not barred: nothing to do")
        self.journal.append("", "released", {"release": name, "reason": reason})

    def unlock(self, holder: str) -> lock.Holder:
        """Remove the lock of a holder that is gone for good, and write that down. Raises RolloutError."""
        if self.history.last:
            self.trusted()
        gone = lock.unlock(self.store, holder)
        self.journal.append("", "unlocked", {"holder": gone.model_dump(mode="json")})
        return gone

    def trusted(self) -> Run:
        """The latest rollout, once every entry is held to the keys of its plan: what commands go by and write after.

        The plan is the journal's own, so that a rollout can be stopped whose commit nobody has any more.
        Raises JournalDamaged, and RolloutError when there is no rollout.
        """
        run = self.current()
        self._trust(run.plan)
        return run

    def reviewed(self, *, ended: bool = False) -> Run:
        """As `trusted`, if the plan is the commit's: what a journal says is data, and no command of it is run.

        `ended`: a rollout that has ended is looked at, too. Raises RolloutError.
        """
        run = self.trusted()
        if run.end and not ended:
            return run
        if self._releases.plan(run.release).hash != run.plan.hash:
            raise RolloutError(
                f"the journal's plan of rollout {run.id} is not that of commit {run.release}; nothing was done\n"
                "  fix: find out who changed the journal and restore it from a copy; or start a rollout anew"
            )
        return run

    def lost_evidence(self, run: Run, phase: PhaseName | None = None) -> list[EvidenceLost]:
        """Evidence of the run (of one phase) that is missing or edited."""
        lost = []
        for step, piece in run.evidence:
            if phase is None or step.startswith(f"{phase}/"):
                try:
                    fetch(self.store, Piece.model_validate(piece))
                except EvidenceLost as error:
                    lost.append(error)
        return lost

    def _trust(self, plan: Plan) -> None:
        """Hold the journal to the keys that the plan lists, and sign with one of them. Raises JournalDamaged."""
        keys = plan.signing.public_keys
        signer = self._signing(keys | plan.approvals.public_keys) if keys else None
        self.journal.trust(Signatures(keys), signer)

    def _stacks(self, run: Run) -> Stacks:
        """As the run's release works on them."""
        return self._releases.stacks(run.release)

    def _move(self, run: Run, upto: PhaseName) -> Result | None:
        """One thing; None when more can be done now."""
        if run.end:
            return Result(Code.DONE if run.end == "done" else Code.FAILED, f"{run.end}: {run.end_reason}")
        failed = run.failed_step
        if upto == PHASES[0] and (run.rollback_reason or (failed and failed.phase != upto)):
            return Result(
                Code.WAITING, f"a rollback changes production, which is beyond {upto}: rollout advance does it"
            )
        if run.rollback_reason and run.rollback_ordered:
            return self._roll_back(run, run.rollback_ordered)
        if failed:
            return self._fail(run, failed)
        if run.paused:
            return Result(Code.WAITING, f"paused: {run.paused}; go on with: rollout resume")
        if (phase := self._phase_to_close(run)) is not None:
            return self._close(run, phase)
        record = run.next_step
        if record is None:
            self._write(run, "ended", {"end": "done", "reason": f"{run.release} serves all clients, proven"})
            return None
        if record.phase != PHASES[0] and run.plan.signing.missing and not run.plan.signing.none:
            return Result(
                Code.INCONCLUSIVE, f"{record.id}: not begun: {run.plan.signing.missing}, so the journal proves nothing"
            )
        if PHASES.index(record.phase) > PHASES.index(upto):
            return Result(Code.DONE, f"{upto} is proven; {record.id} is beyond it and left to another advance")
        if record.verdict is Verdict.INCONCLUSIVE:
            reason = str(record.done.data["reason"]) if record.done else ""
            return Result(Code.INCONCLUSIVE, f"{record.id}: {reason}; not repeated by itself: rollback or abort")
        return self._do(run, record)

    def _do(self, run: Run, record: StepRecord) -> Result | None:
        kind = record.step.kind
        if kind == "approval":
            return self._await_approval(run, record)
        if kind in TIMED:
            return self._soak(run, record)
        if kind == "up" and (stopped := self._may_open(run, record) or self._not_as_shown(run, record)):
            return stopped
        interrupted = record.begun
        if interrupted is None or kind not in DESTRUCTIVE:
            before = self._stacks(run).state(self._stack(run, record)) if kind in DESTRUCTIVE else None
            data = {"step": record.id, **({"epoch": before.epoch, "master": before.master} if before else {})}
            secrets = self._releases.bound(run.release, self._stack(run, record))["secrets"]
            begun = self._write(run, "begun", {**data, "secrets": secrets})
        else:
            begun = interrupted
        self._say(f"{record.id} ...")
        started = time.monotonic()
        outcome = self._inspect(run, record, begun) if interrupted else None
        outcome = outcome or self._perform(run, record)
        if since := binding.replaced(self.current(), record.id):
            outcome = replace(outcome, reason=f"{outcome.reason}; the stack's secrets were replaced since {since}")
        return self._record(run, record, outcome, time.monotonic() - started)

    def _inspect(self, run: Run, record: StepRecord, begun: Entry) -> Outcome | None:
        """What a step that was cut off had done; None when it is to be done (again)."""
        stack = self._stack(run, record)
        if record.step.kind == "up" and self._stacks(run).is_deployed(stack):
            return Outcome(Verdict.PASS, "was complete when it was interrupted: nothing is left to change")
        if record.step.kind == "failover":
            now, epoch = self._stacks(run).state(stack), begun.data["epoch"]
            if now.epoch is None or epoch is None:
                return Outcome(Verdict.INCONCLUSIVE, "interrupted, and the Sentinels' epoch is not known")
            if now.epoch != epoch:
                text = f"interrupted after the master moved: epoch {epoch} -> {now.epoch}"
                unmeasured = f"{text}, {begun.data['master']} -> {now.master}; its gap was not measured"
                return Outcome(Verdict.INCONCLUSIVE, unmeasured)
        return None

    def _perform(self, run: Run, record: StepRecord) -> Outcome:
        stacks, stack, plan = self._stacks(run), self._stack(run, record), run.plan
        match record.step.kind:
            case "preflight":
                if record.phase == "prod" and (proven := self.history.proven_before(run)):
                    self._releases.stacks(proven)  # its tree and environment: a rollback must not wait for downloads
                return stacks.preflight(stack)
            case "preview":
                return stacks.preview(stack)
            case "up":
                return stacks.up(stack)
            case "smoke":
                return stacks.smoke(stack)
            case "teeth":
                return stacks.teeth(stack)
            case "faults":
                return stacks.faults(stack)
            case "failover":
                return judge_drill(stacks.failover(stack))
            case "rehearsal":
                staging = plan.phases["staging"]
                outcome = stacks.rehearsal(staging.stack, staging.consumers)
                return _rehearsed(outcome, plan.rollback.within)
            case _:
                percent = record.step.percent or 0
                prod = plan.phases["prod"]
                return stacks.share(plan.phases["canary"].stack, prod.stack, percent, prod.clients or ())

    def _record(self, run: Run, record: StepRecord, outcome: Outcome, seconds: float) -> Result | None:
        whose = run.plan.phases["staging" if record.step.kind == "rehearsal" else record.phase].stack
        if problem := foreign(outcome.files, whose, run.release):
            outcome = Outcome(Verdict.FAIL, problem, outcome.command)  # its files and figures are nobody's here
        if outcome.verdict is Verdict.PASS and record.step.kind in PROOFS and not outcome.files:
            outcome = Outcome(Verdict.INCONCLUSIVE, f"passed without a file that shows it: {outcome.reason}")
        data = {"step": record.id, "seconds": round(seconds, 3), **_told(outcome), "evidence": self._keep(outcome)}
        if record.step.kind == "preview" and outcome.verdict is Verdict.PASS:
            data["binding"] = self._binding(run, record.phase, data["evidence"])
        self._write(run, "done", data)
        self._say(f"{record.id}: {outcome.verdict} after {seconds:.1f} s; {outcome.reason}")
        text = f"{record.id}: {outcome.reason}"
        if outcome.verdict is Verdict.INCONCLUSIVE:
            return Result(Code.INCONCLUSIVE, text)
        if outcome.verdict is not Verdict.PASS and record.step.kind in UNTOUCHING:
            return Result(Code.FAILED, f"{text}; the stack is untouched, advance tries again")
        return None

    def _await_approval(self, run: Run, record: StepRecord) -> Result | None:
        current = self._binding(run, record.phase)
        if moved := binding.moved(binding.shown(run, record.phase), current):
            self._write(run, "voided", {"step": binding.preview_of(run, record.phase).id, "reason": moved})
            self._say(f"{record.id}: since the preview was shown {moved}; it is shown anew")
            return None
        if record.begun is None:
            self._write(run, "begun", {"step": record.id, "binding": current})
            self._write(run, "waiting", {"step": record.id, "phase": record.phase})
        elif approval := run.approval_of(record):
            data = {"step": record.id, "verdict": Verdict.PASS, "reason": f"by {approval.data['name']}", "evidence": []}
            self._write(run, "done", data)
            return None
        return Result(Code.WAITING, f"{record.id}: look at `rollout status`, then rollout approve --name --reason")

    def _may_open(self, run: Run, record: StepRecord) -> Result | None:
        """Production opens only for a release whose rollback was rehearsed lately."""
        if record.phase != "prod" or record.begun or not run.plan.rehearses:
            return None
        rehearsals = [each for each in run.steps.values() if each.step.kind == "rehearsal" and each.done]
        newest = max((each.done.at for each in rehearsals if each.done), default=None)
        age = (self._now() - newest).total_seconds() if newest else None
        if age is not None and -60 <= age <= run.plan.rehearsal_max_age:
            return None
        own = next((each for each in run.of_phase("prod") if each.step.kind == "rehearsal"), None)
        text = f"the rollback's last rehearsal is {show(age)} old" if age is not None else "no rehearsal was done"
        if own is not None and own.verdict is Verdict.PASS:
            self._write(run, "voided", {"step": own.id, "reason": text})
            return Result(Code.INCONCLUSIVE, f"{record.id}: {text}; advance rehearses again")
        return Result(Code.INCONCLUSIVE, f"{record.id}: {text}, allowed is {show(run.plan.rehearsal_max_age)}")

    def _not_as_shown(self, run: Run, record: StepRecord) -> Result | None:
        """Right before anything changes: what there is must be what was previewed and approved."""
        phase, current = record.phase, self._binding(run, record.phase)
        moved = binding.moved(binding.shown(run, phase), current, but=binding.OWN if record.begun else ())
        if not moved:
            return None
        self._write(run, "voided", {"step": binding.preview_of(run, phase).id, "reason": moved})
        return Result(Code.INCONCLUSIVE, f"{record.id}: not deployed: since the preview {moved}; advance shows it anew")

    def _soak(self, run: Run, record: StepRecord) -> Result | None:
        soaking = Soaking(self.store, self._stacks(run), run, record)
        if record.begun is None:
            self._write(run, "begun", {"step": record.id, **soaking.begin()})
            return None
        observed = soaking.observe(self._now())
        self._write(run, "observed", {"step": record.id, **observed.to_json()})
        self._say(f"{record.id}: {observed.text}")
        if observed.outcome.verdict in (Verdict.FAIL, Verdict.ERROR) or (
            observed.complete and observed.outcome.verdict is Verdict.PASS
        ):
            evidence = {"step": record.id, **_told(observed.outcome), "evidence": []}
            self._write(run, "done", {**evidence, "seconds": observed.credit.credited_s})
            return None
        if observed.silent or observed.complete:
            return Result(Code.INCONCLUSIVE, f"{record.id}: {observed.text}")
        return Result(Code.SOAKING, f"{record.id}: {observed.text}")

    def _phase_to_close(self, run: Run) -> PhaseName | None:
        for phase in run.plan.phases:
            if phase not in run.phases_done and all(each.verdict is Verdict.PASS for each in run.of_phase(phase)):
                return phase
        return None

    def _close(self, run: Run, phase: PhaseName) -> Result | None:
        lost = self.lost_evidence(run, phase)
        if lost:
            edited = any(each.edited for each in lost)
            reason = f"{phase} is not proven: {'; '.join(map(str, lost))}"
            return Result(Code.FAILED if edited else Code.INCONCLUSIVE, reason)
        self._write(run, "phase-done", {"phase": phase})
        self._say(f"phase {phase} is proven")
        return None

    def _fail(self, run: Run, failed: StepRecord) -> Result | None:
        reason = f"{failed.id}: {failed.done.data['reason'] if failed.done else ''}"
        if failed.phase == "staging":
            self._write(run, "ended", {"end": "failed", "reason": reason})
        else:
            self._say(f"{reason}: rolling back")
            self._write(run, "rollback-ordered", {"reason": reason})
        return None

    def _roll_back(self, run: Run, ordered: datetime) -> Result | None:
        started, bad = time.monotonic(), []
        for action, perform in self._actions(run).items():
            if action in run.actions_done:
                continue
            self._write(run, "rollback-begun", {"action": action})
            self._say(f"rollback/{action} ...")
            begun = time.monotonic()
            try:
                outcome = perform()
            except ToolError as error:  # the other actions still help
                outcome = Outcome(Verdict.ERROR, str(error))
            seconds = round(time.monotonic() - begun, 3)
            data = {"action": action, "seconds": seconds, **_told(outcome), "evidence": self._keep(outcome)}
            self._write(run, "rollback-done", data)
            self._say(f"rollback/{action}: {outcome.verdict} after {seconds:.1f} s; {outcome.reason}")
            if outcome.verdict is not Verdict.PASS:
                bad.append(f"{action}: {outcome.reason}")
        if bad:
            return Result(Code.FAILED, f"the rollback is not complete, advance tries again: {'; '.join(bad)}")
        self._tell_serving(run, ordered)
        took = round(time.monotonic() - started, 3)
        self._write(run, "ended", {"end": "rolled-back", "reason": run.rollback_reason, "seconds": took})
        return None

    def _tell_serving(self, run: Run, ordered: datetime) -> None:
        """How production served since the order, by its prober. A rollback is complete without it."""
        # Those of just before it, too: a write may have begun then and ended afterwards.
        since, prod = ordered - timedelta(minutes=1), run.plan.phases["prod"]
        try:
            found = list(takewhile(lambda each: each.wall >= since, self._stacks(run).newest(prod.samples)))
            if problem := foreign_sample(found, prod.stack):
                raise RolloutError(problem)
        except RolloutError as error:
            serving, files, text = None, {}, f"not measured: {error}"
        else:
            samples = found[::-1]
            serving, files = serving_since(ordered, samples), jsonl("serving", samples)
            text = str(serving) if serving else "not measured: its prober has no sample since the order"
        figures, evidence = serving.figures if serving else {}, keep(self.store, files)
        self._write(run, "served", {"action": "served", "reason": text, "figures": figures, "evidence": evidence})
        self._say(f"production: {text}")

    def _actions(self, run: Run) -> dict[str, Callable[[], Outcome]]:
        """What has to be taken back, the fastest relief first."""
        plan = run.plan
        canary, prod = plan.phases["canary"].stack, plan.phases["prod"].stack
        actions: dict[str, Callable[[], Outcome]] = {}
        if run.begun("canary", "share"):
            actions["share-0"] = lambda: self._stacks(run).share(canary, prod, 0)
        if run.begun("prod", "up"):
            proven = self.history.proven_before(run)
            if proven:
                actions[f"restore-{proven}"] = lambda: self._releases.stacks(proven).restore(
                    prod, plan.rollback.contract
                )
            if plan.rollback.contract == "standalone":
                consumers, watch = plan.phases["prod"].consumers, plan.rollback.watch
                actions["standalone"] = lambda: self._releases.stacks(proven or run.release).standalone(
                    prod, consumers, watch
                )
        return actions

    def _tidy(self) -> None:
        """After a rollout's end: what neither its release needs nor the one to go back to."""
        run = self.current()
        kept = {run.release, self.history.proven_before(run) or run.release}
        for line in self._releases.prune(kept):
            self._say(line)

    def _binding(self, run: Run, phase: PhaseName, preview: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """What an `up` of the phase would rest on, as it is now."""
        stack = run.plan.phases[phase].stack
        state: StackState = self._stacks(run).state(stack)
        return {
            **self._releases.bound(run.release, stack),
            "plan": run.plan.hash,
            "preview": self._previewed(run, phase) if preview is None else self._digest_of(preview),
            "state": state.state,
            "epoch": state.epoch,
        }

    def _previewed(self, run: Run, phase: PhaseName) -> str:
        done = binding.preview_of(run, phase).done
        return self._digest_of(done.data["evidence"]) if done else ""

    def _digest_of(self, pieces: list[dict[str, Any]]) -> str:
        """Of evidence as it lies there now; '' when some of it is gone or edited."""
        try:
            return digest(canonical([digest(fetch(self.store, Piece.model_validate(piece))) for piece in pieces]))
        except EvidenceLost:
            return ""

    def _stack(self, run: Run, record: StepRecord) -> str:
        return run.plan.phases[record.phase].stack

    def _keep(self, outcome: Outcome) -> list[dict[str, Any]]:
        return keep(self.store, outcome.files)

    def _write(self, run: Run, kind: str, data: Mapping[str, Any]) -> Entry:
        return self.journal.append(run.id, kind, data)

    def _tell(self) -> None:
        """At least once, in order; what could not be sent is on record and not tried again."""
        if self._notify is None:
            return
        run, upto = self.current(), self.history.notified_upto
        for entry in [each for each in self.journal.entries if each.number > upto]:
            text = text_of(run.plan.project, entry)
            if text is None:
                continue
            try:
                self._notify(text)
            except NotSent as error:
                self._write(run, "notify-failed", {"upto": entry.number, "reason": str(error)})
            else:
                self._write(run, "notified", {"upto": entry.number})


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "verdict": str(outcome.verdict),
        "reason": outcome.reason,
        "command": outcome.command,
        "figures": dict(outcome.figures),
    }


def _rehearsed(outcome: Outcome, within: float) -> Outcome:
    """A rehearsal passes only with its two figures, and within its bounds."""
    if outcome.verdict is not Verdict.PASS:
        return outcome
    seconds, lost = outcome.figures.get("rollback_s"), outcome.figures.get("lost_acks")
    if seconds is None or lost is None:
        verdict, reason = Verdict.INCONCLUSIVE, "the rehearsal measured no rollback_s or no lost_acks"
    elif seconds > within or lost > 0:
        verdict, reason = Verdict.FAIL, f"rolled back in {seconds:g} s (allowed {show(within)}), {lost:g} acks lost"
    else:
        return outcome
    return Outcome(verdict, reason, outcome.command, outcome.figures, outcome.files)
