"""What is deployed is the release that was started, as it was previewed and approved, and nothing that lies about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout import binding
from rollout.engine import Code, Engine
from rollout.errors import RolloutError
from rollout.history import Run
from rollout.journal import Journal
from rollout.plan import PHASES, read
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import PLAN, UNATTENDED, FolderStacks, steady
from tools.errors import ToolError

pytestmark = pytest.mark.usefixtures("no_power_cut")

BOUND = dict.fromkeys(binding.NAMES, "x")


class Bench:
    """An engine over folders; `when` does something once, as soon as a line with these words was said."""

    def __init__(self, folder: Path, plan: str = UNATTENDED) -> None:
        self.stacks = FolderStacks(folder / "stacks", plan=plan)
        self.store = FolderStore(folder / "journal")
        self.plan = read(plan)
        self.said: list[str] = []
        self._waiting: list[tuple[str, Callable[[], object]]] = []
        self.engine = Engine(self.store, self.stacks, self._say, None, lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def start(self, release: str = "r1") -> Run:
        return self.engine.start(self.plan, release)

    def when(self, words: str, do: Callable[[], object]) -> None:
        self._waiting.append((words, do))

    def _say(self, line: str) -> None:
        self.said.append(line)
        for each in [each for each in self._waiting if each[0] in line]:
            self._waiting.remove(each)
            each[1]()

    def deployed(self) -> list[str]:
        return [self.stacks.deployed(phase) for phase in PHASES]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_phase_gets_the_release_that_was_started(bench: Bench) -> None:
    """B is committed and dirt lies in the tree while A soaks: seen to reach canary and prod, journaled as A."""
    bench.stacks.feeds["staging"] = steady(1)
    bench.start("A")
    bench.stacks.release = "A"
    assert bench.engine.advance().code is Code.SOAKING
    (bench.stacks.folder / "trees" / "checkout" / "setting").write_text("B")
    del bench.stacks.feeds["staging"]
    assert bench.engine.advance().code is Code.DONE
    assert bench.deployed() == ["A", "A", "A"]


def test_a_rollback_restores_the_earlier_release_and_not_what_is_checked_out(bench: Bench) -> None:
    bench.start("A")
    bench.stacks.release = "A"
    bench.engine.advance()
    bench.start("B")
    bench.stacks.release = "B"
    bench.stacks.answers["smoke prod"] = Outcome(Verdict.FAIL, "broken", files={"a": b"a"})
    assert bench.engine.advance().code is Code.FAILED
    assert bench.deployed() == ["B", "B", "A"]


def test_a_stack_file_that_cannot_be_read_stops_no_other_part_of_a_rollback(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> Outcome:
        raise ToolError("Pulumi.prod.yaml is not valid YAML")

    bench.start()
    bench.engine.advance()
    monkeypatch.setattr(bench.stacks, "share", unreadable)
    result = bench.engine.rollback("trouble")
    assert result.code is Code.FAILED and "not valid YAML" in result.reason
    assert bench.stacks.actions[-1] == "standalone-of-r1 prod"


@pytest.mark.parametrize("key", binding.NAMES)
def test_each_part_of_the_binding_is_compared_and_named(key: str) -> None:
    now = BOUND | {key: "y"}
    assert binding.moved([BOUND], BOUND) == ""
    assert binding.moved([BOUND], now) == binding.moved([BOUND, now], now) == f"{binding.NAMES[key]} moved"
    assert binding.moved([{}], BOUND) != ""  # a binding of another version binds nothing
    assert binding.moved([BOUND], now, but=(key,)) == ""


@pytest.mark.parametrize("key", ["commit", "tree", "lock", "configuration", "state", "epoch", "preview"])
@pytest.mark.parametrize("phase", ["staging", "canary"])
def test_up_is_refused_when_something_moved_since_the_preview(bench: Bench, key: str, phase: str) -> None:
    def move() -> None:
        if key == "state":
            (bench.stacks.folder / f"deployed-{phase}").write_text("somebody's")
        elif key == "epoch":
            (bench.stacks.folder / "actions.log").open("a").write(f"failover {phase}\n")
        elif key == "preview":
            next((bench.store.local or Path()).glob(f"evidence/*preview-{phase}.json")).write_text("edited")
        else:
            bench.stacks.bindings[phase] = {key: "another"}

    bench.start()
    bench.when(f"{phase}/02-preview: pass", move)
    result = bench.engine.advance()
    assert (result.code, f"up {phase}" in bench.stacks.actions) == (Code.INCONCLUSIVE, False)
    assert "not deployed: since the preview" in result.reason and binding.NAMES[key] in result.reason


def test_up_is_refused_when_something_moved_since_the_approval(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PLAN)
    bench.start()
    bench.engine.advance()
    bench.engine.approve("ann", "looks right")
    bench.stacks.bindings["canary"] = {"configuration": "another"}
    assert bench.engine.advance().code is Code.WAITING  # it is shown anew
    assert "up canary" not in bench.stacks.actions
    assert any("the stack's configuration moved" in line for line in bench.said)
    with pytest.raises(RolloutError, match="the release's lock files moved"):
        bench.stacks.bindings["canary"] |= {"lock": "another"}
        bench.engine.approve("ann", "looks right")


def test_an_approval_of_something_else_approves_nothing(tmp_path: Path) -> None:
    """An approval whose own binding is another one: seen to let `up` through."""
    bench = Bench(tmp_path, PLAN)
    run = bench.start()
    bench.engine.advance()
    step = "canary/03-approval"
    shown = bench.engine.current().steps[step].begun
    assert shown
    forged = {"step": step, "name": "eve", "reason": "", "binding": shown.data["binding"] | {"commit": "another"}}
    bench.engine.journal.append(run.id, "approved", forged)
    assert bench.engine.advance().code is Code.WAITING
    assert "up canary" not in bench.stacks.actions


def test_a_rotation_in_the_middle_is_allowed_and_named(bench: Bench) -> None:
    bench.start()
    bench.when("canary/02-preview: pass", lambda: bench.stacks.bindings.update(canary={"secrets": "rotated"}))
    assert bench.engine.advance().code is Code.DONE
    steps = bench.engine.current().steps
    said = {id: str(each.done.data["reason"]) for id, each in steps.items() if each.done}
    named = [id for id, reason in said.items() if "secrets were replaced" in reason]
    assert named == ["canary/03-up"]
    assert said["canary/03-up"].endswith("the stack's secrets were replaced since canary/02-preview")


def test_a_rotation_before_the_approval_takes_nothing_from_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PLAN)
    bench.start()
    bench.engine.advance()
    bench.stacks.bindings["canary"] = {"secrets": "rotated"}
    bench.engine.approve("ann", "looks right")
    bench.engine.advance()
    assert "up canary" in bench.stacks.actions
    up = bench.engine.current().steps["canary/04-up"].done
    assert up and "secrets were replaced since canary/02-preview" in up.data["reason"]


def test_no_command_of_a_journal_is_ever_run(tmp_path: Path) -> None:
    """A journal with a command of somebody's own, its chain sound: it was run, with the passphrase in reach."""
    bench = Bench(tmp_path, PLAN)
    never = tmp_path / "never"
    consumer = {"name": "shop", "health": "http://127.0.0.1:1/health", "command": ["touch", str(never)]}
    forged = bench.plan.to_json()
    forged["phases"]["prod"]["consumers"] = [consumer]
    Journal(bench.store).append("1", "started", {"release": "r1", "plan": forged, "plan_hash": bench.plan.hash})
    for command in (
        bench.engine.advance,
        lambda: bench.engine.approve("ann", "looks right"),
        lambda: bench.engine.rollback("trouble"),
    ):
        with pytest.raises(RolloutError, match=r"journal's plan .* is not that of commit r1; nothing was done"):
            command()
    assert (bench.stacks.actions, bench.stacks.moved) == ([], [])
    assert [each.kind for each in bench.engine.journal.entries] == ["started"] and not never.exists()


def test_an_ended_rollout_is_not_rolled_back_by_a_journals_commands(bench: Bench) -> None:
    run = bench.start()
    bench.engine.advance()
    entries = list(bench.engine.journal.entries)
    other = FolderStore(bench.stacks.folder / "forged")
    for entry in entries:
        data = dict(entry.data)
        if entry.kind == "started":
            data["plan"] = {**data["plan"], "rollback": {**data["plan"]["rollback"], "contract": "keep"}}
        Journal(other).append(run.id, entry.kind, data)
    engine = Engine(other, bench.stacks, print)
    with pytest.raises(RolloutError, match="journal's plan"):
        engine.rollback("trouble")
    assert bench.stacks.actions.count("share-0 canary") == 1


def test_upto_stops_before_the_next_phase(bench: Bench) -> None:
    bench.start()
    result = bench.engine.advance("staging")
    assert (result.code, "staging is proven; canary/01-preflight is beyond it" in result.reason) == (Code.DONE, True)
    assert bench.engine.current().phases_done == ["staging"]
    assert not [action for action in bench.stacks.actions if "staging" not in action]
    assert bench.engine.advance("canary").code is Code.DONE
    assert not [action for action in bench.stacks.actions if action.endswith(" prod")]
    assert bench.engine.advance().code is Code.DONE
    assert bench.engine.current().end == "done"


def test_upto_staging_rolls_nothing_back(bench: Bench) -> None:
    """A rollback changes production: it is for who may do that."""
    bench.start()
    bench.engine.advance("canary")
    bench.engine.journal.append(bench.engine.current().id, "rollback-ordered", {"reason": "somebody asked"})
    result = bench.engine.advance("staging")
    assert (result.code, "beyond staging" in result.reason) == (Code.WAITING, True)
    assert "share-0 canary" not in bench.stacks.actions
    assert bench.engine.advance().code is Code.FAILED
    assert bench.engine.current().end == "rolled-back"
