"""The command line: python -m rollout COMMAND. What CI calls on a schedule is `advance`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, NoReturn, get_args

import typer
from rich.console import Console
from rich.table import Table

from rollout import lock
from rollout.durations import show
from rollout.engine import Code, Engine, Result
from rollout.errors import RolloutError
from rollout.history import Run
from rollout.key_files import read_public, write_pair
from rollout.leaks import occurrences, passwords_of, search
from rollout.notify import VARIABLE, webhook
from rollout.people import actor
from rollout.plan import PHASES, PhaseName, Plan, Suite, read
from rollout.releases import Releases
from rollout.signing import VARIABLE as SIGNING_KEY
from rollout.signing import from_environment, unsigned
from rollout.store import open_store
from smoke_tests.verdict import Verdict
from tools.errors import ToolError
from tools.paths import ROOT, state_folder

if TYPE_CHECKING:
    from rollout.report.model import Report

_EPILOG = """exit codes of advance and rollback: 0 done; 10 soaking, call again later; 20 waiting for approval,
or paused; 30 gate failed, production is rolled back; 40 inconclusive, nothing is proven. 1: nothing was done, the
message says why; 3: another rollout command holds the lock."""

PlanFile = Annotated[Path, typer.Option("--plan", help="the phases", envvar="ROLLOUT_PLAN")]
Place = Annotated[str, typer.Option("--journal", help="folder or URL; default: the plan's", envvar="ROLLOUT_JOURNAL")]
Reason = Annotated[str, typer.Option(help="kept in the journal")]
PLAN_FILE = ROOT / "rollout.yaml"
SUITES = get_args(Suite)

ReleasesFactory = Callable[[Path, str], Releases]
"""Makes releases whose plan is this file of their commit, and which this branch has."""


class Session:
    """One command: the plan, the engine, and where lines go."""

    def __init__(self, plan_file: Path, place: str, releases: ReleasesFactory, signs: bool) -> None:
        """`signs`: whether the command may write to the journal. Raises PlanError, RolloutError."""
        self.console = Console(highlight=False)
        try:
            text = plan_file.read_text()
        except OSError as error:
            raise RolloutError(f"{plan_file} cannot be read: {error.strerror}\n  fix: name it with --plan") from None
        self.plan: Plan = read(text, plan_file.name)
        url = os.environ.get(VARIABLE)
        place = place or self.plan.journal
        place = place if "://" in place else str(ROOT / place)
        self.releases = releases(plan_file, self.plan.branch)
        notify = webhook(url) if url else None
        signing = from_environment()
        self.engine = Engine(open_store(place), self.releases, self.say, notify, signing=signing if signs else unsigned)

    def say(self, line: str) -> None:
        """One line, never cut."""
        self.console.print(line, soft_wrap=True, markup=False)

    def end(self, result: Result) -> None:
        """Say where it stopped, and end with its code."""
        style = {Code.DONE: "green", Code.FAILED: "bold red", Code.INCONCLUSIVE: "yellow"}.get(result.code, "cyan")
        word = result.code.name.lower()
        self.console.print(f"{word}: {result.reason}", soft_wrap=True, markup=False, style=style)
        self.say(f"journal: entry {len(self.engine.journal.entries)}, head {self.engine.journal.head}")
        raise typer.Exit(int(result.code))


def make_app(releases: ReleasesFactory) -> typer.Typer:
    """The command line over these releases and their stacks."""
    app = typer.Typer(
        help="The phased rollout: staging, canary, prod, on evidence only.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @contextmanager
    def session(plan: Path, journal: str, *, signs: bool = True) -> Iterator[Session]:
        with _messages():
            yield Session(plan, journal, releases, signs)

    @app.command("plan")
    def show_plan(plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Show the phases and the plan's hash; complain about every problem at once."""
        with session(plan, journal) as our:
            for phase, step_id, step in our.plan.steps():
                amount = f"  {show(step.seconds)}" if step.seconds is not None else ""
                our.say(f"{our.plan.phases[phase].stack:<12}{step_id}{amount}")
            our.say(f"plan {our.plan.hash}")

    @app.command()
    def key(
        name: Annotated[str, typer.Argument(help="whose: ci, or an approver's name")],
        out: Annotated[Path | None, typer.Option(help="folder; default: .state/keys")] = None,
    ) -> None:
        """Make a pair of keys: a private one to sign with, and the public one for rollout.yaml. Overwrites nothing."""
        with _messages():
            private, public = write_pair(name, out or state_folder() / "keys")
        told = f"# The private key: {SIGNING_KEY}={private}\n# For rollout.yaml, under `signing` or `approvals`:\n"
        listed = f"  keys:\n    {name}: |\n{indent(public.read_text(), ' ' * 6)}"
        Console(highlight=False).print(told + listed, end="", soft_wrap=True, markup=False)

    @app.command()
    def start(
        release: Annotated[str, typer.Option(help="a commit; default: the one that is checked out")] = "",
        plan: PlanFile = PLAN_FILE,
        journal: Place = "",
    ) -> None:
        """Begin a rollout of a release; touches nothing yet."""
        with session(plan, journal) as our:
            commit = our.releases.commit(release)
            run = our.engine.start(our.releases.plan(commit), commit, actor())
            our.say(f"rollout {run.id} of {run.release} begun; next: rollout advance")

    @app.command(epilog=_EPILOG)
    def advance(
        upto: Annotated[PhaseName, typer.Option(help="the last phase of which anything is done")] = PHASES[-1],
        plan: PlanFile = PLAN_FILE,
        journal: Place = "",
    ) -> None:
        """Do what can be done now, and stop."""
        with session(plan, journal) as our:
            our.end(our.engine.advance(upto))

    @app.command()
    def status(plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Whether the journal can be trusted, where the rollout stands, and who holds the lock."""
        with session(plan, journal, signs=False) as our:
            _show(our)

    @app.command()
    def pause(reason: Reason, plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Stop before the next step. Soaks go on earning."""
        with session(plan, journal) as our:
            our.engine.order("paused", {"reason": reason})
            our.say("paused; go on with: rollout resume")

    @app.command()
    def resume(plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Go on after a pause."""
        with session(plan, journal) as our:
            our.engine.order("resumed", {})
            our.say("goes on at the next rollout advance")

    @app.command()
    def abort(reason: Reason, plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Give up a rollout that has not touched production; later: rollback. To stop an advance: pause."""
        with session(plan, journal) as our:
            our.engine.abort(reason)
            our.say("aborted; the stacks are as they were")

    @app.command()
    def approve(
        name: Annotated[str, typer.Option(help="who approves")],
        reason: Reason,
        plan: PlanFile = PLAN_FILE,
        journal: Place = "",
    ) -> None:
        """Approve what was previewed: bound to commit, configuration, plan, preview, state and epoch."""
        with session(plan, journal) as our:
            entry = our.engine.approve(name, reason, actor())
            our.say(f"approved {entry.data['step']}; next: rollout advance")

    @app.command(epilog=_EPILOG)
    def rollback(reason: Reason, plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Take back what the latest rollout did to production."""
        with session(plan, journal) as our:
            result = our.engine.rollback(reason)
            # Asked for and done is a success, whatever led to it.
            done = our.engine.current().end == "rolled-back"
            our.end(Result(Code.DONE, result.reason) if done else result)

    @app.command()
    def release(name: str, reason: Reason, plan: PlanFile = PLAN_FILE, journal: Place = "") -> None:
        """Let a release that failed be rolled out again."""
        with session(plan, journal) as our:
            our.engine.release(name, reason)
            our.say(f"{name} may be rolled out again")

    @app.command()
    def report(
        manifest: Annotated[Path | None, typer.Argument(help="manifest.json beside its raw files")] = None,
        out: Annotated[Path | None, typer.Option(help="new folder; default: .state/reports/<rollout>-<entry>")] = None,
        junit: Annotated[list[str] | None, typer.Option(help="a test run's JUnit file, such as unit=unit.xml")] = None,
        plan: PlanFile = PLAN_FILE,
        journal: Place = "",
    ) -> None:
        """Write the release-gate report beside its raw files: report.html, report.md, report.json.

        Of the latest rollout's journal and evidence; or, with MANIFEST, of files that somebody else gathered.
        """
        if manifest is not None:
            _end_report(_written(manifest), manifest.parent)
        with session(plan, journal) as our:
            folder, made = _gathered(our, out, junit or [])
            _end_report(made, folder)

    @app.command()
    def verify(
        report: Annotated[Path, typer.Argument(help="report.json beside its raw files")],
        journal: Annotated[str, typer.Option(help="also: whether this journal has the report's SHA-256")] = "",
        head: Annotated[list[str] | None, typer.Option(help="the journal's head, as the webhook or CI told it")] = None,
        key: Annotated[list[Path] | None, typer.Option(help="a public key (PEM) that the journal is signed by")] = None,
        plan: PlanFile = PLAN_FILE,
    ) -> None:
        """Work the report out again from its raw files and its journal; fails for whatever cannot be."""
        from rollout.report.verify import verify as problems_of

        with _messages():
            keys = {str(file): read_public(file) for file in key or []}
        problems = problems_of(report, [] if journal else head or [], keys=keys)
        if journal and report.is_file():
            with session(plan, journal, signs=False) as our:
                problems += _named(our, report, head or [])
        for problem in problems:
            Console(highlight=False).print(f"FAIL {problem}", soft_wrap=True, markup=False)
        if problems:
            raise typer.Exit(int(Code.FAILED))
        told = "" if head else "; its journal's head was not compared: --head, as the webhook or CI told it"
        told += "" if key else "; nobody's signature was looked for: --key, the public key of whoever signs the journal"
        Console(highlight=False).print(f"the report is what its raw files say{told}", soft_wrap=True, markup=False)

    @app.command()
    def unlock(
        holder: Annotated[str, typer.Option(help="the ID that the refusal named")],
        plan: PlanFile = PLAN_FILE,
        journal: Place = "",
    ) -> None:
        """Remove the lock of a holder that is gone for good.

        Only after you have made sure that its machine or job is dead: if it lives, two rollouts would change the same
        stacks. Nothing is rolled back or repeated by this; the next advance goes on.
        """
        with session(plan, journal) as our:
            our.say(f"unlocked: {our.engine.unlock(holder)}")

    return app


@contextmanager
def _messages() -> Iterator[None]:
    """What ends a command is one message and an exit code."""
    try:
        yield
    except ToolError as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", soft_wrap=True, markup=False)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; rollout advance goes on where it was")
        raise typer.Exit(130) from None


def _named(our: Session, report: Path, heads: list[str]) -> list[str]:
    """Whether the journal has the report, and has had these heads."""
    from rollout.evidence import digest

    our.engine.trusted()
    entries = our.engine.journal.entries
    had = {entry.head for entry in entries}
    problems = [f"the journal never had the head {head}" for head in heads if head not in had]
    if digest(report.read_bytes()) not in {each.data.get("sha256") for each in entries if each.kind == "reported"}:
        problems.append(f"{report.name} is no report that the journal names")
    return problems


def _written(manifest: Path) -> Report:
    """The report of a manifest that lies ready. Ends the command when it cannot be read."""
    from pydantic import ValidationError

    from rollout.report.inputs import Manifest
    from rollout.report.write import write

    try:
        return write(Manifest.model_validate_json(manifest.read_bytes()), manifest.parent)
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        Console(stderr=True, highlight=False).print(f"error: {manifest}: {first}", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None


def _gathered(our: Session, out: Path | None, junit: list[str]) -> tuple[Path, Report]:
    """The latest rollout's report and its folder; its digest is in the journal afterwards."""
    from datetime import UTC, datetime

    from rollout.evidence import digest
    from rollout.report.gather import Gathering
    from rollout.report.signed import ATTESTATION
    from rollout.report.write import write

    tests = []
    for each in junit:
        name, equals, file = each.partition("=")
        if not equals or name not in SUITES:
            raise RolloutError(f"--junit {each}: expected SUITE=FILE\n  fix: one of {', '.join(SUITES)}")
        tests.append((name, Path(file)))
    engine = our.engine
    run = engine.reviewed(ended=True)
    for suite, tests_of in tests:
        _refuse_foreign(suite, tests_of, run)
    passwords = _search(our, run)
    head = engine.journal.entries[-1].number
    folder = out or state_folder() / "reports" / f"{run.id}-{head}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RolloutError(f"{folder} is not empty\n  fix: name another folder with --out, or remove it")
    made_at = max(datetime.now(UTC), engine.journal.entries[-1].at)
    manifest = Gathering(engine.store, engine.journal.entries, folder).gather(made_at, tests)
    made = write(manifest, folder)
    if any(occurrences(file.read_bytes(), passwords) for file in folder.glob("report.*")):
        raise RolloutError(
            f"the report in {folder} holds a password; it is in no journal\n  fix: remove it, and rotate"
        )
    sha256 = digest((folder / "report.json").read_bytes())
    reported = engine.journal.append(run.id, "reported", {"verdict": str(made.verdict), "sha256": sha256})
    if reported.is_signed:
        (folder / ATTESTATION).write_bytes(reported.content)
    return folder, made


def _refuse_foreign(name: str, file: Path, run: Run) -> None:
    """A test run that names another release. Raises RolloutError."""
    from rollout.provenance import foreign_tests

    try:
        problem = foreign_tests(file.name, file.read_bytes(), run.release)
    except OSError:
        return  # who gathers it says so
    if problem:
        raise RolloutError(
            f"{problem}; no report was written\n  fix: run the tests of {run.release}, --junit {name}=FILE"
        )


def _search(our: Session, run: Run) -> frozenset[str]:
    """Look for the stacks' passwords and write down what was found; the passwords."""
    from rollout.keeping import keep

    engine, stacks = our.engine, our.releases.stacks(run.release)
    passwords = passwords_of(stacks, run)
    outcome = search(engine.store, stacks, run, engine.journal.entries, passwords)
    if outcome.verdict is not Verdict.PASS:
        our.say(f"passwords: {outcome.verdict}: {outcome.reason}")
    data = {
        "action": "search",
        "reason": outcome.reason,
        "command": outcome.command,
        "figures": dict(outcome.figures),
        "evidence": keep(engine.store, outcome.files),
    }
    engine.journal.append(run.id, "searched", data)
    return passwords


def _end_report(made: Report, folder: Path) -> NoReturn:
    Console(highlight=False).print(f"{made.verdict}: {folder / 'report.html'}", soft_wrap=True, markup=False)
    codes = {"pass": Code.DONE, "inconclusive": Code.INCONCLUSIVE}
    raise typer.Exit(int(codes.get(str(made.verdict), Code.FAILED)))


def _show(our: Session) -> None:
    """First whether what follows can be believed; what cannot is shown all the same, and ends the command."""
    run = our.engine.current()
    problem = _distrust(our.engine)
    signing = run.plan.signing
    good = f"not signed: {signing.missing}" if signing.missing else f"the signatures hold, by {signing.signers}"
    our.say(f"journal: {str(problem).splitlines()[0] if problem else good}")
    _show_run(our, run)
    if problem:
        raise problem


def _distrust(engine: Engine) -> RolloutError | None:
    try:
        engine.reviewed(ended=True)
    except RolloutError as error:
        return error
    return None


def _show_run(our: Session, run: Run) -> None:
    state = run.end or (f"paused: {run.paused}" if run.paused else "under way")
    our.say(f"rollout {run.id} of {run.release}: {state}{'; ' + run.end_reason if run.end else ''}")
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "verdict", "reason"):
        table.add_column(heading, overflow="fold")
    for record in run.steps.values():
        entry = record.done or (record.observations[-1] if record.observations else None)
        word = record.verdict or ("begun" if record.begun else "")
        table.add_row(record.id, str(word), str(entry.data["reason"]) if entry else "")
    our.console.print(table)
    holder = lock.read(our.engine.store)
    our.say(f"lock: {holder or 'free'}; journal: {our.engine.store.address}, head {our.engine.journal.head}")
