"""How a pod's server is frozen and thawed: from inside, and a pod that is gone is no mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.victims import Pods, victims_of
from tools import kubectl
from tools.errors import ToolError
from tools.stacks import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    file = tmp_path / "Pulumi.staging.yaml"
    file.write_text("config:\n  redis-sentinel:target: kubernetes\n  redis-sentinel:namespace: ours\n")
    return Stack("staging", tmp_path / "state", file)


def test_a_server_is_stopped_and_continued_by_its_own_number(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setattr(kubectl, "run", said.append)
    with victims_of(stack) as victims:
        victims.freeze("data-1")
        victims.revive("data-1")
    inside = ["kubectl", "--namespace", "ours", "exec", "data-1", "--container", "server", "--", "sh", "-c"]
    assert said == [
        [*inside, 'kill -STOP "$(cat /node/run/server.pid)"'],
        [*inside, 'kill -CONT "$(cat /node/run/server.pid)"'],
    ]


def test_a_target_that_nobody_knows_is_one_message(stack: Stack) -> None:
    stack.config.write_text("config:\n  redis-sentinel:target: kubernets\n")
    said = r"target is 'kubernets', expected one of process, docker, kubernetes\n  fix: "
    with pytest.raises(ToolError, match=said), victims_of(stack):
        pass


def test_a_pod_that_is_gone_is_its_statefulsets_matter(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_words: list[str]) -> str:
        raise ToolError("kubectl: pods not found")

    monkeypatch.setattr(kubectl, "run", gone)
    victims = Pods(stack)
    victims.revive("data-1")
    with pytest.raises(ToolError, match="not found"):
        victims.freeze("data-1")
