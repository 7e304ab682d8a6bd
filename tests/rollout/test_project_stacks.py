"""The project's own stacks, without a deployment: what is read from evidence, and what is refused."""

# ruff: noqa: ARG002 - the parameters are those of what is replaced

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import pytest

from infra.contract import Contract, OperatorContract
from rollout import project_stacks, standalone
from rollout.errors import RolloutError
from rollout.plan import Consumer
from rollout.project_stacks import ProjectStacks, _placed, _seen_share, _smoked, _toothed
from rollout.report.inputs import Teeth, Tooth
from rollout.stack_files import StackFiles
from rollout.stacks import Outcome
from rollout.working_tree import WorkingTree
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import drill
from tests.smoke.samples import CONTRACT
from tools.stacks import Stack


def teeth(*red: bool) -> dict[str, bytes]:
    rows = tuple(Tooth(check="a", broken="b", went_red=each, verdict=None, reason="") for each in red)
    return {"teeth.json": Teeth(when=datetime.now(UTC), command="c", teeth=rows).model_dump_json().encode()}


def test_teeth_pass_only_when_every_fault_was_seen() -> None:
    assert _toothed(teeth(True, True), 0).verdict is Verdict.PASS
    assert _toothed(teeth(True, False), 1).verdict is Verdict.FAIL
    assert _toothed(teeth(), 0).verdict is Verdict.INCONCLUSIVE
    assert _toothed({"teeth.txt": b"no server"}, 1).verdict is Verdict.INCONCLUSIVE


def closed() -> Contract:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return CONTRACT.application().model_copy(update={"host": "127.0.0.1", "port": port})


def test_a_rollback_into_a_broken_standalone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "refusal", lambda _contract: "10.0.0.1:6379 says it is a slave, not a master")
    declared: list[str] = []
    outcome = standalone.go(closed(), lambda: declared.append("standalone"), (), 0.0)
    assert (outcome.verdict, declared) == (Verdict.FAIL, []) and "refused" in outcome.reason


def test_a_consumer_that_does_not_say_standalone_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "refusal", lambda _contract: "")
    monkeypatch.setattr(standalone, "HEALTH_S", 0.3)
    consumer = Consumer(name="shop", health=f"http://127.0.0.1:{closed().port}/health")
    declared: list[str] = []
    outcome = standalone.go(closed(), lambda: declared.append("standalone"), (consumer,), 0.0)
    assert (outcome.verdict, declared) == (Verdict.FAIL, ["standalone"]) and "shop" in outcome.reason
    assert standalone.go(closed(), lambda: None, (), 0.0).verdict is Verdict.PASS


def test_consumers_are_moved_together_and_each_is_held_against_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "HEALTH_S", 0.3)
    monkeypatch.setattr(standalone, "STEADY_S", 0.1)
    meet, met = Barrier(2), list[int]()
    found = {"http://a": "sentinel", "http://b": "standalone"}

    def unhealthy(consumer: Consumer, mode: str) -> str:
        with suppress(BrokenBarrierError):
            met.append(meet.wait(5))  # one after the other would never meet
        return "" if found[consumer.health] == mode else f"{consumer.name} is {found[consumer.health]}"

    monkeypatch.setattr(standalone, "_unhealthy", unhealthy)
    consumers = [Consumer(name=url[-1], health=url) for url in found]
    assert [each.partition(" after")[0] for each in standalone.move(consumers, "sentinel")] == ["b is standalone"]
    assert met


def test_an_old_instance_that_still_answers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on Kubernetes: the rolling restart was over, and for a moment the Service led to a pod that was going."""
    monkeypatch.setattr(standalone, "STEADY_S", 0.3)
    monkeypatch.setattr(standalone, "ASK_S", 0.05)
    said = iter(["not yet", "", "", "the old one", ""])
    asked: list[str] = []

    def unhealthy(_consumer: Consumer, _mode: str) -> str:
        asked.append(next(said, ""))
        return asked[-1]

    monkeypatch.setattr(standalone, "_unhealthy", unhealthy)
    assert standalone.move([Consumer(name="shop", health="http://shop")], "standalone") == []
    assert asked[:4] == ["not yet", "", "", "the old one"] and len(asked) >= 6


def at_work(folder: Path) -> ProjectStacks:
    """A release's tree beside the project's own, and the stacks as they are worked on from there."""
    for place in ("tree", "project"):
        (folder / place / "tests/smoke").mkdir(parents=True)
        (folder / place / "tests/smoke/show_teeth.py").touch()
        for stack in ("canary", "prod"):
            (folder / place / f"Pulumi.{stack}.yaml").write_text("config: {}\n")
    files = StackFiles(folder / "tree", folder / "files", folder / "project", folder / "state")
    return ProjectStacks(WorkingTree("r", folder / "tree", folder / "state"), files)


class Up:
    """A deployment that there is."""

    exists = True

    def __init__(self, _stack: Stack) -> None: ...


CONSUMERS = (Consumer(name="shop", health="http://127.0.0.1:1/health", command=("python", "restart.py")),)
OPERATIONS: dict[str, Callable[[ProjectStacks], object]] = {
    "preflight": lambda stacks: stacks.preflight("prod"),
    "preview": lambda stacks: stacks.preview("prod"),
    "up": lambda stacks: stacks.up("prod"),
    "is_deployed": lambda stacks: stacks.is_deployed("prod"),
    "state": lambda stacks: stacks.state("prod"),
    "smoke": lambda stacks: stacks.smoke("prod"),
    "teeth": lambda stacks: stacks.teeth("prod"),
    "faults": lambda stacks: stacks.faults("prod"),
    "failover": lambda stacks: stacks.failover("prod"),
    "rehearsal": lambda stacks: stacks.rehearsal("prod", CONSUMERS),
    "share": lambda stacks: stacks.share("canary", "prod", 5, ["python", "where.py"]),
    "drift": lambda stacks: stacks.drift("prod"),
    "quorum": lambda stacks: stacks.quorum("prod"),
    "restore": lambda stacks: stacks.restore("prod"),
    "standalone": lambda stacks: stacks.standalone("prod", CONSUMERS, 0.0),
    "move": lambda stacks: standalone.move(CONSUMERS, "sentinel", stacks._tree),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_command_of_every_step_runs_in_the_releases_tree(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = at_work(tmp_path)
    ran: list[tuple[str, object, object]] = []

    def run(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        ran.append((command[0], how["cwd"], how["env"].get("STACK_CONFIG_FILE")))
        return subprocess.CompletedProcess(command, 0, '{"deployment": {"resources": [{}]}}', "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(project_stacks, "Deployment", Up)
    monkeypatch.setattr(standalone, "HEALTH_S", 0.0)
    with suppress(RolloutError):  # nobody wrote the contract
        OPERATIONS[operation](stacks)
    tree, file = tmp_path / "tree", str(tmp_path / "files" / "Pulumi.prod.yaml")
    assert ran and {cwd for _, cwd, _ in ran} == {tree}
    pythons = {command for command, _, _ in ran} - {"python"}  # which commands of rollout.yaml find by themselves
    assert pythons <= {str(tree / ".venv" / "bin" / "python")}
    assert {named for _, _, named in ran} <= {file, None}


class Rehearsing(ProjectStacks):
    """A staging stack of which only the contract's mode is real; `trouble` ends the way to standalone."""

    def __init__(self, mode: str, trouble: Exception | None, folder: Path) -> None:
        super().__init__(WorkingTree("r", folder, folder), StackFiles(folder, folder, folder, folder))
        self.mode = mode
        self.trouble = trouble
        self.log: list[str] = []

    def _contract(self, stack: str) -> OperatorContract:
        return CONTRACT

    def _setting(self, stack: str, key: str) -> str:
        return self.mode if key == "contractMode" else "docker"

    def _contract_mode(self, stack: str, mode: str) -> None:
        self.mode = mode
        self.log.append(mode)

    def standalone(self, stack: str, consumers: Sequence[Consumer], watch_s: float) -> Outcome:
        self._contract_mode(stack, "standalone")
        if self.trouble:
            raise self.trouble
        return Outcome(Verdict.PASS, "fine", figures={"rollback_s": 1.0})


class NoLedger:
    """Nobody writes, nothing is lost."""

    lost = ()
    longest_gap_ms = 250.0

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_for_acks(self, _count: int) -> None: ...

    def verify(self) -> Self:
        return self

    def cleanup(self) -> None: ...


@pytest.mark.parametrize("trouble", [None, RolloutError("up failed"), KeyboardInterrupt()])
def test_a_rehearsal_always_goes_back_to_sentinel(
    trouble: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = Rehearsing("sentinel", trouble, tmp_path)
    monkeypatch.setattr(project_stacks, "Ledger", NoLedger)
    if trouble:
        with pytest.raises(type(trouble)):
            stacks.rehearsal("staging", ())
    else:
        assert stacks.rehearsal("staging", ()).figures == {"rollback_s": 1.0, "lost_acks": 0.0, "gap_s": 0.25}
    assert stacks.log == ["standalone", "sentinel"]
    killed = Rehearsing("standalone", None, tmp_path)  # what SIGKILL leaves: the next one begins with Sentinel
    killed.rehearsal("staging", ())
    assert killed.log == ["sentinel", "standalone", "sentinel"]


def test_an_application_that_a_rehearsal_leaves_in_standalone_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = Rehearsing("sentinel", None, tmp_path)
    monkeypatch.setattr(project_stacks, "Ledger", NoLedger)
    monkeypatch.setattr(standalone, "move", lambda consumers, mode, _tree: [f"{consumers[0].name} is not {mode}"])
    shop = Consumer(name="shop", health="http://127.0.0.1:1/health")
    (tmp_path / "Pulumi.staging.yaml").write_text("config: {}\n")
    stuck = stacks.rehearsal("staging", (shop,))
    assert stuck.verdict is Verdict.FAIL
    assert stuck.reason == "fine; and on the way back to sentinel: shop is not sentinel"
    assert stacks.log == ["standalone", "sentinel"]


class Declaring(StackFiles):
    """Settings that are declared are a line in the log."""

    log: ClassVar[list[str]] = []

    def declare(self, name: str, key: str, value: str) -> None:
        self.log.append("declared")


class Restoring(ProjectStacks):
    """Production, of which an `up` is a line in the log; it ends as `verdict` says."""

    def __init__(self, verdict: Verdict, folder: Path) -> None:
        super().__init__(WorkingTree("r1", folder, folder), Declaring(folder, folder, folder, folder))
        self.verdict = verdict
        self.log = Declaring.log = []

    def _contract(self, stack: str) -> OperatorContract:
        return CONTRACT

    def _ran(self, name: str, stack: str, words: Sequence[str], rest: Sequence[str] = ()) -> Outcome:
        self.log.append(words[0])
        return Outcome(self.verdict, "said")


@pytest.mark.parametrize(
    ("serves", "verdict", "log"),
    [
        (True, Verdict.PASS, ["declared", "up"]),
        (True, Verdict.FAIL, ["declared", "up", "declared", "up"]),
        (False, Verdict.PASS, ["up"]),
    ],
    ids=["one run does both", "a failed one is no proof", "refused, and restored all the same"],
)
def test_production_is_restored_and_its_applications_moved_in_one_run(
    serves: bool, verdict: Verdict, log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = Restoring(verdict, tmp_path)
    monkeypatch.setattr(standalone, "refusal", lambda _contract: "" if serves else "it does not serve")
    stacks.restore("prod", "standalone")
    if serves and verdict is Verdict.FAIL:
        with pytest.raises(RolloutError):
            stacks.standalone("prod", (), 0.0)
    else:
        stacks.standalone("prod", (), 0.0)
    assert stacks.log == log


def test_the_share_is_held_against_what_the_clients_say() -> None:
    def seen(percent: int, said: str) -> Outcome:
        return _seen_share(percent, said, "c", {})

    good = seen(10, 'marked\n{"clients": 500, "canary": 59}\n')
    assert (good.verdict, good.figures) == (Verdict.PASS, {"canary.share-off, points": 1.8})
    assert seen(10, '{"clients": 500, "canary": 61}').verdict is Verdict.FAIL
    assert seen(0, '{"clients": 500, "canary": 20}').verdict is Verdict.FAIL
    for said in ("", "no crowd", '{"clients": 0, "canary": 0}'):
        assert seen(10, said).verdict is Verdict.INCONCLUSIVE


def test_a_deployment_is_restarted_where_the_stacks_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(
        "config:\n  redis-sentinel:kubeContext: blue\n  redis-sentinel:kubeconfig: ~/k\n"
        '  redis-sentinel:contractNamespaces: ["shop"]\n'
    )
    stack = Stack("prod", tmp_path, file)
    given = Consumer(name="shop", health="http://127.0.0.1:1/health", deployment="web")
    ours = _placed(given, stack)
    assert (ours.namespace, ours.context, ours.kubeconfig) == ("shop", "blue", "~/k")
    own = _placed(given.model_copy(update={"namespace": "other", "context": "green"}), stack)
    assert (own.namespace, own.context) == ("other", "green")
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert "ended with 1" in standalone._move(ours, "standalone")
    where = ["kubectl", "--namespace", "shop", "--context", "blue", "--kubeconfig", str(Path.home() / "k")]
    assert commands == [[*where, "rollout", "restart", "deployment/web"]]


def network(verdict: Verdict, answers: bool) -> bytes:
    denied = {"10.0.0.1:6379": answers, "10.0.0.2:6379": False}
    return json.dumps({"verdict": verdict, "reason": "why", "window_s": 3, "allowed": {}, "denied": denied}).encode()


def test_what_a_stranger_got_counts_beside_the_smoke_suite() -> None:
    suite = {"run/evidence.json": drill()}
    assert _smoked(suite, "", "c").verdict is Verdict.PASS
    kept = _smoked({**suite, "run/network.json": network(Verdict.PASS, False)}, "", "c")
    assert (kept.verdict, kept.figures["firewall.denied-answers, answers"]) == (Verdict.PASS, 0.0)
    reached = _smoked({**suite, "run/network.json": network(Verdict.FAIL, True)}, "", "c")
    assert (reached.verdict, reached.figures["firewall.denied-answers, answers"]) == (Verdict.FAIL, 1.0)
    assert _smoked({"run/network.json": network(Verdict.PASS, False)}, "", "c").verdict is Verdict.ERROR
    assert _smoked({**suite, "run/2.json": drill(1)}, "", "c").verdict is Verdict.INCONCLUSIVE


def test_logs_of_a_stacks_nodes_are_among_its_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On target process they are beside its folder, not in it."""
    config = tmp_path / "Pulumi.staging.yaml"
    config.write_text("config: {}\n")
    for name in ("nodes/staging/data-0/node.log", "staging/up/output.log", "nodes/other/data-0/node.log"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    stacks = object.__new__(ProjectStacks)
    files = SimpleNamespace(stack=lambda name: Stack(name, tmp_path, config))
    monkeypatch.setattr(stacks, "_files", files, raising=False)
    monkeypatch.setattr(stacks, "_state_json", lambda _stack: {"resources": []})
    found = [name for name, _ in stacks.traces("staging")]
    assert found == ["staging/up/output.log", "nodes/staging/data-0/node.log", "Pulumi's state", config.name]
