"""Whose data set can be read by whom."""

from __future__ import annotations

import pytest

from infra.data_format import Engine
from infra.targets import running_server
from infra.targets.identity_provider import IdentityProvider

READS = [
    ("redis 7.0.15", "valkey 8.1.4"),
    ("redis 7.0.15", "valkey 9.1.2"),
    ("redis 7.0.15", "redis 8.0.2"),
    ("redis 7.2.4", "valkey 7.2.5"),
    ("valkey 8.1.4", "redis 7.2.4"),
    ("valkey 8.1.4", "redis 8.0.2"),
    ("valkey 8.0.1", "valkey 9.1.2"),
    ("redis 7.4.0", "redis 8.0.2"),
    ("redis 8.0.2", "redis 7.4.1"),
    ("redis 8.0.6", "redis 8.0.2"),
    ("redis 8.4.0", "redis 9.0.0"),
    ("valkey 9.1.2", "valkey 9.0.1"),
]
CANNOT = [
    ("redis 8.0.2", "valkey 9.1.2"),
    ("redis 7.4.0", "valkey 8.1.4"),
    ("redis 7.4.0", "redis 7.2.4"),
    ("redis 7.2.4", "redis 7.0.15"),
    ("redis 8.2.0", "redis 8.0.2"),
    ("valkey 8.1.4", "redis 7.0.15"),
    ("valkey 9.1.2", "redis 8.0.2"),
    ("valkey 9.1.2", "valkey 8.1.4"),
    ("valkey 9.0.0", "redis 8.4.0"),
]


def engine(text: str) -> Engine:
    found = Engine.parse(text)
    assert found
    return found


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(*pair, True) for pair in READS] + [(*pair, False) for pair in CANNOT]
)
def test_who_reads_whose_data(old: str, new: str, expected: bool) -> None:
    assert engine(new).reads(engine(old)) is expected


def test_a_server_is_known_by_what_it_prints() -> None:
    assert str(engine("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")) == "redis 7.0.15"
    assert str(engine("Valkey server v=8.1.4 sha=00000000:0")) == "valkey 8.1.4"
    assert Engine.parse("nginx version: 1.2.3") is None


def test_a_running_server_is_known_by_its_info() -> None:
    assert str(Engine.of_info("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n")) == "redis 7.0.15"
    of_valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.4\r\n"
    assert str(Engine.of_info(of_valkey)) == "valkey 8.1.4"
    assert Engine.of_info("") is None


IDENTITY = {
    "stack": "not-up",
    "mode": "sentinel",
    "master_name": "m",
    "passwords": {"app": "x"},
    "accepted": {"app": ["x"]},
}


@pytest.mark.parametrize(
    ("recorded", "running", "new", "refused"),
    [
        ("", "valkey 8.1.4", "redis 7.0.15", True),  # an `up` to an image that is not there has failed
        ("valkey 9.0.1", "valkey 8.1.4", "valkey 8.1.4", False),  # the way back from one that failed at its first node
        ("redis 7.0.15", "", "valkey 9.0.1", False),
        ("valkey 9.0.1", "", "valkey 8.1.4", True),
    ],
)
def test_what_runs_counts_more_than_what_the_last_up_declared(
    recorded: str, running: str, new: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_server, "running", lambda *_: Engine.parse(running))
    check = IdentityProvider().check(IDENTITY | {"engine": recorded}, IDENTITY | {"engine": new})
    assert bool(check.failures) is refused


def test_a_stack_whose_state_was_lost_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_server, "running", lambda *_: Engine.parse("valkey 8.1.4"))
    assert IdentityProvider().check({}, IDENTITY | {"engine": "redis 7.0.15"}).failures
    assert not IdentityProvider().check({}, IDENTITY | {"engine": "valkey 8.1.4"}).failures


def test_it_is_the_masters_server_that_runs() -> None:
    def node(role: str, version: str, code: int = 0) -> running_server.Ask:
        return lambda *_commands: (code, f'["{role}",0,[]]\n.\nredis_version:{version}\n.\n')

    silent = node("master", "6.0", code=1)
    assert str(running_server.engine_of([silent, node("slave", "8.2.0"), node("master", "7.0.15")])) == "redis 7.0.15"
    assert running_server.engine_of([node("slave", "8.2.0"), silent]) is None


@pytest.mark.parametrize(("old", "new"), [*READS, *CANNOT])
def test_an_engine_that_cannot_read_the_data_is_refused_with_both_names(old: str, new: str) -> None:
    props = IDENTITY
    failures = IdentityProvider().check(props | {"engine": old}, props | {"engine": new}).failures
    assert bool(failures) is ((old, new) in CANNOT)
    for failure in failures:
        assert f"found {new}, which cannot read the data of {old}" in failure.reason
        assert "nothing was changed" in failure.reason
