"""Evidence that names another stack or release is refused when a step would record it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout.engine import Code, Engine
from rollout.evidence import EvidenceError, RawFile
from rollout.faults import Faults
from rollout.plan import read
from rollout.provenance import foreign, foreign_sample, foreign_tests
from rollout.report.bound import samples_are_bound
from rollout.report.inputs import Input
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.evidence import Evidence
from smoke_tests.evidence import junit as smoke_junit
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import UNATTENDED, FolderStacks, drill, sample
from tests.rollout.report_sample import junit

pytestmark = pytest.mark.usefixtures("no_power_cut")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF_SCRATCH = Evidence.model_validate_json(drill(stack="scratch"))
FILES = {
    "evidence.json": drill(stack="scratch"),
    "faults.json": Faults(stack="scratch", target="docker", shown=()).model_dump_json().encode(),
    "evidence.xml": smoke_junit(OF_SCRATCH).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_names_another_stack_is_foreign(name: str) -> None:
    assert foreign({name: FILES[name]}, "canary", "r1") == f"{name} is of stack scratch, not of canary"
    assert not foreign({name: FILES[name]}, "scratch", "r1")


def test_a_junit_file_of_another_release_is_foreign() -> None:
    xml = {"unit.xml": junit(2, release="r0", ran=NOW).encode()}
    assert foreign(xml, "canary", "r1") == "unit.xml has tests of r0, wanted r1"
    assert foreign_tests("unit.xml", xml["unit.xml"], "r1") == "unit.xml has tests of r0, wanted r1"
    assert not foreign(xml, "canary", "r0")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b'{"stack": 1}', b'["stack"]', b"<a"])
def test_what_names_nothing_is_left_to_who_reads_it(content: bytes) -> None:
    assert not foreign({"a.json": content, "a.xml": content, "a.txt": drill(stack="scratch")}, "canary", "r1")


def test_a_sample_names_its_stack_when_its_prober_knew_it() -> None:
    ours = [sample(1), sample(2, stack="canary")]
    assert not foreign_sample(ours, "canary")
    assert foreign_sample([*ours, sample(3, stack="prod")], "canary") == "sample 3 is of stack prod, not of canary"


def test_a_report_refuses_such_samples_too() -> None:
    given = Input(
        kind="soak",
        phase="canary",
        raw=RawFile(path="a/samples.jsonl", sha256=""),
        when=NOW,
        command="",
        stack="canary",
        since=NOW,
        until=NOW,
    )
    samples_are_bound(given, [sample(2, stack="canary")])
    with pytest.raises(EvidenceError, match=r"^a/samples\.jsonl: sample 3 is of stack prod, not of canary$"):
        samples_are_bound(given, [sample(3, stack="prod")])


class Bench:
    def __init__(self, folder: Path) -> None:
        self.stacks = FolderStacks(folder / "stacks")
        self.engine = Engine(FolderStore(folder / "journal"), self.stacks, lambda _line: None)
        self.engine.start(read(UNATTENDED), "r1")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("step", ["preflight staging", "smoke staging"])
@pytest.mark.parametrize("name", FILES)
def test_a_step_that_would_record_it_fails_and_says_so(bench: Bench, step: str, name: str) -> None:
    bench.stacks.answers[step] = Outcome(Verdict.PASS, "fine", figures={"a": 1.0}, files={name: FILES[name]})
    result = bench.engine.advance()
    assert result.code is Code.FAILED
    assert f"{name} is of stack scratch, not of staging" in result.reason
    done = next(each for each in reversed(bench.engine.journal.entries) if each.kind == "done")
    assert (done.data["verdict"], done.data["evidence"], done.data["figures"]) == ("fail", [], {})


def test_a_failover_of_another_stack_rolls_back(bench: Bench) -> None:
    bench.stacks.drill = drill(stack="prod")
    assert bench.engine.advance().code is Code.FAILED
    assert bench.engine.current().end == "rolled-back"
    assert "drill.json is of stack prod, not of canary" in bench.engine.current().end_reason


@pytest.mark.parametrize(("folder", "named"), [("canary", "prod"), ("prod", "canary")])
def test_a_soak_on_another_stacks_samples_fails(bench: Bench, folder: str, named: str) -> None:
    """Its own, and production's that it is held against."""
    bench.stacks.feeds[folder] = [sample(0)]
    bench.engine.advance()
    bench.stacks.feeds[folder] = [sample(number, stack=named) for number in range(2200)]
    bench.engine.advance()
    reason = bench.engine.current().end_reason
    assert f"sample 1 is of stack {named}, not of {folder}" in reason, reason
    assert json.loads(bench.engine.journal.entries[-1].plain)["data"]["end"] == "rolled-back"
