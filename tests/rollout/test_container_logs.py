"""Logs of containers and pods are searched for passwords; who cannot be asked makes no pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError
from typer.testing import CliRunner

from infra.targets import docker_control
from rollout.cli import make_app
from rollout.container_logs import logs_of
from rollout.engine import Engine
from rollout.errors import RolloutError
from rollout.leaks import FIGURE, passwords_of, search
from rollout.plan import read
from rollout.project_stacks import ProjectStacks
from rollout.report import html
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import UNATTENDED, FolderStacks
from tools.errors import ToolError
from tools.stacks import Stack


def stack(folder: Path, target: str) -> Stack:
    config = folder / "Pulumi.prod.yaml"
    config.write_text(f"config:\n  redis-sentinel:target: {target}\n  redis-sentinel:kubeContext: blue\n")
    return Stack("prod", folder, config)


# Docker.


class Container:
    def __init__(self, name: str, label: str, log: bytes | Exception) -> None:
        self.name, self.label, self._log = name, label, log

    def logs(self) -> bytes:
        if isinstance(self._log, Exception):
            raise self._log
        return self._log


class DockerEngine:
    """Finds containers by their label; those that ended only when all are asked for."""

    def __init__(self, *containers: Container) -> None:
        self.containers = self
        self._all = containers

    def list(self, *, all: bool, filters: dict[str, str]) -> list[Container]:
        assert all
        return [each for each in self._all if each.label == filters["label"]]


OURS, OTHERS = "redis-sentinel.stack=prod", "redis-sentinel.stack=prod2"


def docker_has(monkeypatch: pytest.MonkeyPatch, *containers: Container) -> None:
    @contextmanager
    def engine(_host: str) -> Iterator[Any]:
        yield DockerEngine(*containers)

    monkeypatch.setattr(docker_control, "engine", engine)


def test_every_container_of_the_stack_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_has(
        monkeypatch,
        Container("redis-prod-data-0", OURS, b"one \xff"),
        Container("redis-prod2-data-0", OTHERS, b"another"),
        Container("redis-prod-gateway", OURS, b"two"),
    )
    found = dict(logs_of(stack(tmp_path, "docker")))
    assert found == {"container redis-prod-data-0": b"one \xff", "container redis-prod-gateway": b"two"}


class OverSsh(Exception):
    """What another library raises there."""


@pytest.mark.parametrize("error", [APIError("this driver cannot be read"), ConnectionError("cut"), OverSsh("refused")])
def test_a_container_whose_log_cannot_be_read_is_no_pass(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_has(monkeypatch, Container("a", OURS, b"one"), Container("b", OURS, error))
    with pytest.raises(RolloutError, match=rf"^the logs of stack prod's containers cannot be read: {error}"):
        list(logs_of(stack(tmp_path, "docker")))


def test_no_engine_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RolloutError, match=r"^the logs of stack prod's containers cannot be read: Docker engine at"):
        list(logs_of(stack(tmp_path, "docker")))


# Kubernetes, by a kubectl that says what lies in a folder.

KUBECTL = """#!/bin/sh
cd "$(dirname "$0")" && echo "$*" >>called
while [ "$1" != get ] && [ "$1" != logs ]; do shift; done
[ "$1" = get ] && exec cat pods.json
[ -f "$2 $4 $5" ] || { echo "no log of $2 $4 $5" >&2; exit 1; }
exec cat "$2 $4 $5"
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kubectl").write_text(KUBECTL)
        (folder / "kubectl").chmod(0o755)

    def has(self, *pods: dict[str, Any]) -> None:
        (self.folder / "pods.json").write_text(json.dumps({"items": pods}))

    def log(self, pod: str, container: str, content: bytes, previous: str = "") -> None:
        (self.folder / f"{pod} {container} {previous}").write_bytes(content)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Cluster(tmp_path / "bin")


def pod(name: str, **containers: tuple[str, str]) -> dict[str, Any]:
    """Each container with its state and the one before."""
    told = [
        {"name": each, "state": {now: {}}, "lastState": {was: {}} if was else {}}
        for each, (now, was) in containers.items()
    ]
    return {"metadata": {"name": name}, "status": {"containerStatuses": told}}


def test_every_container_of_every_pod_and_what_a_restarted_one_said_before(tmp_path: Path, cluster: Cluster) -> None:
    cluster.has(
        pod("data-0", server=("running", "terminated"), exporter=("running", "")),
        pod("data-1", server=("waiting", "terminated")),  # a crash loop
        pod("data-2", server=("waiting", "")),  # has never run, and has no log
        pod("smoke-1", smoke=("terminated", "")),
        {"metadata": {"name": "pending"}, "status": {}},
    )
    cluster.log("data-0", "server", b"now \xff")
    cluster.log("data-0", "server", b"before", "--previous")
    cluster.log("data-0", "exporter", b"metrics")
    cluster.log("data-1", "server", b"died", "--previous")
    cluster.log("smoke-1", "smoke", b"passed")
    assert dict(logs_of(stack(tmp_path, "kubernetes"))) == {
        "pod data-0, server": b"now \xff",
        "pod data-0, server, before its restart": b"before",
        "pod data-0, exporter": b"metrics",
        "pod data-1, server, before its restart": b"died",
        "pod smoke-1, smoke": b"passed",
    }
    called = (cluster.folder / "called").read_text().splitlines()
    assert all(each.startswith("--namespace redis-prod --context blue ") for each in called)
    assert "--selector app.kubernetes.io/name=redis-sentinel,app.kubernetes.io/instance=prod " in called[0]


def test_containers_that_prepare_a_pod_are_searched_too(tmp_path: Path, cluster: Cluster) -> None:
    prepared = pod("data-0", server=("running", ""))
    prepared["status"]["initContainerStatuses"] = [{"name": "files", "state": {"terminated": {}}, "lastState": {}}]
    cluster.has(prepared)
    for container in ("files", "server"):
        cluster.log("data-0", container, container.encode())
    assert [name for name, _ in logs_of(stack(tmp_path, "kubernetes"))] == ["pod data-0, files", "pod data-0, server"]


def test_a_log_that_the_cluster_does_not_tell_is_no_pass(tmp_path: Path, cluster: Cluster) -> None:
    cluster.has(pod("data-0", server=("running", "")))
    with pytest.raises(ToolError, match=r"^kubectl: no log of data-0 server"):
        list(logs_of(stack(tmp_path, "kubernetes")))


def test_no_kubectl_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="kubectl is not on PATH"):
        list(logs_of(stack(tmp_path, "kubernetes")))


# What becomes of it.


def test_they_are_among_a_stacks_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_has(monkeypatch, Container("redis-prod-data-0", OURS, b"one"))
    stacks = object.__new__(ProjectStacks)
    chosen = stack(tmp_path, "docker")
    monkeypatch.setattr(stacks, "_files", SimpleNamespace(stack=lambda _name: chosen), raising=False)
    monkeypatch.setattr(stacks, "_state_json", lambda _stack: {"resources": []})
    assert list(stacks.traces("prod"))[-1] == ("container redis-prod-data-0", b"one")
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  redis-sentinel:target: process\n")
    assert [name for name, _ in stacks.traces("prod")] == ["Pulumi's state", "Pulumi.prod.yaml"]


class Silent(FolderStacks):
    """The canary's engine cannot be asked; production's says what the test says."""

    said = b""

    def traces(self, stack: str) -> Iterator[tuple[str, bytes]]:
        yield "a.log", self.said if stack == "prod" else b""
        if stack == "canary":
            raise ToolError("kubectl: it is away\n  fix: call it")


@pytest.fixture
def silent(tmp_path: Path) -> Silent:
    return Silent(tmp_path / "stacks")


def looked(tmp_path: Path, stacks: FolderStacks) -> Outcome:
    engine = Engine(FolderStore(tmp_path / "journal"), stacks, lambda _line: None)
    run = engine.start(read(UNATTENDED), "r1")
    return search(engine.store, stacks, run, engine.journal.entries, passwords_of(stacks, run))


@pytest.mark.usefixtures("no_power_cut")
def test_who_cannot_be_asked_makes_it_inconclusive_with_the_reason(tmp_path: Path, silent: Silent) -> None:
    outcome = looked(tmp_path, silent)
    assert (outcome.verdict, outcome.figures) == (Verdict.INCONCLUSIVE, {})
    assert outcome.reason.endswith("; not searched: canary: kubectl: it is away")
    assert json.loads(outcome.files["secrets.json"])["not searched"] == ["canary: kubectl: it is away"]


@pytest.mark.usefixtures("no_power_cut")
def test_a_password_that_was_found_elsewhere_is_a_failure_all_the_same(tmp_path: Path, silent: Silent) -> None:
    silent.said = next(iter(silent.passwords("prod"))).encode()
    outcome = looked(tmp_path, silent)
    assert (outcome.verdict, outcome.figures) == (Verdict.FAIL, {FIGURE: 1.0})
    assert "found in prod: a.log" in outcome.reason and "not searched: canary" in outcome.reason


@pytest.mark.usefixtures("no_power_cut")
def test_the_report_does_not_pass_and_says_why(tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "plots", lambda *_: {})
    (tmp_path / "plan.yaml").write_text(UNATTENDED)
    on = ["--plan", str(tmp_path / "plan.yaml"), "--journal", str(tmp_path / "journal")]
    app, out = make_app(lambda *_: silent), tmp_path / "report"
    assert CliRunner().invoke(app, ["start", "--release", "r1", *on]).exit_code == 0
    done = CliRunner().invoke(app, ["report", "--out", str(out), *on])
    assert "passwords: inconclusive: " in done.output and "not searched: canary: kubectl: it is away" in done.output
    claims = {each["id"]: each for each in json.loads((out / "report.json").read_bytes())["claims"]}
    assert claims["secrets.found"]["verdict"] == "inconclusive"
    assert "not searched: canary: kubectl: it is away" in (out / "report.md").read_text()
