"""`rollout report` and `rollout verify` on a journal, as a user calls them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rollout.cli import make_app
from rollout.engine import Engine
from rollout.evidence import digest
from rollout.plan import read
from rollout.store import FolderStore
from tests.rollout.fakes import UNATTENDED, FolderStacks
from tests.rollout.report_sample import junit

pytestmark = pytest.mark.usefixtures("no_power_cut")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rollout that went all the way, in `journal`; the canary's secrets were replaced meanwhile."""
    home = tmp_path_factory.mktemp("rollout")
    (home / "plan.yaml").write_text(UNATTENDED)
    stacks = FolderStacks(home / "stacks")
    stacks.late = {"staging": 150}

    def rotate(line: str) -> None:
        if line.startswith("canary/02-preview: pass"):
            stacks.bindings["canary"] = {"secrets": "rotated"}

    engine = Engine(FolderStore(home / "journal"), stacks, rotate)
    engine.start(read(UNATTENDED), "r1")
    engine.advance()
    assert engine.current().end == "done"
    return home


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(make_app(lambda *_: FolderStacks(home / "stacks")), arguments)


def on(home: Path) -> tuple[str, ...]:
    return "--plan", str(home / "plan.yaml"), "--journal", str(home / "journal")


def test_the_report_of_the_journal_holds_and_is_named_there(home: Path, tmp_path: Path) -> None:
    done = call(home, "report", "--out", str(tmp_path / "report"), *on(home))
    path = tmp_path / "report" / "report.json"
    # Made-up stacks show little: no green without evidence.
    assert done.exit_code == 40 and "inconclusive" in done.output, done.output
    entries = Engine(FolderStore(home / "journal"), FolderStacks(home / "stacks"), print).journal.entries
    assert [each.data["sha256"] for each in entries if each.kind == "reported"][-1] == digest(path.read_bytes())
    claims = {each["id"]: each for each in json.loads(path.read_text())["claims"]}
    assert claims["rollback.seconds"]["measured"]["value"] == 4.2
    assert claims["rollback.gap"]["measured"]["value"] == 0.3
    assert {id: claims[id]["verdict"] for id in ("soak", "rollback.lost-acks", "trigger.quorum", "deploy.seconds")} == (
        dict.fromkeys(("soak", "rollback.lost-acks", "trigger.quorum", "deploy.seconds"), "pass")
    )
    assert claims["trigger.latency-median-write"]["verdict"] == "pass"
    assert claims["canary.share-off"]["reason"] == claims["tests.unit"]["reason"] == "not measured"
    assert json.loads(path.read_text())["facts"]["secrets replaced"] == "after canary/02-preview"
    assert call(home, "verify", str(path)).exit_code == 0
    assert call(home, "verify", str(path), *on(home)).exit_code == 0


def test_what_the_prober_named_after_the_earlier_release_is_no_evidence_and_no_mistake(
    home: Path, tmp_path: Path
) -> None:
    call(home, "report", "--out", str(tmp_path / "report"), *on(home))
    claims = json.loads((tmp_path / "report" / "report.json").read_text())["claims"]
    assert [each["reason"] for each in claims if each["id"].startswith("evidence.")] == []
    others = (tmp_path / "report").glob("staging/*/*/samples-of-others.jsonl")
    ours = (tmp_path / "report").glob("staging/*/*/samples.jsonl")
    assert {json.loads(line)["release"] for file in others for line in file.read_bytes().splitlines()} == {"r0"}
    assert {json.loads(line)["release"] for file in ours for line in file.read_bytes().splitlines()} == {"r1"}


def test_a_changed_raw_file_is_found(home: Path, tmp_path: Path) -> None:
    call(home, "report", "--out", str(tmp_path / "report"), *on(home))
    (file, *_) = (tmp_path / "report").glob("staging/*-soak/*/samples.jsonl")
    file.write_bytes(file.read_bytes().replace(b"true", b"True", 1))
    done = call(home, "verify", str(tmp_path / "report" / "report.json"))
    assert done.exit_code == 30 and "was changed" in done.output


def test_a_report_that_the_journal_does_not_name(home: Path, tmp_path: Path) -> None:
    call(home, "report", "--out", str(tmp_path / "report"), *on(home))
    other = tmp_path / "other"
    engine = Engine(FolderStore(other), FolderStacks(home / "stacks"), print)
    engine.start(read(UNATTENDED), "r1")
    path = tmp_path / "report" / "report.json"
    done = call(home, "verify", str(path), "--plan", str(home / "plan.yaml"), "--journal", str(other))
    assert done.exit_code == 30 and "no report that the journal names" in done.output


def test_lost_evidence_makes_no_report(home: Path, tmp_path: Path) -> None:
    evidence = home / "journal" / "evidence"
    victim = next(evidence.glob("*samples.jsonl"))
    kept = victim.rename(tmp_path / "kept")
    try:
        done = call(home, "report", "--out", str(tmp_path / "report"), *on(home))
        assert done.exit_code == 1 and not (tmp_path / "report" / "report.json").exists()
    finally:
        kept.rename(victim)


def test_tests_of_a_junit_file(home: Path, tmp_path: Path) -> None:
    xml = tmp_path / "unit.xml"
    xml.write_text(junit(200, release="r1", ran=datetime.now(UTC)))
    call(home, "report", "--out", str(tmp_path / "report"), "--junit", f"unit={xml}", *on(home))
    claims = {each["id"]: each for each in json.loads((tmp_path / "report" / "report.json").read_text())["claims"]}
    assert claims["tests.unit"]["verdict"] == "pass"
    refused = call(home, "report", "--out", str(tmp_path / "two"), "--junit", "unit", *on(home))
    assert refused.exit_code == 1
