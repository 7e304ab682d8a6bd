"""Waiting for a container, against a made-up engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from infra.targets import docker_control
from infra.targets.docker_control import ENDINGS, NodeError


class Engine:
    """One container, which has ended once more at each look."""

    def __init__(self, before: int, *, dies: bool, ready: int = 10**6) -> None:
        self.looks, self._before, self._dies, self._ready = 0, before, dies, ready

    @property
    def containers(self) -> Any:
        return SimpleNamespace(get=self._get)

    def _get(self, name: str) -> Any:
        count = self._before + (self.looks if self._dies else 0)
        self.looks += 1
        return SimpleNamespace(
            name=name,
            status="restarting" if self._dies else "running",
            attrs={"RestartCount": count, "State": {"ExitCode": 127}},
            logs=lambda **_: b"start.sh: no server\n",
            exec_run=lambda _command: SimpleNamespace(exit_code=int(self.looks < self._ready), output=b""),
        )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.targets.docker_control.time.sleep", lambda _s: None)


def test_a_container_that_ends_again_and_again_is_not_waited_for() -> None:
    engine = Engine(before=3, dies=True)
    with pytest.raises(NodeError, match=rf"ended {ENDINGS} times, the last with 127\n.*\nstart.sh: no server"):
        docker_control.await_probe(engine, "data-0", "settled")
    assert engine.looks <= ENDINGS + 2  # and the log


def test_what_it_went_through_earlier_does_not_count() -> None:
    docker_control.await_probe(Engine(before=50, dies=False, ready=5), "data-0", "settled")


def test_one_that_is_not_there_is_waited_for() -> None:
    def missing(_name: str) -> Any:
        raise NotFound("no such container")

    nowhere = SimpleNamespace(containers=SimpleNamespace(get=missing))
    with pytest.raises(NodeError, match="not settled within 0 s"):
        docker_control.await_probe(nowhere, "data-0", "settled", timeout_s=0.05)


def test_what_only_takes_its_time_gets_it() -> None:
    with pytest.raises(NodeError, match="not settled within 0 s"):
        docker_control.await_probe(Engine(before=0, dies=False), "data-0", "settled", timeout_s=0.05)
