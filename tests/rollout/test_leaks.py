"""Passwords where they must not be: found however they are spelled, counted, and told nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from rollout.engine import Engine
from rollout.errors import RolloutError
from rollout.leaks import FIGURE, occurrences, passwords_of, search
from rollout.plan import read
from rollout.report.required import required
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import PLAN, UNATTENDED, FolderStacks

pytestmark = pytest.mark.usefixtures("no_power_cut")

PASSWORD = 'p/"a\\ss w0rd+of-prod'


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        f"requirepass {PASSWORD}\n",
        json.dumps({"a": PASSWORD}),
        quote(PASSWORD, safe=""),
        repr([PASSWORD]),
        *(base64.b64encode(f"{'x' * n}{PASSWORD}{'y' * m}".encode()).decode() for n in range(3) for m in range(3)),
    ],
)
def test_it_is_found_however_it_is_spelled(text: str) -> None:
    assert occurrences(text.encode(), [PASSWORD])
    assert not occurrences(text.encode(), ["another password"])


class Leaking(FolderStacks):
    leak = b""

    def traces(self, stack: str) -> Iterator[tuple[str, bytes]]:
        yield "node.log", self.leak if stack == "prod" else b""


def looked(tmp_path: Path, stacks: FolderStacks) -> Outcome:
    engine = Engine(FolderStore(tmp_path / "journal"), stacks, lambda _line: None)
    engine.start(read(UNATTENDED), "r1")
    engine.advance()
    run = engine.current()
    return search(engine.store, stacks, run, engine.journal.entries, passwords_of(stacks, run))


def test_logs_evidence_and_journal_are_searched(tmp_path: Path) -> None:
    stacks = Leaking(tmp_path / "stacks")
    (password,) = stacks.passwords("canary")
    stacks.leak = f"AUTH {password} {password}".encode()  # a canary's password in production's log is no better
    stacks.answers["smoke staging"] = Outcome(Verdict.PASS, f"said {password}", files={"smoke.txt": password.encode()})
    outcome = looked(tmp_path, stacks)
    assert outcome.verdict is Verdict.FAIL and outcome.figures == {FIGURE: 4.0}
    told = json.loads(outcome.files["secrets.json"])["found"]
    assert sorted(place.partition(" ")[0] for place in told) == ["evidence", "journal", "prod:"]
    assert password not in outcome.reason and password.encode() not in outcome.files["secrets.json"]


def test_nothing_found_passes_and_nothing_to_look_for_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Leaking(tmp_path / "stacks")
    outcome = looked(tmp_path, stacks)
    assert (outcome.verdict, outcome.figures) == (Verdict.PASS, {FIGURE: 0.0})

    def away(_stack: str) -> frozenset[str]:
        raise RolloutError("stack prod has no contract")

    monkeypatch.setattr(stacks, "passwords", away)
    outcome = looked(tmp_path / "again", stacks)
    assert (outcome.verdict, outcome.figures) == (Verdict.INCONCLUSIVE, {})


def test_what_a_plan_cannot_bring_is_not_asked_for() -> None:
    every, bare = set(required(None)), set(required(read(UNATTENDED)))
    assert every - bare == {
        *(
            "tests.unit",
            "tests.integration",
            "tests.failover",
            "teeth",
            "faults.failed",
            "canary.share-off",
            "approval",
        ),
    }
    assert "approval" in required(read(PLAN))
    assert "tests.unit" in required(read(f"tests: [unit]\n{PLAN.strip()}"))
    kept = UNATTENDED.replace(", rehearsal", "").replace("contract: standalone", "contract: keep")
    assert not [id for id in required(read(kept)) if id.startswith("rollback.")]
