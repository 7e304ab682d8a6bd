"""The project's own stacks, without a deployment: what is read from evidence, and what is refused."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest

from infra.contract import Contract
from rollout import standalone
from rollout.plan import Consumer
from rollout.project_stacks import _toothed
from rollout.report.inputs import Teeth, Tooth
from smoke_tests.verdict import Verdict
from tests.smoke.samples import CONTRACT


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
