"""What a change of a setting does to a running node: what restarts it, and what is taken over live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra.targets.changes import (
    ImpossibleChange,
    becomes_standalone,
    changed_keys,
    check_possible,
    mode,
    needs_restart,
)
from tests.unit.samples import nodes_with_files

SUPERVISOR = "#!/bin/sh\n"
NONE: dict[str, str] = {}
TLS = {"node.crt": "certificate", "node.key": "key", "ca.crt": "trust"}


def inputs(name: str, certificates: Mapping[str, str] = NONE, /, scripts: str = SUPERVISOR, **overrides: str) -> Any:
    """The inputs of a node of stack dev, as a target gives them to its provider."""
    files = next(files for node, files in nodes_with_files(**overrides) if node.name == name)
    return {"files": files.plain, "secret_files": files.secret | dict(certificates), "scripts": {"start.sh": scripts}}


LIVE: list[dict[str, str]] = [
    {"maxmemory": "128mb"},
    {"maxmemoryPolicy": "allkeys-lru"},
    {"appendfsync": "always"},
    {"minReplicasToWrite": "0"},
    {"minReplicasMaxLag": "10"},
    {"maxclients": "500"},
    {"clientOutputBufferLimit": "pubsub 64mb 16mb 90"},
    {"replBacklogSize": "32mb"},
    {"notifyKeyspaceEvents": "Ex"},
    {"downAfterMs": "3000"},
    {"failoverTimeoutMs": "20000"},
    {"parallelSyncs": "2"},
    {"quorum": "3"},
    {"replicas": "4"},
    {"sentinels": "5"},
    {"appPasswordNext": "a-Next-0ne-4fQ2-Zx8"},
    {"appPasswordPrevious": "a-Previous-0ne-4fQ2"},
    {"replicaPassword": "an0ther-4fQ2-Zx8-pw"},
    {"sentinelPassword": "an0ther-4fQ2-Zx8-pw"},
]
NODES = ["data-0", "data-2", "sentinel-1"]


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("change", LIVE, ids=lambda change: next(iter(change)))
def test_settings_and_passwords_are_taken_over_live(name: str, change: dict[str, str]) -> None:
    assert not needs_restart(inputs(name), inputs(name, **change))


@pytest.mark.parametrize("change", LIVE, ids=lambda change: next(iter(change)))
def test_each_of_them_is_a_change_of_some_node(change: dict[str, str]) -> None:
    """Else the table above would say nothing."""
    assert any(inputs(name) != inputs(name, **change) for name in NODES)


@pytest.mark.parametrize("name", NODES)
def test_tls_is_read_at_the_start(name: str) -> None:
    assert needs_restart(inputs(name), inputs(name, TLS, tls="true"))
    assert needs_restart(inputs(name, TLS, tls="true"), inputs(name))


def test_a_directive_that_is_gone_has_its_default_again_after_a_start() -> None:
    assert needs_restart(inputs("data-0", maxclients="500"), inputs("data-0"))
    assert not needs_restart(inputs("sentinel-0", maxclients="500"), inputs("sentinel-0"))


@pytest.mark.parametrize("name", NODES)
def test_another_supervisor_starts_anew(name: str) -> None:
    assert needs_restart(inputs(name), inputs(name, scripts="#!/bin/sh\n# another\n"))


@pytest.mark.parametrize("file", sorted(TLS))
@pytest.mark.parametrize(("name", "restarts"), [("data-0", False), ("sentinel-0", True)])
def test_only_a_sentinel_restarts_for_another_certificate(name: str, restarts: bool, file: str) -> None:
    olds, news = (inputs(name, tls, tls="true") for tls in (TLS, TLS | {file: "renewed"}))
    assert needs_restart(olds, news) is restarts


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("redis.conf", "port 7380", "port 7390"),
        ("redis.conf", "bind 10.0.0.10", "bind 10.0.0.99"),
        ("node.env", "NODE_PORT=7380", "NODE_PORT=7390"),
        ("node.env", "TLS=no", "TLS=yes"),
    ],
)
def test_where_a_node_listens_is_read_at_the_start(file: str, old: str, new: str) -> None:
    olds = inputs("data-0")
    assert f"{old}\n" in olds["files"][file]
    news = olds | {"files": olds["files"] | {file: olds["files"][file].replace(old, new)}}
    assert needs_restart(olds, news)


@pytest.mark.parametrize("line", ["SERVER=/usr/bin/redis-server", "CLI=/usr/bin/redis-cli"])
def test_another_server_is_another_start(line: str) -> None:
    olds = inputs("data-0")
    news = olds | {"files": olds["files"] | {"node.env": f"{olds['files']['node.env']}{line}\n"}}
    assert needs_restart(olds, news)


def test_nothing_changed_restarts_nothing() -> None:
    for name in NODES:
        assert not needs_restart(inputs(name), inputs(name))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("sentinel", "standalone", True),
        ("standalone", "sentinel", False),
        ("sentinel", "sentinel", False),
        ("standalone", "standalone", False),
    ],
)
def test_only_the_way_to_standalone_needs_the_masters_role_first(before: str, after: str, expected: bool) -> None:
    olds, news = (inputs("data-0", mode=each) for each in (before, after))
    assert (mode(olds), mode(news)) == (before, after)
    assert becomes_standalone(olds, news) is expected
    assert not needs_restart(olds, news)


def test_changed_keys_are_those_of_either_side_but_the_engines_own_and_the_ignored() -> None:
    olds = {"same": 1, "other": 1, "gone": 1, "image": "a", "__provider": "old"}
    news = {"same": 1, "other": 2, "new": 1, "image": "b", "__provider": "new"}
    assert changed_keys(olds, news) == ["gone", "image", "new", "other"]
    assert changed_keys(olds, news, ignored=["image"]) == ["gone", "new", "other"]


def test_another_master_name_is_refused_on_a_running_deployment() -> None:
    with pytest.raises(ImpossibleChange, match="fix: set masterName back to 'redis-dev'"):
        check_possible(inputs("data-2"), inputs("data-2", masterName="another"))


@pytest.mark.parametrize("change", [{"masterName": "another", "mode": "standalone"}, {"maxmemory": "128mb"}, {}])
def test_other_changes_are_possible(change: dict[str, str]) -> None:
    check_possible(inputs("data-0"), inputs("data-0", **change))
