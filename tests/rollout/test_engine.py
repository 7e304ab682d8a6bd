"""The engine over made-up stacks: what it does, in which order, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prober.samples import Sample
from rollout import lock
from rollout.engine import Code, Engine
from rollout.errors import RolloutError
from rollout.keeping import Piece, fetch
from rollout.plan import Plan, read
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import PLAN, UNATTENDED, FolderStacks, sample, steady

pytestmark = pytest.mark.usefixtures("no_power_cut")


class Bench:
    """An engine over a folder, with a clock that the test moves."""

    def __init__(self, folder: Path, plan: str = UNATTENDED) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.said: list[str] = []
        self.sent: list[str] = []
        self.stacks = FolderStacks(folder / "stacks", plan=plan)
        self.plan: Plan = read(plan)
        self.store = FolderStore(folder / "journal")
        self.engine = Engine(self.store, self.stacks, self.said.append, self.sent.append, lambda: self.now)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def begun(bench: Bench, release: str = "r1") -> Bench:
    bench.engine.start(bench.plan, release)
    return bench


def test_a_whole_rollout(bench: Bench) -> None:
    assert begun(bench).engine.advance().code is Code.DONE
    words = ("up", "share", "failover")
    assert [action for action in bench.stacks.actions if action.replace("-", " ").split()[0] in words] == [
        "up staging",
        "up canary",
        "share-1 canary",
        "share-10 canary",
        "failover canary",
        "up prod",
        "share-0 canary",
    ]
    assert bench.engine.advance().code is Code.DONE  # again: nothing more
    assert bench.stacks.actions.count("up prod") == 1
    assert [text.split(") ")[1].split(" [")[0] for text in bench.sent if "phase" in text] == [
        f"phase {phase} is proven" for phase in ("staging", "canary", "prod")
    ]
    heads = {entry.head for entry in bench.engine.journal.entries}
    assert {text.rpartition("head ")[2].rstrip("]") for text in bench.sent} <= heads, "who is told can compare"


@pytest.mark.parametrize("step", ["smoke canary", "failover canary", "up canary", "share-10 canary"])
@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR])
def test_a_canary_that_fails_is_rolled_back_by_itself(bench: Bench, step: str, verdict: Verdict) -> None:
    bench.stacks.answers[step] = Outcome(verdict, "broken", files={"a": b"a"})
    result = begun(bench).engine.advance()
    assert result.code is Code.FAILED and bench.engine.current().end == "rolled-back"
    assert ("share-0 canary" in bench.stacks.actions) == any("share" in each for each in bench.stacks.actions)
    assert "up prod" not in bench.stacks.actions
    with pytest.raises(RolloutError, match=r"release r1 failed .* is refused"):
        bench.engine.start(bench.plan, "r1")
    bench.engine.release("r1", "the test's fault")
    bench.engine.start(bench.plan, "r1")


def test_prod_that_fails_goes_back_to_the_last_proven_release(bench: Bench) -> None:
    assert begun(bench, "r1").engine.advance().code is Code.DONE
    bench.stacks.release = "r2"
    bench.stacks.answers["smoke prod"] = Outcome(Verdict.FAIL, "broken", files={"a": b"a"})
    assert begun(bench, "r2").engine.advance().code is Code.FAILED
    assert bench.stacks.actions[-3:] == ["share-0 canary", "restore-r1 prod", "standalone-of-r1 prod"]
    assert (bench.stacks.deployed("canary"), bench.stacks.deployed("prod")) == ("r2", "r1")


def test_a_trigger_in_the_soak_rolls_back(bench: Bench) -> None:
    bench.stacks.feeds["canary"] = steady(1)
    assert begun(bench).engine.advance().code is Code.SOAKING
    bench.stacks.feeds["canary"] = [sample(n, ok=n % 100 != 0, epoch=2, master="m:1") for n in range(3000)]
    assert bench.engine.advance().code is Code.FAILED
    assert "trigger.error-rate" in bench.engine.current().end_reason
    assert bench.stacks.actions[-1] == "share-0 canary"


def test_a_rollback_says_how_production_served_meanwhile(bench: Bench) -> None:
    assert begun(bench).engine.advance().code is Code.DONE
    late = [bench.now + timedelta(seconds=at) for at in (-90, 0.5, 4)]
    bench.stacks.feeds["prod"] = [
        sample(900_001 + 2 * n, at=5000 + (wall - bench.now).total_seconds(), wall=wall, latency_ms=1.0)
        for n, wall in enumerate(late)
    ]
    bench.stacks.answers["share-0 canary"] = Outcome(Verdict.ERROR, "gateway away")
    assert bench.engine.rollback("late trouble").code is Code.FAILED
    del bench.stacks.answers["share-0 canary"]
    bench.now += timedelta(seconds=30)  # it counts from the order on, however long the rollback takes
    bench.engine.advance()
    served = next(each for each in bench.engine.journal.entries if each.kind == "served")
    assert served.data["figures"] == {"rollback.first-write, s": 0.501, "rollback.longest-gap, s": 3.5}
    assert any("production: a write was acknowledged 0.5 s after the order" in line for line in bench.said)
    assert any("production during the rollback: a write was acknowledged" in text for text in bench.sent)
    (piece,) = served.data["evidence"]
    assert len(fetch(bench.store, Piece.model_validate(piece)).splitlines()) == 2


@pytest.mark.parametrize("samples", [[], [sample(900_001, wall=datetime(2025, 12, 31, tzinfo=UTC))], None])
def test_a_rollback_is_complete_without_a_prober(
    bench: Bench, samples: list[Sample] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun(bench).engine.advance().code is Code.DONE
    if samples is None:
        monkeypatch.setattr(bench.stacks, "newest", damaged)
    else:
        bench.stacks.feeds["prod"] = samples
    bench.engine.rollback("late trouble")
    assert bench.engine.current().end == "rolled-back"
    served = next(each for each in bench.engine.journal.entries if each.kind == "served")
    assert str(served.data["reason"]).startswith("not measured: ")
    assert (served.data["figures"], served.data["evidence"]) == ({}, [])


def damaged(_folder: str) -> Iterator[Sample]:
    raise RolloutError("samples are damaged")


def test_a_failing_preflight_touches_nothing_and_is_tried_again(bench: Bench) -> None:
    bench.stacks.answers["preflight canary"] = Outcome(Verdict.FAIL, "no secrets", files={"a": b"a"})
    assert begun(bench).engine.advance().code is Code.FAILED
    assert bench.engine.current().end is None
    del bench.stacks.answers["preflight canary"]
    assert bench.engine.advance().code is Code.DONE


@pytest.mark.parametrize("step", ["smoke staging", "rehearsal staging", "failover canary"])
def test_nothing_measured_is_inconclusive(bench: Bench, step: str) -> None:
    bench.stacks.answers[step] = Outcome(Verdict.PASS, "zero tests", files={})
    result = begun(bench).engine.advance()
    assert (result.code, bench.engine.current().end) == (Code.INCONCLUSIVE, None)


def test_an_inconclusive_failover_is_never_repeated(bench: Bench) -> None:
    bench.stacks.answers["failover canary"] = Outcome(Verdict.INCONCLUSIVE, "not measured")
    assert begun(bench).engine.advance().code is Code.INCONCLUSIVE
    assert bench.engine.advance().code is Code.INCONCLUSIVE
    assert bench.stacks.actions.count("failover canary") == 1


def test_no_samples_every_sample_an_error_and_a_dead_prober(bench: Bench) -> None:
    bench.stacks.feeds["staging"] = []
    assert begun(bench).engine.advance().code is Code.SOAKING
    bench.now += timedelta(seconds=60)
    result = bench.engine.advance()
    assert result.code is Code.INCONCLUSIVE and "the prober is silent" in result.reason
    bench.stacks.feeds["staging"] = steady(1500, ok=False, latency_ms=None, error="refused")
    assert bench.engine.advance().code is Code.FAILED
    assert bench.engine.current().end == "failed"


@pytest.mark.parametrize(("edit", "code"), [(b"[]", Code.FAILED), (None, Code.INCONCLUSIVE)])
def test_evidence_edited_or_missing(bench: Bench, edit: bytes | None, code: Code) -> None:
    bench.stacks.feeds["staging"] = steady(1)
    assert begun(bench).engine.advance().code is Code.SOAKING
    record = bench.engine.current().steps["staging/04-smoke"]
    assert record.done
    file = bench.store.local / Piece.model_validate(record.done.data["evidence"][0]).path  # type: ignore[operator]
    if edit is None:
        file.unlink()
    else:
        file.write_bytes(edit)
    del bench.stacks.feeds["staging"]
    result = bench.engine.advance()
    assert (result.code, "up canary" in bench.stacks.actions) == (code, False)
    assert "smoke-staging" in result.reason


def test_an_approval_is_bound_to_what_was_shown(tmp_path: Path) -> None:
    bench = begun(Bench(tmp_path, PLAN))
    with pytest.raises(RolloutError, match="nothing waits"):
        bench.engine.approve("ann", "looks right")
    assert bench.engine.advance().code is Code.WAITING
    (bench.stacks.folder / "actions.log").open("a").write("failover canary\n")  # the epoch moves
    with pytest.raises(RolloutError, match="configuration epoch moved"):
        bench.engine.approve("ann", "looks right")
    assert bench.engine.advance().code is Code.WAITING  # shown anew
    assert bench.stacks.actions.count("preview canary") == 2
    bench.engine.approve("ann", "looks right")
    (bench.stacks.folder / "deployed-canary").write_text("somebody's")  # moves after the approval
    assert bench.engine.advance().code is Code.WAITING
    assert "up canary" not in bench.stacks.actions
    bench.engine.approve("ann", "looks right")
    assert bench.engine.advance().reason.startswith("prod/")
    assert "up canary" in bench.stacks.actions


def waiting(tmp_path: Path, plan: str = PLAN, by: str = "ann") -> Bench:
    """At the canary's approval; `by` has started it."""
    bench = Bench(tmp_path, plan)
    bench.engine.start(bench.plan, "r1", by)
    assert bench.engine.advance().code is Code.WAITING
    return bench


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("", "fine"), "no name"),
        ((" \t\u200b", "fine"), "no name"),
        (("bob", "  "), "no reason"),
        (("ann", "fine"), "who starts cannot approve"),
        ((" ANN ", "fine"), "who starts cannot approve"),
        (("\uff41nn", "fine"), "who starts cannot approve"),
        (("bob", "fine", "ann"), "who starts cannot approve"),
    ],
)
def test_an_approval_is_somebodys_and_not_the_starters(tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    bench = waiting(tmp_path)
    with pytest.raises(RolloutError, match=said):
        bench.engine.approve(*given)
    # Written by other hands than ours it counts as little.
    run, record = bench.engine.current(), bench.engine.current().next_step
    assert record and record.begun
    entry = dict(zip(("name", "reason", "by"), given, strict=False))
    binding = record.begun.data["binding"]
    bench.engine.journal.append(run.id, "approved", {"step": record.id, **entry, "binding": binding})
    assert bench.engine.advance().code is Code.WAITING
    bench.engine.approve("bob", "preview read", "bob")
    assert bench.engine.advance().reason.startswith("prod/")


def test_who_starts_may_approve_when_the_plan_says_so(tmp_path: Path) -> None:
    bench = waiting(tmp_path, f"approvals: {{self: true}}\n{PLAN.strip()}")
    bench.engine.approve("ann", "nobody else is there", "ann")
    assert bench.engine.advance().reason.startswith("prod/")


def test_an_approval_of_something_else_than_was_shown_has_expired(tmp_path: Path) -> None:
    bench = waiting(tmp_path)
    run, record = bench.engine.current(), bench.engine.current().next_step
    assert record and record.begun
    other = {**record.begun.data["binding"], "state": "another"}
    bench.engine.journal.append(run.id, "approved", {"step": record.id, "name": "bob", "reason": "x", "binding": other})
    assert bench.engine.advance().code is Code.WAITING
    assert "up canary" not in bench.stacks.actions


def test_an_abort_waits_for_nobody_and_looks_again(bench: Bench) -> None:
    begun(bench)
    with lock.held(bench.store, "rollout advance"), pytest.raises(RolloutError, match="a rollout is under way"):
        bench.engine.abort("in the middle of another's step")
    assert bench.engine.current().end is None
    other = Engine(bench.store, bench.stacks, bench.said.append)
    bench.stacks.feeds["canary"] = steady(1)
    other.advance()  # and the canary is up
    with pytest.raises(RolloutError, match="production is touched"):
        bench.engine.abort("too late")
    assert bench.engine.current().end is None


HOSTILE = RolloutError("samples-000000000000.jsonl, line 7 is no sample: lost_acks: below zero")


def test_samples_that_no_prober_takes_are_a_fail_with_their_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.stacks.feeds["staging"] = steady(1)
    assert begun(bench).engine.advance().code is Code.SOAKING

    def refuse(_folder: str, _after: int) -> list[Sample]:
        raise HOSTILE

    monkeypatch.setattr(bench.stacks, "samples", refuse)
    assert bench.engine.advance().code is Code.FAILED
    assert (bench.engine.current().end, "line 7" in bench.engine.current().end_reason) == ("failed", True)


def test_prod_opens_only_on_a_fresh_rehearsal(tmp_path: Path) -> None:
    bench = begun(Bench(tmp_path, UNATTENDED.replace("rehearsalMaxAge: 1h", "rehearsalMaxAge: 1m")))
    bench.stacks.feeds["canary"] = steady(1)
    assert bench.engine.advance().code is Code.SOAKING
    del bench.stacks.feeds["canary"]
    bench.now += timedelta(minutes=2)
    result = bench.engine.advance()
    assert (result.code, "up prod" in bench.stacks.actions) == (Code.INCONCLUSIVE, False)
    assert "rehearsal is 2m old" in result.reason


def test_a_rehearsal_that_lost_writes_fails(bench: Bench) -> None:
    figures = {"rollback_s": 4.0, "lost_acks": 1.0}
    bench.stacks.answers["rehearsal staging"] = Outcome(Verdict.PASS, "", figures=figures, files={"a": b"a"})
    assert begun(bench).engine.advance().code is Code.FAILED


def test_a_deploy_in_the_middle_of_the_soak_resets_it(bench: Bench) -> None:
    bench.stacks.feeds["staging"] = steady(1)
    begun(bench).engine.advance()
    bench.stacks.feeds["staging"] = steady(100)
    (bench.stacks.folder / "deployed-staging").write_text("somebody's")
    result = bench.engine.advance()
    assert result.code is Code.SOAKING and "the stack was deployed to" in result.reason and "0s of 30s" in result.reason


def test_pause_abort_rollback_by_hand(bench: Bench) -> None:
    bench.stacks.feeds["canary"] = steady(1)
    begun(bench).engine.advance()
    bench.engine.order("paused", {"reason": "lunch"})
    assert bench.engine.advance().code is Code.WAITING
    with pytest.raises(RolloutError, match="production is touched"):
        bench.engine.abort("no")
    bench.engine.rollback("cause unknown")
    assert bench.engine.current().end == "rolled-back"
    assert bench.stacks.actions[-1] == "share-0 canary"


def test_a_rehearsal_moves_stagings_applications_and_a_rollback_productions(tmp_path: Path) -> None:
    text = UNATTENDED
    for phase in ("staging", "prod"):
        consumers = f"[{{name: of-{phase}, health: 'http://{phase}/health'}}]"
        text = text.replace(f"samples: {phase},", f"samples: {phase}, consumers: {consumers},")
    bench = Bench(tmp_path, text)
    assert begun(bench).engine.advance().code is Code.DONE
    bench.engine.rollback("late trouble")
    assert bench.stacks.moved == [("staging", ["of-staging"]), ("prod", ["of-prod"])]


def test_a_rollback_that_fails_goes_on_with_the_rest_and_is_tried_again(bench: Bench) -> None:
    assert begun(bench).engine.advance().code is Code.DONE
    bench.stacks.answers["share-0 canary"] = Outcome(Verdict.ERROR, "gateway away")
    assert bench.engine.rollback("late trouble").code is Code.FAILED
    assert bench.engine.current().end is None
    assert bench.stacks.actions[-1] == "standalone-of-r1 prod"
    del bench.stacks.answers["share-0 canary"]
    bench.engine.advance()
    assert bench.engine.current().end == "rolled-back"
    assert bench.stacks.actions.count("standalone-of-r1 prod") == 1
