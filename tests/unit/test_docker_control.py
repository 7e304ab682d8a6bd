"""Waiting for a container, against a made-up engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound, NotFound

from infra.targets import docker_control
from infra.targets.docker_control import ENDINGS, NodeError


class Engine:
    """One container, which has ended once more at each look."""

    def __init__(self, before: int, *, dies: bool, ready: int = 10**6) -> None:
        self.looks, self._before, self._dies, self._ready = 0, before, dies, ready
        self.state: dict[str, Any] = {"ExitCode": 127}

    @property
    def containers(self) -> Any:
        return SimpleNamespace(get=self._get)

    def _get(self, name: str) -> Any:
        count = self._before + (self.looks if self._dies else 0)
        self.looks += 1
        return SimpleNamespace(
            name=name,
            status="restarting" if self._dies else "running",
            attrs={"RestartCount": count, "State": self.state},
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


class Registry:
    """An engine's images: those that it has, and what becomes of a pull."""

    def __init__(self, *there: str, refuses: str = "") -> None:
        self.there, self._refuses = set(there), refuses
        self.images = self

    def get(self, image: str) -> None:
        if image not in self.there:
            raise ImageNotFound("404")

    def pull(self, image: str) -> None:
        if self._refuses:
            raise APIError("500", explanation=self._refuses)
        self.there.add(image)


def test_an_image_that_the_engine_has_or_can_pull_is_no_trouble() -> None:
    engine = Registry("redis@sha256:aa")
    for image in ("redis@sha256:aa", "redis@sha256:bb"):
        docker_control.ensure_image(engine, "image", image)
    assert engine.there == {"redis@sha256:aa", "redis@sha256:bb"}


@pytest.mark.parametrize(
    ("image", "why"), [("sha256:aa", "an image id cannot be pulled"), ("redis@sha256:aa", "no such host")]
)
def test_an_image_that_cannot_be_had_is_named_with_reason_and_fix(image: str, why: str) -> None:
    said = f"gatewayImage: found {image}, which the engine has not and cannot pull: {why}; .*\n  fix: docker pull"
    with pytest.raises(NodeError, match=said):
        docker_control.ensure_image(Registry(refuses="no such host"), "gatewayImage", image)


def test_a_container_that_used_too_much_memory_is_told_so() -> None:
    engine = Engine(before=0, dies=True)
    engine.state = {"ExitCode": 137, "OOMKilled": True}
    with pytest.raises(NodeError, match="the last with 137, for it used more memory than it may"):
        docker_control.await_probe(engine, "data-0", "settled")
