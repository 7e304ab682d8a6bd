"""The files of each kind of node, whole, and what must never be in them.

The whole files are in golden/. After a change that is meant: UPDATE_GOLDEN=1 python -m pytest
tests/unit/test_node_config.py, then read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from infra.node_config import NodeFiles, render
from infra.settings import USERS
from infra.topology import Kind, Node
from tests.unit.samples import MARKER, PASSWORDS, declared, digest_of, files_of, nodes_with_files, planned

GOLDEN = Path(__file__).parent / "golden"
# These hold passwords by nature. users.acl is not among them: it holds digests.
WITH_PASSWORDS = {"auth.conf", "operator.password", "sentinel.conf"}
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


@cache
def every_node() -> tuple[tuple[Node, NodeFiles], ...]:
    """All nodes of a clustered and of a standalone stack, with their files."""
    return (*nodes_with_files(), *nodes_with_files(mode="standalone"))


def values(text: str) -> dict[str, str]:
    """A configuration file's directives; of repeated ones the last."""
    return dict(line.split(" ", 1) for line in text.splitlines())


GOLDEN_NODES = {
    "data-0": ("data-0", {}),
    "sentinel-0": ("sentinel-0", {}),
    "standalone": ("data-0", {"mode": "standalone"}),
    "data-0-tls": ("data-0", {"tls": "true"}),
    "sentinel-0-tls": ("sentinel-0", {"tls": "true"}),
}


@pytest.mark.parametrize("folder", GOLDEN_NODES)
def test_files_are_as_in_the_golden_folder(folder: str) -> None:
    name, overrides = GOLDEN_NODES[folder]
    files = files_of(name, **overrides)
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / folder).mkdir(parents=True, exist_ok=True)
        for path in (GOLDEN / folder).iterdir():
            path.unlink()
        for file, text in files.items():
            (GOLDEN / folder / file).write_text(text, encoding="utf-8")
    golden = {path.name: path.read_text(encoding="utf-8") for path in (GOLDEN / folder).iterdir()}
    assert files == golden


def test_each_kind_of_node_gets_its_files_and_no_other() -> None:
    data = {"redis.conf", "node.env", "users.acl", "auth.conf", "operator.password"}
    sentinel = {"sentinel.conf", "node.env", "users.acl", "operator.password"}
    for node, files in every_node():
        assert sorted([*files.plain, *files.secret]) == sorted(data if node.kind is Kind.DATA else sentinel)


def test_no_password_is_in_a_plain_file() -> None:
    for node, files in every_node():
        assert MARKER not in str(files.plain), node.name


def test_passwords_are_where_a_server_reads_them_and_nowhere_else() -> None:
    for _, files in every_node():
        assert {name for name, text in files.secret.items() if MARKER in text} == files.secret.keys() & WITH_PASSWORDS


def test_the_digests_count_as_secret() -> None:
    digests = {digest_of(user) for user in USERS}
    for _, files in every_node():
        assert not [digest for digest in digests if digest in str(files.plain)]


def test_printing_files_shows_no_secret() -> None:
    for _, files in every_node():
        assert MARKER not in repr(files)
        assert digest_of("app") not in repr(files)


def test_a_data_node_is_given_no_password_but_the_replicas_and_the_operators() -> None:
    text = str(files_of("data-1"))
    assert {user for user, password in PASSWORDS.items() if password in text} == {"replica", "operator"}


def test_a_sentinel_is_given_no_password_but_the_sentinels_and_the_operators() -> None:
    text = str(files_of("sentinel-1"))
    assert {user for user, password in PASSWORDS.items() if password in text} == {"sentinel", "operator"}


# The directives that name hosts.
NAMES_HOSTS = re.compile(r"(bind|replica-announce-ip|sentinel announce-ip|NODE_HOST|DATA_NODES|SENTINELS)[ =](.*)")


def hosts_in(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if match := NAMES_HOSTS.fullmatch(line):
            yield from (address.partition(":")[0] for address in match[2].strip("'").split())


def test_no_host_name_is_in_a_file_only_addresses() -> None:
    for node, files in every_node():
        hosts = [host for text in (files.plain | files.secret).values() for host in hosts_in(text)]
        assert hosts.count(node.endpoint.host) >= 3
        assert [host for host in hosts if not ADDRESS.fullmatch(host)] == []


def test_no_node_is_called_by_its_name() -> None:
    """Elsewhere these names are DNS names too."""
    for node, files in every_node():
        for text in (files.plain | files.secret).values():
            named = re.findall(r"^.*(?:localhost|(?:data|sentinel)-\d).*$", text, re.M)
            assert [line for line in named if line != f"NODE_NAME={node.name}"] == []


@pytest.mark.parametrize(("name", "file"), [("data-0", "redis.conf"), ("sentinel-0", "sentinel.conf")])
def test_with_tls_nothing_listens_in_the_clear(name: str, file: str) -> None:
    plain = [line for line in files_of(name, tls="true")[file].splitlines() if re.match("(tls-)?port ", line)]
    assert plain[0] == "port 0"
    assert re.fullmatch(r"tls-port \d{4,5}", plain[1])
    assert "tls-" not in files_of(name)[file]


def test_sentinel_is_told_not_to_resolve_names_before_it_is_told_to_monitor() -> None:
    lines = files_of("sentinel-0")["sentinel.conf"].splitlines()
    assert "sentinel announce-hostnames yes" not in lines
    monitor = next(index for index, line in enumerate(lines) if line.startswith("sentinel monitor"))
    assert lines.index("sentinel resolve-hostnames no") < monitor


def test_each_node_listens_on_its_own_address_and_announces_it() -> None:
    for name, host, port in (("data-1", "10.0.0.11", "7381"), ("data-2", "10.0.0.12", "7382")):
        conf = values(files_of(name)["redis.conf"])
        assert (conf["bind"], conf["port"]) == (host, port)
        assert (conf["replica-announce-ip"], conf["replica-announce-port"]) == (host, port)
    conf_lines = files_of("sentinel-1")["sentinel.conf"].splitlines()
    assert {"bind 10.0.1.11", "port 27381"} <= set(conf_lines)
    assert {"sentinel announce-ip 10.0.1.11", "sentinel announce-port 27381"} <= set(conf_lines)


def lines_that_differ(first: str, second: str) -> set[str]:
    """The first words of the lines that two nodes' files do not share."""
    difference = set(first.splitlines()) ^ set(second.splitlines())
    return {re.split("[ =]", line)[0] for line in difference}


@pytest.mark.parametrize("other", ["data-1", "data-2"])
def test_data_nodes_differ_in_name_and_address_only(other: str) -> None:
    """So nothing in a file says who is master: the first node is no more the master than the others."""
    first, second = files_of("data-0"), files_of(other)
    assert first.keys() == second.keys()
    assert lines_that_differ(first.pop("redis.conf"), second.pop("redis.conf")) == {
        "bind", "port", "replica-announce-ip", "replica-announce-port",
    }  # fmt: skip
    assert lines_that_differ(first.pop("node.env"), second.pop("node.env")) == {"NODE_NAME", "NODE_HOST", "NODE_PORT"}
    assert first == second


def test_no_file_makes_a_node_a_replica_or_watches_a_certain_master() -> None:
    for node, files in every_node():
        for name, text in (files.plain | files.secret).items():
            assert not re.search(r"^(replicaof|slaveof)\b", text, re.M), (node.name, name)
    for name in ("sentinel-0", "sentinel-1", "sentinel-2"):
        (monitor,) = re.findall("^sentinel monitor .*", files_of(name)["sentinel.conf"], re.M)
        assert monitor == "sentinel monitor redis-dev @MASTER_HOST@ @MASTER_PORT@ 2"


def test_replica_priorities_are_equal() -> None:
    """A priority sorts before the offset: an uneven one would promote a replica that lags."""
    for _, files in every_node():
        assert "replica-priority" not in str(files.plain)


def test_settings_arrive_in_a_data_nodes_file() -> None:
    overrides = {
        "maxmemory": "128mb",
        "maxmemoryPolicy": "allkeys-lfu",
        "appendfsync": "always",
        "minReplicasToWrite": "2",
        "minReplicasMaxLag": "7",
    }
    conf = values(files_of("data-0", **overrides)["redis.conf"])
    assert (conf["maxmemory"], conf["maxmemory-policy"], conf["appendfsync"]) == ("128mb", "allkeys-lfu", "always")
    assert (conf["min-replicas-to-write"], conf["min-replicas-max-lag"]) == ("2", "7")


def test_settings_arrive_in_a_sentinels_file_and_in_what_is_applied_at_each_start() -> None:
    overrides = {
        "masterName": "orders",
        "quorum": "3",
        "downAfterMs": "2500",
        "failoverTimeoutMs": "9000",
        "parallelSyncs": "2",
    }
    files = files_of("sentinel-2", **overrides)
    lines = files["sentinel.conf"].splitlines()
    assert "sentinel monitor orders @MASTER_HOST@ @MASTER_PORT@ 3" in lines
    for option in ("down-after-milliseconds orders 2500", "failover-timeout orders 9000", "parallel-syncs orders 2"):
        assert f"sentinel {option}" in lines
    applied = "quorum 3 down-after-milliseconds 2500 failover-timeout 9000 parallel-syncs 2"
    assert f"SENTINEL_OPTIONS='{applied}'" in files["node.env"].splitlines()
    assert "DOWN_AFTER_MS=2500" in files["node.env"].splitlines()


@pytest.mark.parametrize(("mode", "expected"), [("sentinel", "1"), ("standalone", "0")])
def test_the_write_fence_is_off_where_there_is_no_replica(mode: str, expected: str) -> None:
    assert values(files_of("data-0", mode=mode)["redis.conf"])["min-replicas-to-write"] == expected


def test_the_append_only_file_is_always_on() -> None:
    assert values(files_of("data-0")["redis.conf"])["appendonly"] == "yes"


def test_every_node_knows_all_declared_nodes() -> None:
    for name in ("data-2", "sentinel-0"):
        lines = files_of(name)["node.env"].splitlines()
        assert "DATA_NODES='10.0.0.10:7380 10.0.0.11:7381 10.0.0.12:7382'" in lines
        assert "SENTINELS='10.0.1.10:27380 10.0.1.11:27381 10.0.1.12:27382'" in lines
    assert "SENTINELS=''" in files_of("data-0", mode="standalone")["node.env"].splitlines()


@pytest.mark.parametrize(
    ("name", "user"),
    [("data-0", "replica"), ("data-0", "operator"), ("sentinel-0", "sentinel"), ("sentinel-0", "operator")],
)
def test_a_node_without_a_password_that_it_shows_others_is_not_rendered(name: str, user: str) -> None:
    topology = planned()
    node = next(node for node in topology.nodes if node.name == name)
    with pytest.raises(KeyError, match=user):
        render(node, topology, declared(), {key: PASSWORDS[key] for key in PASSWORDS if key != user})
