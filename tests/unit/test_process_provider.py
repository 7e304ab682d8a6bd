"""The dynamic providers: what counts as a change, and what each operation does to the node, in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.dynamic import ResourceProvider

from infra.targets import convergence, process_control
from infra.targets.process_provider import ConvergenceProvider, NodeProvider

FOLDER = "/nodes/dev/data-0"
PROPS: dict[str, Any] = {
    "folder": FOLDER,
    "files": {"redis.conf": "port 7380\nmaxmemory 64mb\n", "node.env": "NODE_NAME=data-0\nMODE=sentinel\n"},
    "secret_files": {"users.acl": "user default off\n"},
    "scripts": {"start.sh": "#!/bin/sh\n"},
}
CONTRACT: dict[str, Any] = {"contract": {"REDIS_HOST": "127.0.0.1"}, "folders": [FOLDER], "digest": "0"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the provider does to a node, in order; the node runs."""
    made: list[str] = []
    for name in ("write_files", "start", "stop", "remove", "await_settled"):
        monkeypatch.setattr(process_control, name, lambda folder, *_, name=name: made.append(f"{name} {folder}"))
    monkeypatch.setattr(process_control, "execute", lambda folder, *what: made.append(f"{' '.join(what)} {folder}"))
    monkeypatch.setattr(process_control, "runs", lambda _folder: True)
    return made


def with_file(name: str, text: str, kind: str = "files") -> dict[str, Any]:
    """The inputs with this file instead of theirs, or more."""
    return PROPS | {kind: PROPS[kind] | {name: text}}


def test_equal_inputs_are_no_change() -> None:
    found = NodeProvider().diff(FOLDER, PROPS, PROPS)
    assert (found.changes, found.replaces) == (False, [])


@pytest.mark.parametrize("provider", [NodeProvider(), ConvergenceProvider()], ids=["node", "convergence"])
@pytest.mark.parametrize("old", [{}, {"__provider": "pickled by an older version"}], ids=["absent", "older"])
def test_the_providers_own_code_is_no_change(provider: ResourceProvider, old: dict[str, Any]) -> None:
    """Else an update of Python or of a comment would restart every node."""
    news = PROPS | {"__provider": "pickled now"}
    assert provider.diff(FOLDER, PROPS | old, news).changes is False


@pytest.mark.parametrize("key", ["files", "secret_files", "scripts"])
def test_other_content_is_a_change_in_place(key: str) -> None:
    found = NodeProvider().diff(FOLDER, PROPS, PROPS | {key: PROPS[key] | {"another": "text"}})
    assert (found.changes, found.replaces) == (True, [])


def test_another_folder_replaces_the_node_and_the_old_one_is_gone_first() -> None:
    """Both would listen on the same port."""
    found = NodeProvider().diff(FOLDER, PROPS, PROPS | {"folder": "/nodes/dev/other"})
    assert (found.changes, found.replaces, found.delete_before_replace) == (True, ["folder"], True)


def test_an_input_that_an_older_version_did_not_have_is_a_change() -> None:
    olds = {key: value for key, value in PROPS.items() if key != "scripts"}
    assert NodeProvider().diff(FOLDER, olds, PROPS).changes is True


@pytest.mark.parametrize("key", ["contract", "folders", "digest"])
def test_convergence_is_looked_at_again_when_something_changed(key: str) -> None:
    found = ConvergenceProvider().diff("converged", CONTRACT, CONTRACT | {key: "another"})
    assert (found.changes, found.replaces or []) == (True, [])
    assert ConvergenceProvider().diff("converged", CONTRACT, CONTRACT).changes is False


def test_create_writes_the_files_and_starts(calls: list[str]) -> None:
    created = NodeProvider().create(PROPS)
    assert calls == [f"write_files {FOLDER}", f"start {FOLDER}"]
    assert (created.id, created.outs) == (FOLDER, PROPS)


UPDATES: list[tuple[str, dict[str, Any], str]] = [
    ("a setting", with_file("redis.conf", "port 7380\nmaxmemory 1gb\n"), "write_files, apply.sh, start"),
    ("passwords", with_file("users.acl", "user default off nopass\n", "secret_files"), "write_files, apply.sh, start"),
    ("another port", with_file("redis.conf", "port 7390\nmaxmemory 64mb\n"), "stop, write_files, start"),
    ("the supervisor", with_file("start.sh", "#!/bin/sh\nexit\n", "scripts"), "stop, write_files, start"),
    (
        "the only node left",
        with_file("node.env", "NODE_NAME=data-0\nMODE=standalone\n"),
        "handover.sh to-this-node, write_files, apply.sh, start",
    ),
]


@pytest.mark.parametrize(("news", "steps"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_update_restarts_only_for_what_is_read_at_the_start_and_waits_until_the_node_is_ready(
    news: dict[str, Any], steps: str, calls: list[str]
) -> None:
    """A restart stops before it writes. The next node's update must not begin while this one syncs."""
    updated = NodeProvider().update(FOLDER, PROPS, news)
    assert calls == [f"{step} {FOLDER}" for step in (*steps.split(", "), "await_settled")]
    assert updated.outs == news


def test_a_node_that_cannot_become_the_master_is_left_as_it_is(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_folder: Path, *_what: str) -> None:
        raise process_control.NodeError(tmp_path, "handover.sh failed")

    monkeypatch.setattr(process_control, "execute", refuse)
    with pytest.raises(process_control.NodeError):
        NodeProvider().update(FOLDER, PROPS, with_file("node.env", "NODE_NAME=data-0\nMODE=standalone\n"))
    assert calls == []


def test_delete_removes_the_folder(calls: list[str]) -> None:
    NodeProvider().delete(FOLDER, PROPS)
    assert calls == [f"remove {FOLDER}"]


def test_files_of_both_kinds_are_written(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    written: list[tuple[Path, dict[str, str], dict[str, str]]] = []
    monkeypatch.setattr(process_control, "write_files", lambda *arguments: written.append(arguments))
    NodeProvider().create(PROPS)
    assert written == [(Path(FOLDER), PROPS["files"] | PROPS["secret_files"], PROPS["scripts"])]
    assert calls == [f"start {FOLDER}"]


@pytest.mark.parametrize("before", [PROPS, PROPS | {"drift": "of an earlier look"}], ids=["well", "unwell"])
@pytest.mark.parametrize("alive", [True, False])
def test_read_tells_a_dead_node_by_a_change_and_never_as_gone(
    alive: bool, before: dict[str, Any], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine forgets what is gone, and would leave what lives of it behind."""
    monkeypatch.setattr(process_control, "runs", lambda _folder: alive)
    seen = NodeProvider().read(FOLDER, before)
    assert seen.id == FOLDER
    found = NodeProvider().diff(FOLDER, seen.outs or {}, PROPS)
    assert (found.changes, found.replaces) == (not alive, [])
    assert calls == []


def test_what_does_not_run_is_started_and_nobody_waits_for_its_place(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its master may be down too, and come after it."""
    monkeypatch.setattr(process_control, "runs", lambda _folder: False)
    assert NodeProvider().update(FOLDER, PROPS | {"drift": "does not run"}, PROPS).outs == PROPS
    assert calls == [f"write_files {FOLDER}", f"start {FOLDER}"]


@pytest.mark.parametrize("agreed", [True, False])
def test_read_tells_disagreement_by_a_change(agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "is_converged", lambda _contract: agreed)
    seen = ConvergenceProvider().read("converged", CONTRACT)
    assert seen.id == "converged"
    assert ConvergenceProvider().diff("converged", seen.outs or {}, CONTRACT).changes is not agreed


def test_convergence_is_recorded_only_when_reached(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What had to wait for the others is applied in every node then, and not before."""
    folders = [FOLDER, "/nodes/dev/sentinel-0"]
    props = CONTRACT | {"folders": folders}
    monkeypatch.setattr(process_control, "check_alive", lambda _folders: None)

    def converge(contract: dict[str, str], _check_alive: Any, finish: Callable[[], None], **_: Any) -> None:
        calls.append(contract["REDIS_HOST"])
        finish()

    monkeypatch.setattr(convergence, "converge", converge)
    scripts = [f"{script} {folder}" for script in ("apply.sh", "forget.sh") for folder in folders]
    once = [f"handover.sh from-undeclared {FOLDER}", "127.0.0.1", *scripts]
    assert ConvergenceProvider().create(props).id == "converged"
    assert calls == once
    assert ConvergenceProvider().update("converged", {}, props).outs == props
    assert calls == once * 2

    def never(*_: Any, **__: Any) -> None:
        raise TimeoutError("not converged")

    monkeypatch.setattr(convergence, "converge", never)
    with pytest.raises(TimeoutError):
        ConvergenceProvider().create(props)
    assert calls == [*once, *once, once[0]]


def test_convergence_does_not_wait_for_a_node_that_died(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(convergence, "converge", lambda _contract, check_alive, _finish, **_: check_alive())
    with pytest.raises(process_control.NodeError, match="data-1: does not run"):
        ConvergenceProvider().create(CONTRACT | {"folders": [str(tmp_path / "data-1")]})
