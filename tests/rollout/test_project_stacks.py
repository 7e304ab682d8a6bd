"""The project's own stacks, without a deployment: what is read from evidence, and what is refused."""

# ruff: noqa: ARG002 - the parameters are the Protocol's

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Self

import pytest

from infra.contract import Contract, OperatorContract
from rollout import project_stacks, standalone
from rollout.errors import RolloutError
from rollout.plan import Consumer
from rollout.project_stacks import ProjectStacks, _placed, _seen_share, _smoked, _toothed
from rollout.report.inputs import Teeth, Tooth
from rollout.stacks import Outcome
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


class Rehearsing(ProjectStacks):
    """A staging stack of which only the contract's mode is real; `trouble` ends the way to standalone."""

    def __init__(self, mode: str, trouble: Exception | None) -> None:
        self.mode = mode
        self.trouble = trouble
        self.log: list[str] = []

    def _contract(self, stack: str) -> OperatorContract:
        return CONTRACT

    def _contract_mode(self, stack: str, mode: str, release: str = "") -> None:
        self.mode = mode
        self.log.append(mode)

    def standalone(self, stack: str, consumers: Sequence[Consumer], watch_s: float, release: str = "") -> Outcome:
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
def test_a_rehearsal_always_goes_back_to_sentinel(trouble: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Rehearsing("sentinel", trouble)
    monkeypatch.setattr(project_stacks, "choose", lambda name: name)
    monkeypatch.setattr(
        project_stacks, "setting", lambda _stack, key: stacks.mode if key == "contractMode" else "docker"
    )
    monkeypatch.setattr(project_stacks, "Ledger", NoLedger)
    if trouble:
        with pytest.raises(type(trouble)):
            stacks.rehearsal("staging", "r", ())
    else:
        assert stacks.rehearsal("staging", "r", ()).figures == {"rollback_s": 1.0, "lost_acks": 0.0, "gap_s": 0.25}
    assert stacks.log == ["standalone", "sentinel"]
    killed = Rehearsing("standalone", None)  # what SIGKILL leaves: the next one begins with Sentinel
    stacks.mode = "standalone"
    monkeypatch.setattr(
        project_stacks, "setting", lambda _stack, key: killed.mode if key == "contractMode" else "docker"
    )
    killed.rehearsal("staging", "r", ())
    assert killed.log == ["sentinel", "standalone", "sentinel"]


def test_an_application_that_a_rehearsal_leaves_in_standalone_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = Rehearsing("sentinel", None)
    monkeypatch.setattr(project_stacks, "choose", lambda name: name)
    monkeypatch.setattr(
        project_stacks, "setting", lambda _stack, key: stacks.mode if key == "contractMode" else "docker"
    )
    monkeypatch.setattr(project_stacks, "Ledger", NoLedger)
    monkeypatch.setattr(standalone, "move", lambda consumers, mode: [f"{consumers[0].name} is not {mode}"])
    shop = Consumer(name="shop", health="http://127.0.0.1:1/health")
    stuck = stacks.rehearsal("staging", "r", (shop,))
    assert stuck.verdict is Verdict.FAIL
    assert stuck.reason == "fine; and on the way back to sentinel: shop is not sentinel"
    assert stacks.log == ["standalone", "sentinel"]


class Restoring(ProjectStacks):
    """Production, of which an `up` is a line in the log; it ends as `verdict` says."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict
        self.log: list[str] = []

    def _contract(self, stack: str) -> OperatorContract:
        return CONTRACT

    def _up_of(self, stack: str, release: str) -> Outcome:
        self.log.append(f"up of {release}")
        return Outcome(self.verdict, "said")


@pytest.mark.parametrize(
    ("serves", "verdict", "log"),
    [
        (True, Verdict.PASS, ["declared", "up of r1"]),
        (True, Verdict.FAIL, ["declared", "up of r1", "declared", "up of r1"]),
        (False, Verdict.PASS, ["up of r1"]),
    ],
    ids=["one run does both", "a failed one is no proof", "refused, and restored all the same"],
)
def test_production_is_restored_and_its_applications_moved_in_one_run(
    serves: bool, verdict: Verdict, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = Restoring(verdict)
    monkeypatch.setattr(project_stacks, "choose", lambda name: name)
    monkeypatch.setattr(project_stacks, "declare", lambda *_: stacks.log.append("declared"))
    monkeypatch.setattr(standalone, "refusal", lambda _contract: "" if serves else "it does not serve")
    stacks.restore("prod", "r1", "standalone")
    if serves and verdict is Verdict.FAIL:
        with pytest.raises(RolloutError):
            stacks.standalone("prod", (), 0.0, "r1")
    else:
        stacks.standalone("prod", (), 0.0, "r1")
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
        "config:\n  redis-sentinel:kubeContext: blue\n  redis-sentinel:kubeconfig: /k\n"
        '  redis-sentinel:contractNamespaces: ["shop"]\n'
    )
    monkeypatch.setattr(project_stacks, "choose", lambda _name: Stack("prod", tmp_path, file))
    given = Consumer(name="shop", health="http://127.0.0.1:1/health", deployment="web")
    ours = _placed(given, "prod")
    assert (ours.namespace, ours.context, ours.kubeconfig) == ("shop", "blue", "/k")
    own = _placed(given.model_copy(update={"namespace": "other", "context": "green"}), "prod")
    assert (own.namespace, own.context) == ("other", "green")
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert "ended with 1" in standalone._move(ours, "standalone")
    where = ["kubectl", "--namespace", "shop", "--context", "blue", "--kubeconfig", "/k"]
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
