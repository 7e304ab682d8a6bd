"""The canary's share: what is refused, what is declared, and how it reaches the gateways."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from tools import share
from tools.errors import ToolError
from tools.stacks import Stack


def stack(folder: Path, **settings: str) -> Stack:
    file = folder / "Pulumi.prod.yaml"
    file.write_text("config:\n" + "".join(f"  redis-sentinel:{key}: {value}\n" for key, value in settings.items()))
    return Stack("prod", folder / "state", file)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was declared and run, in order."""
    log: list[object] = []

    def publish(_api: object, namespace: str, _stack: str, percent: int) -> None:
        log.append(f"published {percent} in {namespace}")

    def tell(_api: object, namespace: str, _stack: str, percent: int) -> list[str]:
        log.append(f"told {percent} in {namespace}")
        return [] if namespace == "empty" else ["gateway-a", "gateway-b"]

    monkeypatch.setattr(share, "declare", lambda _stack, key, value: log.append((key, value)))
    monkeypatch.setattr("infra.targets.gateway_share.publish", publish)
    monkeypatch.setattr("infra.targets.gateway_share.tell", tell)
    monkeypatch.setattr("infra.targets.cluster.connected", lambda *_way: nullcontext())
    monkeypatch.setattr(share, "_override_container", lambda _stack, percent: log.append(f"told {percent}"))
    return log


CACHE = {"canary": "10.0.0.5:6379", "workload": "cache"}


def test_docker_declares_and_applies(tmp_path: Path, done: list[object]) -> None:
    assert share.set_share(stack(tmp_path, target="docker", **CACHE), 10) == 0
    assert done == [("canaryShare", "10"), "told 10"], "and no `up`: it would deploy whatever is checked out"


def test_kubernetes_declares_and_writes_for_gateways_that_start_and_those_that_run(
    tmp_path: Path, done: list[object]
) -> None:
    assert share.set_share(stack(tmp_path, target="kubernetes", namespace="ours", **CACHE), 5) == 0
    assert done == [("canaryShare", "5"), "published 5 in ours", "told 5 in ours"]


def test_without_a_gateway_that_runs_nothing_is_promised(tmp_path: Path, done: list[object]) -> None:
    with pytest.raises(ToolError, match="no gateway that runs"):
        share.set_share(stack(tmp_path, target="kubernetes", namespace="empty", **CACHE), 5)
    assert done[:2] == [("canaryShare", "5"), "published 5 in empty"], "the next one starts with it"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"target": "process"}, "runs no gateway"),
        ({"target": "docker", "workload": "cache"}, "names no canary"),
        ({"target": "docker", "canary": "10.0.0.5:6379"}, "system of record"),
    ],
)
def test_what_is_refused(tmp_path: Path, done: list[object], settings: dict[str, str], why: str) -> None:
    with pytest.raises(ToolError, match=why):
        share.set_share(stack(tmp_path, **settings), 10)
    assert done == []


def test_taking_it_back_needs_nothing(tmp_path: Path, done: list[object]) -> None:
    assert share.set_share(stack(tmp_path, target="docker"), 0) == 0
