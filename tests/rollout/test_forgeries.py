"""Forgeries of a journal and of a report, each as somebody would make it who can write there: each is refused.

The chain is made anew each time and the report's digests too, for whoever can write can reckon. Without a key nobody
can tell a whole journal that was written anew with care; the head that was told outside of it does (`--head`).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prober.samples import line_of
from rollout.cli import make_app
from rollout.engine import Engine
from rollout.entries import NO_PREDECESSOR, canonical
from rollout.evidence import digest, seal
from rollout.keeping import keep
from rollout.plan import read
from rollout.report import html
from rollout.report.inputs import Input, Manifest
from rollout.report.write import write
from rollout.store import FolderStore
from tests.rollout.fakes import PLAN, FolderStacks, drill, sample
from tests.rollout.report_sample import junit

pytestmark = pytest.mark.usefixtures("no_power_cut")

Entries = list[dict[str, Any]]


def chained(entries: Entries) -> Iterator[bytes]:
    """Each with its number and its predecessor's digest, as the journal writes it."""
    previous = NO_PREDECESSOR
    for number, entry in enumerate(entries, start=1):
        content = canonical(entry | {"number": number, "previous": previous}) + b"\n"
        previous = digest(content)
        yield content


class Desk:
    """A rollout's journal and its report, both to be forged."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = home / "journal"
        self.folder = home / "report"
        self.heads: list[str] = []

    @property
    def on(self) -> tuple[str, ...]:
        return "--plan", str(self.home / "plan.yaml"), "--journal", str(self.journal)

    def call(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(make_app(lambda *_: FolderStacks(self.home / "stacks", plan=PLAN)), arguments)
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, " ".join(done.output.split())

    def report(self, *more: str) -> tuple[int, str]:
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.call("report", "--out", str(self.folder), *more, *self.on)

    def verify(self) -> tuple[int, str]:
        told = [word for head in self.heads for word in ("--head", head)]
        return self.call("verify", str(self.folder / "report.json"), *told)

    # The journal

    def rewrite(self, change: Callable[[Entries], None]) -> None:
        """Change the entries and chain them anew."""
        files = sorted((self.journal / "journal").glob("*.json"))
        entries = [json.loads(file.read_bytes()) for file in files]
        change(entries)
        for file in files:
            file.unlink()
        for number, content in enumerate(chained(entries), start=1):
            (self.journal / "journal" / f"{number:06d}.json").write_bytes(content)

    def keep(self, name: str, content: bytes) -> list[dict[str, Any]]:
        return keep(FolderStore(self.journal), {name: content})

    # The report

    def rewritten(self, **changes: Any) -> None:
        """The report of another manifest, with digests and renderings that go with it."""
        manifest = Manifest.model_validate(json.loads((self.folder / "report.json").read_bytes())["manifest"])
        write(manifest.model_copy(update=changes), self.folder)

    @property
    def inputs(self) -> list[Input]:
        content = json.loads((self.folder / "report.json").read_bytes())
        return [Input.model_validate(each) for each in content["manifest"]["inputs"]]

    def resealed(self, path: str, content: bytes) -> None:
        (self.folder / path).write_bytes(content)
        raw = seal(self.folder, self.folder / path)
        inputs = [each.model_copy(update={"raw": raw}) if each.raw.path == path else each for each in self.inputs]
        self.rewritten(inputs=tuple(inputs))

    def sums(self) -> None:
        names = ("report.json", "report.md", "report.html")
        lines = [f"{digest((self.folder / name).read_bytes())}  {name}\n" for name in names]
        (self.folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "plots", lambda *_: {})


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rollout that ann started, bob approved, and that went all the way."""
    home = tmp_path_factory.mktemp("honest")
    (home / "plan.yaml").write_text(PLAN)
    stacks = FolderStacks(home / "stacks", plan=PLAN)
    engine = Engine(FolderStore(home / "journal"), stacks, lambda _line: None)
    engine.start(read(PLAN), "r1", "ann")
    for _ in ("canary", "prod"):
        engine.advance()
        engine.approve("bob", "preview read", "bob")
    engine.advance()
    assert engine.current().end == "done"
    return home


@pytest.fixture
def desk(honest: Path, tmp_path: Path) -> Desk:
    return Desk(Path(shutil.copytree(honest, tmp_path / "home")))


def test_what_was_not_forged_holds(desk: Desk) -> None:
    desk.heads = [digest(sorted((desk.journal / "journal").glob("*.json"))[-1].read_bytes())]
    assert desk.report()[0] == 40  # made-up stacks show little
    code, said = desk.verify()
    assert (code, said.startswith("the report is what its raw files say; nobody's signature")) == (0, True), said


# Forgeries of the journal: each changes it, and the report is made of what it has become.


def _done(entries: Entries, step: str, kind: str = "done") -> dict[str, Any]:
    return next(each for each in entries if each["kind"] == kind and each["data"].get("step", "").endswith(step))


def another_years_evidence(desk: Desk) -> None:
    old = desk.keep("drill.json", drill(began=datetime(2019, 1, 1, tzinfo=UTC)))
    desk.rewrite(lambda entries: _done(entries, "failover")["data"].update(evidence=old))


def another_stacks_evidence(desk: Desk) -> None:
    other = desk.keep("drill.json", drill(stack="scratch"))
    desk.rewrite(lambda entries: _done(entries, "failover")["data"].update(evidence=other))


def a_path_that_leads_out(desk: Desk) -> None:
    (desk.home / "outside.json").write_bytes(drill())
    piece = {
        "name": "drill.json",
        "path": "../outside.json",
        "sha256": digest((desk.home / "outside.json").read_bytes()),
    }
    desk.rewrite(lambda entries: _done(entries, "failover")["data"].update(evidence=[piece]))


def an_absolute_path(desk: Desk) -> None:
    outside = desk.home / "outside.json"
    outside.write_bytes(drill())
    piece = {"name": "drill.json", "path": str(outside), "sha256": digest(outside.read_bytes())}
    desk.rewrite(lambda entries: _done(entries, "failover")["data"].update(evidence=[piece]))


def evidence_behind_a_link(desk: Desk) -> None:
    (desk.home / "elsewhere").mkdir()
    for file in (desk.journal / "evidence").iterdir():
        moved = file.rename(desk.home / "elsewhere" / file.name)
        file.symlink_to(moved)


def _samples(desk: Desk, old: str, new: str) -> None:
    file = next((desk.journal / "evidence").glob("*-samples.jsonl"))
    piece = desk.keep("samples.jsonl", file.read_text().replace(old, new, 1).encode())

    def change(entries: Entries) -> None:
        for entry in entries:
            if any(file.name in each["path"] for each in entry["data"].get("evidence", ())):
                entry["data"]["evidence"] = [
                    piece[0] if file.name in each["path"] else each for each in entry["data"]["evidence"]
                ]

    desk.rewrite(change)


def lost_acks_below_zero(desk: Desk) -> None:
    _samples(desk, '"lost_acks":0', '"lost_acks":-100')


def an_endless_latency(desk: Desk) -> None:
    _samples(desk, '"latency_ms":1.0', '"latency_ms":Infinity')


def a_clock_of_no_number(desk: Desk) -> None:
    _samples(desk, '"monotonic_s":0.1', '"monotonic_s":NaN')


def every_time_in_2099(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        for entry in entries:
            entry["at"] = f"2099{entry['at'][4:]}"

    desk.rewrite(change)


def times_that_run_backwards(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        times = [each["at"] for each in entries][::-1]
        for entry, at in zip(entries, times, strict=True):
            entry["at"] = at

    desk.rewrite(change)


def a_script_wrote_every_step(desk: Desk) -> None:
    """No stack was touched, and nothing is left that would show it."""

    def change(entries: Entries) -> None:
        for entry in entries:
            if entry["kind"] in ("done", "observed"):
                entry["data"]["evidence"] = []

    desk.rewrite(change)


def credit_that_nobody_earned(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        looks = [each["data"]["credit"] for each in entries if each["kind"] == "observed"]
        looks[0]["credited_s"] += 1000

    desk.rewrite(change)


def a_soak_in_no_time(desk: Desk) -> None:
    """A quarter of an hour of samples, credited within a moment, and all of it adds up."""
    taken = [sample(1 + n, 1.0 + n, wall=datetime.now(UTC)) for n in range(900)]
    piece = desk.keep("samples.jsonl", b"".join(map(line_of, taken)))

    def change(entries: Entries) -> None:
        look = next(each for each in entries if each["kind"] == "observed")
        last = taken[-1]
        look["data"]["evidence"] = piece
        look["data"]["credit"] |= {"credited_s": 899.0, "samples": 900, "pauses": 0, "failed": 0, "resets": []}
        look["data"]["credit"]["last"] |= {"sequence": last.sequence, "monotonic_s": last.monotonic_s}

    desk.rewrite(change)


def a_look_counted_twice(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        number = next(n for n, each in enumerate(entries) if each["kind"] == "observed")
        again = json.loads(json.dumps(entries[number]))
        again["data"]["credit"]["credited_s"] *= 2
        entries.insert(number + 1, again)

    desk.rewrite(change)


def a_soak_without_a_look(desk: Desk) -> None:
    desk.rewrite(lambda entries: entries.remove(next(each for each in entries if each["kind"] == "observed")))


def steps_in_another_order(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        begun = entries.index(_done(entries, "up", "begun"))
        entries.insert(1, entries.pop(begun))

    desk.rewrite(change)


def a_step_left_out(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        entries[:] = [each for each in entries if not each["data"].get("step", "").endswith("smoke")]

    desk.rewrite(change)


def a_phase_left_out(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        gone = ("canary/",)
        entries[:] = [
            each
            for each in entries
            if not each["data"].get("step", "").startswith(gone) and each["data"].get("phase") != "canary"
        ]

    desk.rewrite(change)


def a_step_that_never_began(desk: Desk) -> None:
    desk.rewrite(lambda entries: entries.remove(_done(entries, "up", "begun")))


def a_plan_edited_afterwards(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        entries[0]["data"]["plan"]["sample_gap"] = 3600.0

    desk.rewrite(change)


def a_plan_edited_in_the_commit_too(desk: Desk) -> None:
    """So that a report is made of it."""
    a_plan_edited_afterwards(desk)
    file = desk.home / "stacks" / "trees" / "r1" / "rollout.yaml"
    file.write_text(PLAN.replace("sampleGap: 2s", "sampleGap: 1h"))


def a_step_of_a_week_in_a_moment(desk: Desk) -> None:
    desk.rewrite(lambda entries: _done(entries, "up")["data"].update(seconds=604800.0))


def an_approval_of_nobody(desk: Desk) -> None:
    desk.rewrite(lambda entries: _done(entries, "approval", "approved")["data"].update(name=" "))


def an_approval_without_a_reason(desk: Desk) -> None:
    desk.rewrite(lambda entries: _done(entries, "approval", "approved")["data"].update(reason=""))


def an_approval_by_the_starter(desk: Desk) -> None:
    desk.rewrite(lambda entries: _done(entries, "approval", "approved")["data"].update(name="Ann"))


def an_approval_of_something_else(desk: Desk) -> None:
    other = {"plan": "0" * 64, "state": "another", "epoch": 9}
    desk.rewrite(lambda entries: _done(entries, "approval", "approved")["data"].update(binding=other))


def _bound(entries: Entries, phase: str, **changes: str) -> None:
    for entry in entries:
        if entry["data"].get("step", "").startswith(phase) and "binding" in entry["data"]:
            entry["data"]["binding"] |= changes


def another_commit_in_every_binding(desk: Desk) -> None:
    desk.rewrite(lambda entries: _bound(entries, "prod/", commit="r9"))


def another_configuration_than_was_previewed(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        for entry in entries:
            if entry["data"].get("step", "").startswith("prod/03-approval") and "binding" in entry["data"]:
                entry["data"]["binding"]["configuration"] = "another"

    desk.rewrite(change)


def no_approval_at_all(desk: Desk) -> None:
    desk.rewrite(lambda entries: entries.remove(_done(entries, "approval", "approved")))


def a_second_rollout_in_the_middle(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        entries.insert(3, entries[0] | {"run": "another", "at": entries[3]["at"]})

    desk.rewrite(change)


def a_verdict_of_no_rollout(desk: Desk) -> None:
    desk.rewrite(lambda entries: _done(entries, "smoke")["data"].update(verdict="proven"))


def last_entries_deleted(desk: Desk) -> None:
    desk.heads = [digest(sorted((desk.journal / "journal").glob("*.json"))[-1].read_bytes())]
    for file in sorted((desk.journal / "journal").glob("*.json"))[-5:]:
        file.unlink()


def the_last_entry_cut(desk: Desk) -> None:
    file = sorted((desk.journal / "journal").glob("*.json"))[-1]
    file.write_bytes(file.read_bytes()[:-20])


def a_fail_turned_into_a_pass(desk: Desk) -> None:
    """With all that goes with it: nothing but the head tells."""
    desk.heads = [digest(sorted((desk.journal / "journal").glob("*.json"))[-1].read_bytes())]
    desk.rewrite(lambda entries: _done(entries, "smoke")["data"].update(reason="fine after all"))


JOURNAL: dict[Callable[[Desk], None], str] = {
    another_years_evidence: "is not of its step's time: 2019-01-01",
    another_stacks_evidence: "is of stack scratch, not of canary",
    a_path_that_leads_out: "is not where evidence of this name and digest is kept",
    an_absolute_path: "is not where evidence of this name and digest is kept",
    evidence_behind_a_link: "is or goes through a link",
    lost_acks_below_zero: "line 1 is no sample: lost_acks",
    an_endless_latency: "is no sample: latency_ms",
    a_clock_of_no_number: "line 1 is no sample: monotonic_s",
    every_time_in_2099: "this machine's clock says",
    times_that_run_backwards: "is of an earlier time than entry",
    a_script_wrote_every_step: "passed without a file that shows it",
    credit_that_nobody_earned: "its samples say otherwise",
    a_soak_in_no_time: "was credited 899 s in",
    a_look_counted_twice: "its samples say otherwise",
    a_soak_without_a_look: "passed with 0 of 30 s credited",
    steps_in_another_order: "of staging/03-up, when staging/01-preflight was next",
    a_step_left_out: "when staging/04-smoke was next",
    a_phase_left_out: "before phase canary was proven",
    a_step_that_never_began: "staging/03-up never began",
    a_plan_edited_afterwards: "is not that of commit r1; nothing was done",
    a_plan_edited_in_the_commit_too: "the plan is not what its hash says",
    a_step_of_a_week_in_a_moment: "took 604800 s of the",
    an_approval_of_nobody: "no name was given",
    an_approval_without_a_reason: "no reason was given",
    an_approval_by_the_starter: "who starts cannot approve",
    an_approval_of_something_else: "of something else than was shown",
    another_commit_in_every_binding: "of commit r9, in a rollout of r1",
    another_configuration_than_was_previewed: "the stack's configuration moved",
    no_approval_at_all: "nobody approved what was shown",
    a_second_rollout_in_the_middle: "was under way",
    a_verdict_of_no_rollout: "is none that a rollout writes",
    last_entries_deleted: "the journal never had the head",
    the_last_entry_cut: "it was cut",
    a_fail_turned_into_a_pass: "the journal never had the head",
}


@pytest.mark.parametrize("forge", JOURNAL, ids=lambda forge: forge.__name__)
def test_a_forged_journal_makes_no_report_that_holds(forge: Callable[[Desk], None], desk: Desk) -> None:
    forge(desk)
    code, said = desk.report()
    if (desk.folder / "report.json").exists():
        code, said = desk.verify()
        assert code == 30, said
    assert code != 0 and JOURNAL[forge] in said, said


# Forgeries of the report alone: its journal is as it was.


def an_edited_page(desk: Desk) -> None:
    page = desk.folder / "report.html"
    page.write_text(page.read_text().replace("inconclusive", "pass"))
    desk.sums()


def an_edited_text(desk: Desk) -> None:
    text = desk.folder / "report.md"
    text.write_text(text.read_text().replace("inconclusive", "pass"))
    desk.sums()


def an_edited_verdict(desk: Desk) -> None:
    file = desk.folder / "report.json"
    file.write_text(file.read_text().replace('"verdict": "inconclusive"', '"verdict": "pass"', 1))
    desk.sums()


def made_in_2099(desk: Desk) -> None:
    desk.rewritten(made=datetime(2099, 1, 1, tzinfo=UTC))


def made_before_it_happened(desk: Desk) -> None:
    desk.rewritten(made=datetime(2020, 1, 1, tzinfo=UTC))


def an_input_left_out(desk: Desk) -> None:
    desk.rewritten(inputs=tuple(each for each in desk.inputs if each.kind != "canary"))


def the_journal_left_out(desk: Desk) -> None:
    desk.rewritten(inputs=tuple(each for each in desk.inputs if each.kind != "journal"))


def the_baseline_called_canary(desk: Desk) -> None:
    inputs = [each.model_copy(update={"kind": "canary"}) if each.kind == "baseline" else each for each in desk.inputs]
    desk.rewritten(inputs=tuple(inputs))


def another_time_of_a_step(desk: Desk) -> None:
    early = datetime(2019, 1, 1, tzinfo=UTC)
    inputs = [each.model_copy(update={"since": early}) if each.kind == "smoke" else each for each in desk.inputs]
    desk.rewritten(inputs=tuple(inputs))


def an_input_added(desk: Desk) -> None:
    path = desk.folder / "more.jsonl"
    path.write_text('{"when":"2026-01-01T00:00:00Z","ok":true}\n')
    given = Input(kind="quorum", phase="all", raw=seal(desk.folder, path), when=datetime.now(UTC), command="c")
    desk.rewritten(inputs=(*desk.inputs, given))


def another_release(desk: Desk) -> None:
    desk.rewritten(release="r9")


def another_project(desk: Desk) -> None:
    desk.rewritten(project="bank")


def raw_evidence_written_anew(desk: Desk) -> None:
    given = next(each for each in desk.inputs if each.kind == "smoke")
    desk.resealed(given.raw.path, drill())


def a_figure_written_anew(desk: Desk) -> None:
    path = "journal/measurements.jsonl"
    content = (desk.folder / path).read_bytes()
    assert b"4.2" in content
    desk.resealed(path, content.replace(b"4.2", b"0.1"))


def an_approval_written_anew(desk: Desk) -> None:
    path = "journal/approvals.jsonl"
    desk.resealed(path, (desk.folder / path).read_bytes().replace(b'"bob"', b'"the board"'))


def _journal_in_it(desk: Desk, change: Callable[[Entries], None]) -> None:
    path = "journal/entries.jsonl"
    entries = [json.loads(line) for line in (desk.folder / path).read_bytes().splitlines()]
    change(entries)
    desk.resealed(path, b"".join(chained(entries)))


def its_journal_in_2099(desk: Desk) -> None:
    def change(entries: Entries) -> None:
        for entry in entries:
            entry["at"] = f"2099{entry['at'][4:]}"

    _journal_in_it(desk, change)


def its_journal_cut(desk: Desk) -> None:
    desk.heads = [digest(sorted((desk.journal / "journal").glob("*.json"))[-1].read_bytes())]
    _journal_in_it(desk, lambda entries: entries.__delitem__(slice(-3, None)))


def its_journal_of_another_chain(desk: Desk) -> None:
    path = "journal/entries.jsonl"
    desk.resealed(path, (desk.folder / path).read_bytes().replace(b'"bob"', b'"eve"', 1))


def evidence_by_a_link(desk: Desk) -> None:
    given = next(each for each in desk.inputs if each.kind == "smoke")
    file = desk.folder / given.raw.path
    file.symlink_to(file.rename(desk.home / "elsewhere.json"))


def a_folder_by_a_link(desk: Desk) -> None:
    (desk.folder / "staging").rename(desk.home / "elsewhere")
    (desk.folder / "staging").symlink_to(desk.home / "elsewhere")


def a_page_by_a_link(desk: Desk) -> None:
    file = desk.folder / "report.html"
    file.symlink_to(file.rename(desk.home / "elsewhere.html"))


def no_sums(desk: Desk) -> None:
    (desk.folder / "SHA256SUMS").unlink()


REPORT: dict[Callable[[Desk], None], str] = {
    an_edited_page: "report.html was changed",
    an_edited_text: "report.md was changed",
    an_edited_verdict: "the report says pass, its evidence says inconclusive",
    made_in_2099: "the report is of the future",
    made_before_it_happened: "before the journal's last entry",
    an_input_left_out: "was left out: the journal names it",
    the_journal_left_out: "the report brings no journal",
    the_baseline_called_canary: "was relabelled: kind canary, the journal says baseline",
    another_time_of_a_step: "was relabelled: since 2019-01-01",
    an_input_added: "more.jsonl was added: the journal does not name it",
    another_release: "the report is of release r9, its journal of r1",
    another_project: "the report is of project bank, its journal of tried",
    raw_evidence_written_anew: "was edited",
    a_figure_written_anew: "journal/measurements.jsonl is not what the journal says",
    an_approval_written_anew: "journal/approvals.jsonl is not what the journal says",
    its_journal_in_2099: "is of the future",
    its_journal_cut: "the journal never had the head",
    its_journal_of_another_chain: "does not follow from entry",
    evidence_by_a_link: "is or goes through a link",
    a_folder_by_a_link: "is or goes through a link",
    a_page_by_a_link: "is or goes through a link",
    no_sums: "SHA256SUMS cannot be read",
}


@pytest.mark.parametrize("forge", REPORT, ids=lambda forge: forge.__name__)
def test_a_forged_report_does_not_hold(forge: Callable[[Desk], None], desk: Desk) -> None:
    desk.report()
    forge(desk)
    code, said = desk.verify()
    assert (code, REPORT[forge] in said) == (30, True), said


def _both(*suites: str) -> str:
    return f"<testsuites>{''.join(suites)}</testsuites>"


OURS = junit(500, release="r1", ran=datetime.now(UTC))


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (junit(1, release="r1", ran=datetime.now(UTC)), "1 executed, 0 skipped, of at least"),
        (junit(1, release="r1", ran=datetime.now(UTC)).replace(" ", ' tests="500" ', 1), "1 executed, 0 skipped"),
        (junit(500, skipped=499, release="r1", ran=datetime.now(UTC)), "1 executed, 499 skipped, of at least"),
        (OURS.replace("></testcase>", "><error/></testcase>", 1), "500 executed, 0 skipped"),
        (
            _both(OURS, junit(500, release="r1", ran=datetime(2019, 1, 1, tzinfo=UTC))),
            "is not of its step's time: 2019",
        ),
        (OURS.replace("timestamp=", "when="), "does not say when its tests ran"),
        (junit(500, release="r1", ran=datetime(2019, 1, 1, tzinfo=UTC)), "is not of its step's time: 2019"),
        (junit(500, release="r1", ran=datetime(2099, 1, 1, tzinfo=UTC)), "is not of its step's time: 2099"),
        (junit(500, release="r1", ran=datetime(2026, 1, 1)), "has no time zone"),
        ("<testsuite><testcase name='a'/></testsuite>", "has tests of no release that it names"),
    ],
)
def test_tests_of_something_else_show_nothing(xml: str, said: str, desk: Desk) -> None:
    file = desk.home / "unit.xml"
    file.write_text(xml)
    assert desk.report("--junit", f"unit={file}")[0] in (30, 40)
    claims = json.loads((desk.folder / "report.json").read_bytes())["claims"]
    units = [each for each in claims if each["id"] in ("tests.unit", "evidence.junit.tests/unit.xml")]
    assert "pass" not in {each["verdict"] for each in units}
    assert said in " ".join(each["reason"] for each in units)


OTHERS = junit(500, release="r0", ran=datetime.now(UTC))


@pytest.mark.parametrize(
    ("xml", "named"),
    [(OTHERS, "r0"), (OURS.replace('"r1"', '"r1-dirty"'), "r1-dirty"), (_both(OURS, OTHERS), "r0")],
)
def test_tests_of_another_release_go_into_no_report(xml: str, named: str, desk: Desk) -> None:
    file = desk.home / "unit.xml"
    file.write_text(xml)
    code, said = desk.report("--junit", f"unit={file}")
    assert (code, f"unit.xml has tests of {named}, wanted r1" in said, "fix: " in said) == (1, True, True), said
    assert not desk.folder.exists()


NONSENSE: list[object] = [None, -1, 1e308, "", "x", [], [[]], {}, {"a": None}, True, "2099-01-01T00:00:00Z", "../x"]


def _spoiled(chance: random.Random, value: Any) -> Any:
    """With one thing in it gone or replaced, however deep."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        rest = {each: value[each] for each in value if each != key}
        return rest if chance.random() < 0.3 else rest | {key: _spoiled(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], _spoiled(chance, value[at]), *value[at + 1 :]]
    return chance.choice(NONSENSE)


@pytest.mark.parametrize("seed", range(25))
def test_no_nonsense_in_a_journal_ends_in_a_traceback(seed: int, desk: Desk) -> None:
    chance = random.Random(seed)  # noqa: S311

    def change(entries: Entries) -> None:
        for _ in range(3):
            entry = chance.choice(entries)
            entry["data"] = _spoiled(chance, entry["data"])
            entry["data"] = entry["data"] if isinstance(entry["data"], dict) else {}

    desk.rewrite(change)
    _, said = desk.report()  # `call` fails for whatever is raised
    if (desk.folder / "report.json").exists():
        desk.verify()
    assert "Traceback" not in said
