"""What a rehearsal plays, act by act, and what it saw."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from client.contract_file import read_operator_contract
from client.crosscheck import observe
from client.ledger import Ledger
from client.links import open_as
from infra.contract import Contract, OperatorContract
from rehearsal import clients
from rehearsal.application import Visits, beside, redis_of, visited
from rehearsal.clients import crowd_of
from rehearsal.place import APPROVER, PHASES, STARTER, Place, RehearsalError
from rehearsal.stage import Stage
from rehearsal.troubles import FEW, Going, Trouble
from rollout.entries import Entry
from rollout.history import Run, replay
from rollout.journal import Journal
from rollout.store import open_store
from tools.stacks import Stack

ADVANCE_S = 1500.0
# The new release: one line of what every data node gets.
SOURCE, BEFORE, AFTER = "infra/node_config.py", '"tcp-keepalive 60"', '"tcp-keepalive 61"'
ACTIONS = ("share-0", "restore", "standalone")
# For rehearsal.where: the stacks' names, and the crowd.
TOLD = "rehearsal.json"


@dataclass
class Seen:
    """The rows of the summary: what, measured, wanted, whether it holds."""

    rows: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def note(self, what: str, measured: object, wanted: str, holds: bool) -> None:
        self.rows.append((what, str(measured), wanted, holds))

    @property
    def holds(self) -> bool:
        return bool(self.rows) and all(each[3] for each in self.rows)


class Story:
    """One rehearsal in its place."""

    def __init__(
        self,
        place: Place,
        stage: Stage,
        say: Callable[[str], None],
        troubles: Mapping[str, tuple[Trouble, ...]] = FEW,
    ) -> None:
        self.place = place
        self.stage = stage
        self.say = say
        self.troubles = troubles
        self.seen = Seen()
        self._probing: dict[str, str] = {}
        self._head = ""
        self._writing = ExitStack()
        self._at_canary: Ledger | None = None
        self._applications = stage.applications(place)
        self._started = time.monotonic()

    def play(self) -> Seen:
        """Everything. Raises RehearsalError when it cannot go on; what was seen until then is in `seen`."""
        self.act("production as it is today")
        with beside(self._applications):
            self._prepare()
            return self._play()

    def _play(self) -> Seen:
        with self._application() as visits, self._load() as crowd:
            old = self.place.release(self.stage.plan(self.place, consumers=self._consumers))
            self.act(f"rollout of {old[:12]}, from nothing to all clients")
            self._first(old)
            self._edit_program()
            for phase in ("canary", "prod"):
                # Without a gateway no client is at the canary, and there is nothing to take back.
                for trouble in self.troubles[phase] if self.stage.shares or phase == "prod" else ():
                    new = self._shortened(phase, trouble)
                    self.act(f"rollout of {new[:12]}: at {phase}, {trouble.what}")
                    self._trip(new, phase, trouble)
                    self._refused(new)
                    self._probe("prod", old)  # what is deployed there again
            self._restored()
            self.act("the load's books")
        if visits:
            # One process is away while it is restarted; of pods there are two.
            holds = not visits.unanswered or not self.stage.application
            self.seen.note("the application's visitors", visits, "0 unanswered by pods", holds)
        if self.stage.shares:
            lost = int(crowd["lost"])
            text = (
                f"{crowd['acknowledged']:.0f} acks, {crowd['unserved']:.0f} tries unserved, {crowd['moved']:.0f} moves"
            )
            self.seen.note("crowd at the gateway: lost acks", f"{lost} ({text})", "0", lost == 0)
            if "gateways_replaced" in crowd:
                replaced = int(crowd["gateways_replaced"])
                self.seen.note("production's gateways: pods replaced", replaced, "0", replaced == 0)
        return self.seen

    def act(self, text: str) -> None:
        self.say(f"[{time.monotonic() - self._started:6.1f} s] {text}")

    def _prepare(self) -> None:
        for phase in PHASES:
            self.place.configure(phase, self.stage.settings_of(phase, self.place))
            self.place.tool("secrets", "--stack", self.place.stack(phase))
        stacks = {phase: self.place.stack(phase) for phase in PHASES}
        told = {"stacks": stacks, "crowd": self.stage.crowd_at(self.place)}
        (self.place.folder / ".state" / TOLD).write_text(json.dumps(told))
        if self.stage.asks_canary:
            self.place.tool("up", "--stack", self.place.stack("canary"))
            canary = self._contract("canary")
            settings = self.stage.settings_of("prod", self.place)
            self.place.configure("prod", settings | {"canary": f"{canary.host}:{canary.port}"})
        began = time.monotonic()
        self.place.tool("up", "--stack", self.place.stack("prod"))
        self.say(f"prod is up after {time.monotonic() - began:.1f} s")
        contract = self._contract("prod")
        if self.stage.shares:
            self.place.secret("canary", "redis-sentinel:appPasswordShared", contract.password.get_secret_value())
            clients.mark_side(contract, "prod")
        self._probe("prod", "before")

    @contextmanager
    def _application(self) -> Iterator[Visits | None]:
        """Production's, and somebody who visits it all the time."""
        application = self._applications.get("prod")
        if application is None:
            yield None
            return
        application.start()
        with visited(str(application.consumer["health"])) as visits:
            self._in_mode("sentinel")
            yield visits

    def _in_mode(self, wanted: str) -> None:
        health = str(self._applications["prod"].consumer["health"])
        try:
            mode = str(redis_of(health)["mode"])
        except (OSError, ValueError) as error:
            mode = f"no answer: {error}"
        self.seen.note(f"production's application, {health}", mode, wanted, mode == wanted)

    @contextmanager
    def _load(self) -> Iterator[dict[str, float]]:
        contract = self._contract("prod")
        crowd = crowd_of(self.stage.crowd_at(self.place)) if self.stage.shares else None
        address = crowd.gateway(contract) if crowd else contract.application()
        with crowd.visiting(contract) if crowd else clients.nobody() as found:
            with ExitStack() as self._writing:
                ledger = self._write(address)
                ledger.wait_for_acks(50)
                yield found
            self._settle("ledger at prod's gateway" if self.stage.shares else "ledger at prod", ledger)
            if self._at_canary:
                self._settle("ledger at the canary", self._at_canary)

    def _write(self, contract: Contract) -> Ledger:
        return self._writing.enter_context(Ledger(contract, writers=2, interval_s=0.02))

    def _settle(self, what: str, ledger: Ledger) -> None:
        report = ledger.verify()
        self.say(f"{what}: {report}")
        text = f"{len(report.lost)} of {report.acknowledged}, longest gap {report.longest_gap_ms / 1000:.2f} s"
        self.seen.note(f"{what}: lost acks", text, "0", not report.lost)

    def _first(self, release: str) -> None:
        run = self._drive(release)
        self.seen.note("rollout to all clients", run.end, "done", run.end == "done")
        if run.end != "done":
            raise RehearsalError(f"the first rollout {run.end}: {run.end_reason}")
        for record in run.steps.values():
            figures = dict(record.done.data.get("figures", {})) if record.done else {}
            if record.step.percent and "canary.share-off, points" in figures:
                said = str(record.done.data["reason"]) if record.done else ""
                self.seen.note(f"clients on the canary, {record.step.label}", said, "+- 2 points", True)
            if record.step.kind == "rehearsal" and record.done:
                seconds, lost, gap = (figures.get(name) for name in ("rollback_s", "lost_acks", "gap_s"))
                measured = None not in (seconds, lost, gap)
                text = f"{seconds:g} s, {lost:g} lost acks, longest gap {gap:g} s" if measured else "not measured"
                self.seen.note("rollback rehearsed in staging", text, "< 300 s, 0", lost == 0)
        code, lines = self.place.rollout("report")
        self.say("\n".join(lines[-2:]))
        found = re.search(r"(\S+)/report\.html", " ".join(lines))
        verdict = lines[-1].partition(":")[0] if lines else "none"
        holds = (code, verdict) == (0, "pass") and found is not None
        self.seen.note("report's verdict", f"{verdict} (exit {code})", "pass (exit 0)", holds)
        if found:
            self._verify(f"{found[1]}/report.json")
            self._lines(json.loads(self._read(f"{found[1]}/report.json")))

    def _verify(self, report: str) -> None:
        """As a stranger would, who has the public key and a head that was told."""
        key = self.place.folder / ".state" / "starter.pub.pem"
        key.write_text(self.place.public_key(STARTER))
        code, lines = self.place.rollout("verify", report, "--head", self._head, "--key", str(key))
        said = lines[-1] if lines else ""
        self.seen.note("rollout verify, signatures by the public key", said, "exit 0", code == 0)

    def _lines(self, report: dict[str, Any]) -> None:
        claims = report["claims"]
        shown = [each["id"] for each in claims if each.get("measured")]
        missing = [each["id"] for each in claims if not each.get("measured")]
        self.say(f"report: {'; '.join(report['reasons']) or 'nothing stands against a pass'}")
        failed = [f"{each['id']} ({each['reason']})" for each in claims if each.get("verdict") in ("fail", "error")]
        self.say(f"report: {len(shown)} lines measured; not measured: {', '.join(missing) or 'none'}")
        if failed:
            self.say(f"report: failed: {', '.join(failed)}")

    def _read(self, file: str) -> str:
        return (self.place.folder / file).read_text()

    def _edit_program(self) -> None:
        """Of which the next release is made."""
        file = self.place.folder / SOURCE
        text = file.read_text()
        if BEFORE not in text:
            raise RehearsalError(f"{SOURCE} has no {BEFORE} to change")
        file.write_text(text.replace(BEFORE, AFTER))

    def _shortened(self, phase: str, trouble: Trouble) -> str:
        """The new release, with a plan that leaves out what was shown."""
        plan = self.stage.plan(self.place, phase, drill=trouble.before_drill, consumers=self._consumers)
        return self.place.release(plan)

    def _trip(self, release: str, phase: str, trouble: Trouble) -> None:
        """A rollout that a trigger ends in this phase."""
        going: list[Going] = []

        def begin() -> Going:
            contract = self._contract(phase)
            config = self.place.folder / f"Pulumi.{contract.stack}.yaml"
            going.append(Going(trouble, contract, Stack(contract.stack, self.place.folder / ".state", config)))
            return going[0]

        run = self._drive(release, phase, begin)
        self.say(f"{run.end}: {run.end_reason}")
        # Elsewhere, or by another trigger, it would not be ours: a busy machine's.
        ours = run.end_reason.startswith(f"{phase}/") and any(each in run.end_reason for each in trouble.by)
        holds = run.end == "rolled-back" and ours
        what = f"{phase}: {trouble.what}"
        self.seen.note(what, f"{run.end}: {run.end_reason[:150]}", "rolled back by itself", holds)
        if holds and going:
            actions = {each: float(entry.data["seconds"]) for each, entry in run.actions_done.items()}
            text = ", ".join(
                f"{each.partition('-')[0] if 'restore' in each else each} {s:.1f} s" for each, s in actions.items()
            )
            ordered = self._entry(run, "rollback-ordered").at.timestamp()
            took = max(entry.at.timestamp() for entry in run.actions_done.values()) - ordered
            text = f"{took:.1f} s ({text}); noticed {ordered - going[0].began:.1f} s after it began"
            self.seen.note("its rollback, from the order on", text, "< 300 s", took < 300)
            served = self._entry(run, "served").data
            longest = served["figures"].get("rollback.longest-gap, s")
            what = "production meanwhile, by its prober"
            self.seen.note(what, served["reason"], "< 10 s without a write", longest is not None and longest < 10)

    @property
    def _consumers(self) -> dict[str, dict[str, Any]]:
        return {phase: application.consumer for phase, application in self._applications.items()}

    def _entry(self, run: Run, kind: str) -> Entry:
        """The run's latest of this kind."""
        return next(each for each in reversed(self._journal().entries) if (each.run, each.kind) == (run.id, kind))

    def _refused(self, release: str) -> None:
        code, lines = self.place.rollout("start", "--release", release)
        refused = code != 0 and any("refused" in line for line in lines)
        self.seen.note("the failed release, started again", " ".join(lines)[:110], "refused", refused)
        code, _ = self.place.rollout("release", release, "--reason", "the trouble was ours")
        self.seen.note("released by name", f"exit {code}", "exit 0", code == 0)

    def _restored(self) -> None:
        """What production is after its rollback: the earlier release's line, the standalone contract, no share."""
        contract = self._contract("prod")
        with closing(open_as(contract, "operator", observe(contract).masters[0].endpoint, 2.0)) as link:
            now = link.config_get("tcp-keepalive")["tcp-keepalive"]
        self.seen.note("prod's tcp-keepalive after the restore", now, "60, as before", now == "60")
        if self.stage.shares:
            told = self.place.tool("env", "--stack", self.place.stack("prod"))
            alone = "REDIS_SENTINEL_ENABLED=false" in told
            self.seen.note("applications' contract", "standalone" if alone else "sentinel", "standalone", alone)
            self._in_mode("standalone")
            seen = crowd_of(self.stage.crowd_at(self.place)).where()
            self.seen.note("clients left on the canary", f"{seen['canary']:.0f}", "0", seen["canary"] == 0)

    def _drive(self, release: str, phase: str = "", begin: Callable[[], Going] | None = None) -> Run:
        """`rollout start`, then `advance` and `approve` until the end. `begin`: once, when the phase soaks."""
        code, lines = self.place.rollout("start", "--release", release)
        self.say("\n".join(lines))
        if code != 0:
            raise RehearsalError(f"rollout start: {' '.join(lines)}")
        going: Going | None = None

        def told(line: str) -> None:
            self.act(f"  {line[:300]}")
            if going and "rolling back" in line:
                going.stop()  # a rollback is no repair: what it goes back to must be sound

        end = time.monotonic() + ADVANCE_S
        try:
            while time.monotonic() < end:
                code, lines = self.place.rollout("advance", say=told)
                self._head = _head(lines)
                run = self._run()
                if run.end:
                    return run
                step = run.next_step
                if code == 20:
                    self._approve()
                elif code in (10, 40) and step and step.step.seconds is not None:
                    if self._probing.get(step.phase) != release:
                        self._probe(step.phase, release)
                    if begin and not going and step.phase == phase:
                        going = begin()
                else:
                    raise RehearsalError(f"rollout advance ended with {code}: {' '.join(lines[-3:])[-600:]}")
            raise RehearsalError(f"the rollout had not ended after {ADVANCE_S:g} s")
        finally:
            if going:
                going.end()

    def _approve(self) -> None:
        told = ("--name", APPROVER, "--reason", "the preview was recorded")
        code, lines = self.place.rollout("approve", *told, actor=APPROVER)
        if code != 0:
            raise RehearsalError(f"rollout approve: {' '.join(lines)}")

    def _probe(self, phase: str, release: str) -> None:
        # Under a load like production's: the two are compared.
        if phase == "canary" and not self._at_canary:
            self._at_canary = self._write(self._contract("canary").application())
        self.place.probe(phase, release)
        self._probing[phase] = release

    def _contract(self, phase: str) -> OperatorContract:
        return read_operator_contract(self.place.contract(phase))

    def _journal(self) -> Journal:
        return Journal(open_store(str(self.place.folder / ".state" / "rollout")))

    def _run(self) -> Run:
        run = replay(self._journal().entries).last
        if run is None:
            raise RehearsalError("the journal has no rollout")
        return run


def _head(lines: list[str]) -> str:
    """The journal's head, as `advance` tells it at its end."""
    found = re.search(r"journal: entry \d+, head ([0-9a-f]{64})", lines[-1] if lines else "")
    return found[1] if found else ""
