"""The docker target's dynamic providers: what counts as a change, and what is done to a container in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from pulumi.dynamic import ResourceProvider

from infra.targets import convergence, docker_control, docker_provider
from infra.targets.docker_control import NodeError
from infra.targets.docker_provider import ConvergenceProvider, FilesProvider, GatewayFilesProvider, ReadyProvider

NAME = "redis-staging-data-0"
PROPS: dict[str, Any] = {
    "host": "ssh://ops@10.0.0.7",
    "image": "sha256:aa",
    "container": NAME,
    "volumes": {"/node/files": f"{NAME}-files"},
    "files": {"redis.conf": "port 6379\nmaxmemory 64mb\n", "node.env": "NODE_NAME=data-0\nMODE=sentinel\n"},
    "secret_files": {"users.acl": "user default off\n"},
    "scripts": {"start.sh": "#!/bin/sh\n"},
}
NODES = [NAME, "redis-staging-sentinel-0"]
SETTLED: dict[str, Any] = {"host": "", "containers": [NAME], "probe": "settled", "trigger": "0"}
CONVERGED: dict[str, Any] = {
    "host": "",
    "contract": {"REDIS_HOST": "10.0.0.10"},
    "containers": dict(zip(("data-0", "sentinel-0"), NODES, strict=True)),
    "trigger": "0",
}


class Control:
    """Stands for docker_control, and keeps what it is asked to do, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.written: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.hosts: list[str] = []
        self.patience_s = -1.0
        self.running = True
        self.beside: list[str] = []
        """The containers that the engine finds beside the node."""
        self.fails = ""
        """The script that fails."""
        self.unready = ""
        """The container that never gets ready."""

    @contextmanager
    def engine(self, host: str) -> Iterator[Control]:
        self.hosts.append(host)
        yield self

    @property
    def containers(self) -> Any:
        return SimpleNamespace(get=self.container, list=lambda **_: [self.container(name) for name in self.beside])

    def container(self, name: str) -> Any:
        return SimpleNamespace(name=name, kill=lambda signal: self.done.append(f"{signal} to {name}"))

    def find_running(self, _client: Control, name: str) -> Any | None:
        return self.container(name) if self.running else None

    def write_files(self, _client: Control, image: str, volumes: dict[str, str], files: dict[str, str]) -> None:
        self.done.append("write")
        self.written.append((image, volumes, files))

    def watch_endings(self, _client: Control, names: list[str]) -> Callable[[], None]:
        return lambda: self.done.append(f"alive: {' '.join(names)}")

    def execute(self, container: Any, script: str, *arguments: str) -> tuple[int, str]:
        self.done.append(" ".join((script, *arguments, "in", container.name)))
        return (1, f"{script} says no") if script == self.fails else (0, "")

    def start(self, _client: Control, name: str) -> None:
        self.done.append(f"start {name}")

    def restart(self, _client: Control, name: str) -> None:
        self.done.append(f"restart {name}")

    def await_probe(self, _client: Control, name: str, probe: str, timeout_s: float = 120.0) -> None:
        self.patience_s = timeout_s
        self.done.append(f"{name} {probe}")
        if name == self.unready:
            raise NodeError(f"{name}: not {probe}")


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    made = Control()
    for name in ("engine", "write_files", "execute", "start", "restart", "await_probe", "watch_endings"):
        monkeypatch.setattr(docker_control, name, getattr(made, name))
    monkeypatch.setattr(docker_control, "running", made.find_running)
    return made


def with_file(name: str, text: str, kind: str = "files") -> dict[str, Any]:
    """The inputs with this file instead of theirs, or more."""
    return PROPS | {kind: PROPS[kind] | {name: text}}


@pytest.mark.parametrize("provider", [FilesProvider(), GatewayFilesProvider()], ids=["node", "gateway"])
@pytest.mark.parametrize(
    ("news", "changes", "replaces"),
    [
        (PROPS, False, []),
        (PROPS | {"image": "sha256:bb"}, False, []),
        (PROPS | {"__provider": "another"}, False, []),
        (with_file("redis.conf", "port 6379\n"), True, []),
        (with_file("users.acl", "user default on\n", "secret_files"), True, []),
        (with_file("lib.sh", "", "scripts"), True, []),
        (PROPS | {"host": ""}, True, []),
        (PROPS | {"container": "another"}, True, ["container"]),
        (PROPS | {"volumes": {"/node/files": "another"}}, True, ["volumes"]),
    ],
    ids=["nothing", "image", "own code", "file", "secret file", "script", "host", "container", "volume"],
)
def test_files_change_in_place_and_another_image_changes_none(
    provider: ResourceProvider, news: dict[str, Any], changes: bool, replaces: list[str]
) -> None:
    found = provider.diff(NAME, PROPS, news)
    assert (found.changes, found.replaces) == (changes, replaces)
    assert found.delete_before_replace is True


def test_files_are_written_where_the_node_looks_for_them(control: Control) -> None:
    control.running = False
    created = FilesProvider().create(PROPS)
    assert (created.id, created.outs) == (NAME, PROPS)
    assert control.done == ["write"]
    assert control.hosts == [PROPS["host"]]
    files = {
        "/node/files/conf/redis.conf": PROPS["files"]["redis.conf"],
        "/node/files/conf/node.env": PROPS["files"]["node.env"],
        "/node/files/conf/users.acl": PROPS["secret_files"]["users.acl"],
        "/node/files/bin/start.sh": PROPS["scripts"]["start.sh"],
    }
    assert control.written == [(PROPS["image"], PROPS["volumes"], files)]


def test_a_node_that_an_interrupted_run_left_is_given_its_files_and_not_restarted(control: Control) -> None:
    FilesProvider().create(PROPS)
    assert control.done == ["write", f"apply.sh in {NAME}"]


UPDATES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a setting", with_file("redis.conf", "port 6379\nmaxmemory 1gb\n"), ["write", f"apply.sh in {NAME}"]),
    ("a password", with_file("users.acl", "user app on\n", "secret_files"), ["write", f"apply.sh in {NAME}"]),
    ("another port", with_file("redis.conf", "port 6380\nmaxmemory 64mb\n"), ["write", f"restart {NAME}"]),
    ("the supervisor", with_file("start.sh", "#!/bin/sh\nexit\n", "scripts"), ["write", f"restart {NAME}"]),
    (
        "the only node left",
        with_file("node.env", "NODE_NAME=data-0\nMODE=standalone\n"),
        [f"handover.sh to-this-node in {NAME}", "write", f"apply.sh in {NAME}"],
    ),
]


@pytest.mark.parametrize(("news", "steps"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_an_update_restarts_only_for_what_is_read_at_the_start_and_waits_for_the_node(
    news: dict[str, Any], steps: list[str], control: Control
) -> None:
    """The next node's update must not begin before this one is back in its place."""
    assert FilesProvider().update(NAME, PROPS, news).outs == news
    assert control.done == [*steps, f"{NAME} settled"]


@pytest.mark.parametrize("news", [row[1] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_a_node_that_does_not_run_gets_its_files_and_nobody_waits_for_it(
    news: dict[str, Any], control: Control
) -> None:
    control.running = False
    FilesProvider().update(NAME, PROPS, news)
    assert control.done == ["write"]


def test_a_node_that_cannot_become_the_master_is_left_as_it_is(control: Control) -> None:
    control.fails = "handover.sh"
    said = r"did not become the master as planned, no file was changed:\nhandover\.sh says no"
    with pytest.raises(NodeError, match=said):
        FilesProvider().update(NAME, PROPS, with_file("node.env", "NODE_NAME=data-0\nMODE=standalone\n"))
    assert control.written == []


def test_a_refused_configuration_is_an_error_with_the_nodes_own_words(control: Control) -> None:
    control.fails = "apply.sh"
    with pytest.raises(NodeError, match=r"data-0 refuses its new configuration:\napply\.sh says no"):
        FilesProvider().update(NAME, PROPS, with_file("redis.conf", "port 6379\nmaxmemory 1gb\n"))


def test_a_node_that_does_not_come_back_fails_its_update(control: Control) -> None:
    control.unready = NAME
    with pytest.raises(NodeError, match="not settled"):
        FilesProvider().update(NAME, PROPS, with_file("redis.conf", "port 6380\n"))


def test_a_canarys_new_share_is_written_and_reloads_nothing(control: Control) -> None:
    olds = PROPS | {"files": PROPS["files"] | {"canary.share": "5\n"}}
    news = PROPS | {"files": PROPS["files"] | {"canary.share": "10\n"}}
    assert GatewayFilesProvider().update(NAME, olds, news).outs == news
    assert control.done == ["write"]


def test_a_running_gateway_reloads_and_is_never_restarted(control: Control) -> None:
    reload = ["write", f"USR2 to {NAME}"]
    assert GatewayFilesProvider().create(PROPS).id == NAME
    assert control.done == reload
    news = with_file("haproxy.cfg", "another")
    assert GatewayFilesProvider().update(NAME, PROPS, news).outs == news
    assert control.done == reload * 2


def test_a_gateway_that_does_not_run_is_told_nothing(control: Control) -> None:
    control.running = False
    GatewayFilesProvider().create(PROPS)
    assert control.done == ["write"]


def test_when_a_node_is_gone_the_sentinels_that_run_forget_it_one_after_the_other(control: Control) -> None:
    others = [f"redis-staging-sentinel-{index}" for index in (2, 0)]
    # The engine's filter takes the name of another stack for one of ours.
    control.beside = [*others, "redis-staging-sentinel-0-sentinel-1", "redis-staging-sentinel-1"]
    FilesProvider().delete("", PROPS | {"container": "redis-staging-sentinel-1"})
    assert control.done == [f"forget.sh in {name}" for name in sorted(others)]
    control.done.clear()
    GatewayFilesProvider().delete("", PROPS | {"container": "redis-staging-gateway"})
    assert control.done == []
    control.fails = "forget.sh"
    with pytest.raises(NodeError, match=r"sentinel-0 cannot forget the nodes that are gone:\nforget\.sh says no"):
        FilesProvider().delete(NAME, PROPS)


def test_a_new_node_is_awaited(control: Control) -> None:
    """One that was there and had stopped is started: pulumi-docker does not see that."""
    created = ReadyProvider().create(SETTLED)
    assert (created.id, created.outs) == ("settled", SETTLED)
    assert control.done == [f"start {NAME}", f"{NAME} settled"]


def converge(
    _contract: dict[str, str],
    check_alive: Callable[[], None],
    finish: Callable[[], None],
    run: convergence.Run,
    _log: convergence.Log,
) -> None:
    """Stands for the wait: one look in the middle of which a node is asked."""
    check_alive()
    assert run("sentinel-0", ["PING"]) == (0, "")
    finish()


def test_when_all_agree_every_node_applies_what_had_to_wait_for_the_others(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convergence, "converge", converge)
    steps = [
        f"handover.sh from-undeclared in {NAME}",
        f"alive: {' '.join(NODES)}",
        f"answers.sh PING in {NODES[1]}",
        *(f"apply.sh in {name}" for name in NODES),
        *(f"forget.sh in {name}" for name in NODES),
    ]
    assert ConvergenceProvider().create(CONVERGED).id == "converged"
    assert control.done == [*(f"start {name}" for name in NODES), *steps]
    control.done.clear()
    assert ConvergenceProvider().update("converged", {}, CONVERGED).outs == CONVERGED
    assert control.done == [*(f"start {name}" for name in NODES), *steps]


def test_without_agreement_nothing_is_recorded_and_nothing_applied(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise TimeoutError("not converged")

    monkeypatch.setattr(convergence, "converge", never)
    with pytest.raises(TimeoutError):
        ConvergenceProvider().create(CONVERGED)
    assert not [step for step in control.done if step.startswith("apply.sh")]


@pytest.mark.parametrize("agreed", [True, False])
def test_read_tells_disagreement_by_a_change(agreed: bool, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "is_converged", lambda _contract, _run: agreed)
    seen = ConvergenceProvider().read("converged", CONVERGED)
    assert seen.id == "converged"
    assert ConvergenceProvider().diff("converged", seen.outs or {}, CONVERGED).changes is not agreed
    assert control.done == [], "a look starts nothing"


def test_a_container_that_does_not_run_gives_no_answer(control: Control) -> None:
    control.running = False
    assert docker_provider._answers(control, CONVERGED)("data-0", ["PING"]) == (1, f"{NAME} does not run")


@pytest.mark.parametrize("key", ["containers", "trigger", "host"])
def test_a_node_is_awaited_again_when_something_changed(key: str) -> None:
    assert ReadyProvider().diff("settled", SETTLED, SETTLED | {key: "another"}).changes is True
    assert ReadyProvider().diff("settled", SETTLED, SETTLED | {"__provider": "another"}).changes is False


@pytest.mark.parametrize("unready", ["", NAME])
def test_read_tells_a_node_out_of_its_place_by_a_change(unready: str, control: Control) -> None:
    """So that the next `up` waits for it again. A look starts nothing, and takes nothing for gone."""
    control.unready = unready
    seen = ReadyProvider().read("settled", SETTLED)
    assert seen.id == "settled"
    assert ReadyProvider().diff("settled", seen.outs or {}, SETTLED).changes is bool(unready)
    assert not [step for step in control.done if step.startswith("start")]


@pytest.mark.parametrize(("running", "patience_s"), [(True, docker_provider.LOOK_S), (False, 0.0)])
def test_read_waits_for_the_end_of_a_failover_but_not_for_a_container_that_is_down(
    running: bool, patience_s: float, control: Control
) -> None:
    control.running = running
    ReadyProvider().read("settled", SETTLED)
    assert control.patience_s == patience_s


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("", None),
        ("tcp://10.0.0.7:2376", {"DOCKER_HOST": "tcp://10.0.0.7:2376", "DOCKER_TLS_VERIFY": "1"}),
        ("ssh://ops@10.0.0.7", {"DOCKER_HOST": "ssh://ops@10.0.0.7"}),
        ("unix:///run/docker.sock", {"DOCKER_HOST": "unix:///run/docker.sock"}),
    ],
)
def test_a_given_host_replaces_the_environments_and_keeps_its_tls_for_tcp(
    host: str, expected: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str] | None] = []
    client = SimpleNamespace(close=lambda: None, api=SimpleNamespace(trust_env=True))
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)

    def from_env(environment: dict[str, str] | None, **_: object) -> Any:
        asked.append(environment)
        return client

    monkeypatch.setattr(docker, "from_env", from_env)
    with docker_control.engine(host) as found:
        assert found is client
        assert not client.api.trust_env
    seen = asked[0] and {key: value for key, value in asked[0].items() if key.startswith("DOCKER_")}
    assert seen == expected


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_an_engine_that_does_not_answer_is_named_with_a_fix(
    host: str, declared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the stack's own, or that of the environment."""
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///another/docker.sock" if declared else host)
    words = rf"Docker engine at {host}: found none that answers: .*; expected one.*\n  fix: start it"
    with pytest.raises(docker_control.EngineError, match=words), docker_control.engine(host if declared else ""):
        pass
