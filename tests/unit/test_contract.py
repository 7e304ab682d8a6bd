"""The contract survives a round trip through REDIS_* variables and a shell; bad ones are refused, all at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.contract import Contract, Endpoint, NodeAddress, OperatorContract, render_env
from infra.problems import ConfigurationError, Problem

MARKER = "MaRkEr-5f0c2"

CONTRACT = OperatorContract(
    sentinel_enabled=True,
    master_name="redis-dev",
    sentinels=(Endpoint("127.0.0.1", 27380), Endpoint("sentinel-1.local", 27381), Endpoint("[::1]", 27382)),
    username="app",
    password=SecretStr(f"{MARKER}-app"),
    sentinel_username="app",
    sentinel_password=SecretStr(f"{MARKER}-sentinel"),
    tls=False,
    tls_ca_file=None,
    host="127.0.0.1",
    port=7380,
    stack="dev",
    nodes=(NodeAddress("data-0", Endpoint("127.0.0.1", 7380)), NodeAddress("data-1", Endpoint("127.0.0.1", 7381))),
    quorum=2,
    down_after_ms=2000,
    users={user: SecretStr(f"{MARKER}-{user}") for user in ("replica", "sentinel", "monitor", "operator")},
)
ENV = CONTRACT.to_env()


def problems_of(changes: dict[str, str | None]) -> tuple[Problem, ...]:
    """The problems of the good environment with `changes` made to it; None removes a variable."""
    env = {key: value for key, value in (ENV | changes).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        OperatorContract.from_env(env, stack="dev")
    assert caught.value.stack == "dev"
    assert "stack 'dev'" in str(caught.value)
    return caught.value.problems


# what is changed, the variable blamed, what was found, a part of what is expected
BAD: list[tuple[dict[str, str | None], str, str, str]] = [
    ({"REDIS_SENTINEL_ENABLED": None}, "REDIS_SENTINEL_ENABLED", "nothing", "a value"),
    ({"REDIS_SENTINEL_ENABLED": "maybe"}, "REDIS_SENTINEL_ENABLED", "'maybe'", "true or false"),
    ({"REDIS_SENTINEL_MASTER_NAME": ""}, "REDIS_SENTINEL_MASTER_NAME", "nothing", "a value"),
    ({"REDIS_SENTINEL_MASTER_NAME": "a b"}, "REDIS_SENTINEL_MASTER_NAME", "'a b'", "no white space"),
    ({"REDIS_SENTINELS": None}, "REDIS_SENTINELS", "nothing", "a value"),
    ({"REDIS_SENTINELS": ",,"}, "REDIS_SENTINELS", "',,'", "at least 3 addresses"),
    ({"REDIS_SENTINELS": "a:1,b:2"}, "REDIS_SENTINELS", "2 different", "at least 3 different"),
    ({"REDIS_SENTINELS": "a:1,a:1,b:2"}, "REDIS_SENTINELS", "2 different", "at least 3 different"),
    ({"REDIS_SENTINELS": "a:1,b:2,c"}, "REDIS_SENTINELS", "'c'", "host:port"),
    ({"REDIS_SENTINELS": "a:1,b:2,:3"}, "REDIS_SENTINELS", "':3'", "host:port"),
    ({"REDIS_SENTINELS": "a:1,b:2,c:0"}, "REDIS_SENTINELS", "'c:0'", "a port from 1 to 65535"),
    ({"REDIS_SENTINELS": "a:1,b:2,c:65536"}, "REDIS_SENTINELS", "'c:65536'", "a port from 1 to 65535"),
    ({"REDIS_SENTINELS": "a:1,b:2,c:x"}, "REDIS_SENTINELS", "'c:x'", "a port from 1 to 65535"),
    ({"REDIS_SENTINELS": f"a:1,b:2,c:{'9' * 5000}"}, "REDIS_SENTINELS", f"'c:{'9' * 5000}'", "a port from 1"),
    ({"REDIS_SENTINELS": f"a:1,b:2,u:{MARKER}@c:x"}, "REDIS_SENTINELS", "'...@c:x'", "host:port"),
    ({"REDIS_PASSWORD": None}, "REDIS_PASSWORD", "nothing", "a password"),
    ({"REDIS_SENTINEL_PASSWORD": ""}, "REDIS_SENTINEL_PASSWORD", "nothing", "a password"),
    ({"REDIS_USER_MONITOR_PASSWORD": None}, "REDIS_USER_MONITOR_PASSWORD", "nothing", "a password"),
    ({"REDIS_TLS": "1"}, "REDIS_TLS", "'1'", "true or false"),
    ({"REDIS_TLS": "true", "REDIS_TLS_CA_FILE": None}, "REDIS_TLS_CA_FILE", "nothing", "with the CA's certificate"),
    ({"REDIS_TLS": "true", "REDIS_TLS_CA_FILE": " "}, "REDIS_TLS_CA_FILE", "nothing", "the system's own file, if"),
    ({"REDIS_TLS": "true", "REDIS_TLS_CA_FILE": "/none/ca.pem"}, "REDIS_TLS_CA_FILE", "'/none/ca.pem'", "a readable"),
    ({"REDIS_TLS": "true", "REDIS_TLS_CA_FILE": "n" * 300}, "REDIS_TLS_CA_FILE", f"'{'n' * 300}'", "a readable file"),
    ({"REDIS_HOST": None}, "REDIS_HOST", "nothing", "a value"),
    ({"REDIS_HOST": "host:6379"}, "REDIS_HOST", "'host:6379'", "without a port"),
    ({"REDIS_HOST": f"redis://:{MARKER}@host"}, "REDIS_HOST", "'...@host'", "a host name"),
    ({"REDIS_PORT": "http"}, "REDIS_PORT", "'http'", "a port from 1 to 65535"),
    ({"REDIS_PORT": "0"}, "REDIS_PORT", "'0'", "a port from 1 to 65535"),
    ({"REDIS_PORT": "9" * 5000}, "REDIS_PORT", f"'{'9' * 5000}'", "a port from 1 to 65535"),
    ({"REDIS_DB": "-1"}, "REDIS_DB", "'-1'", "a database's number"),
    ({"REDIS_DB": "one"}, "REDIS_DB", "'one'", "a database's number"),
    ({"REDIS_DB": "9" * 5000}, "REDIS_DB", f"'{'9' * 5000}'", "a database's number"),
    ({"REDIS_STACK": ""}, "REDIS_STACK", "nothing", "a value"),
    ({"REDIS_NODES": "127.0.0.1:7380"}, "REDIS_NODES", "'127.0.0.1:7380'", "name=host:port"),
    ({"REDIS_NODES": ","}, "REDIS_NODES", "','", "at least one"),
    ({"REDIS_SENTINEL_QUORUM": "0"}, "REDIS_SENTINEL_QUORUM", "'0'", "a whole number above 0"),
    ({"REDIS_SENTINEL_QUORUM": "9" * 5000}, "REDIS_SENTINEL_QUORUM", f"'{'9' * 5000}'", "a whole number above 0"),
    ({"REDIS_DOWN_AFTER_MS": "2s"}, "REDIS_DOWN_AFTER_MS", "'2s'", "a whole number above 0"),
]


@pytest.mark.parametrize(("changes", "key", "found", "expected"), BAD, ids=lambda value: str(value)[:40])
def test_one_mistake_gives_one_problem(changes: dict[str, str | None], key: str, found: str, expected: str) -> None:
    (problem,) = problems_of(changes)
    assert problem.key == key
    assert problem.found == found
    assert expected in problem.expected
    assert problem.remedy == f"set {key} to what `make -s env STACK=...` prints"
    assert MARKER not in str(problem)


def test_five_mistakes_give_five_problems_at_once() -> None:
    mistakes: dict[str, str | None] = {
        "REDIS_SENTINEL_MASTER_NAME": "a b",
        "REDIS_SENTINELS": ",",
        "REDIS_PASSWORD": None,
        "REDIS_PORT": "x",
        "REDIS_NODES": ",",
    }
    assert [problem.key for problem in problems_of(mistakes)] == list(mistakes)


def test_the_contract_survives_the_environment() -> None:
    assert OperatorContract.from_env(ENV) == CONTRACT


def test_an_application_reads_its_part_of_the_environment() -> None:
    contract = Contract.from_env(ENV)
    assert type(contract) is Contract
    assert contract.standalone == Endpoint("127.0.0.1", 7380)
    assert contract.to_env().items() <= ENV.items()
    assert "REDIS_USER_OPERATOR_PASSWORD" not in contract.to_env()


def test_tls_and_its_ca_survive_the_environment(tmp_path: Path) -> None:
    ca = tmp_path / "the ca.pem"
    ca.touch()
    contract = CONTRACT.model_copy(update={"tls": True, "tls_ca_file": ca})
    assert OperatorContract.from_env(contract.to_env()) == contract


def test_standalone_needs_only_an_address_and_a_password() -> None:
    env = {
        "REDIS_SENTINEL_ENABLED": "false",
        "REDIS_HOST": "db",
        "REDIS_PORT": "6379",
        "REDIS_PASSWORD": f"{MARKER} with spaces ",
    }
    contract = Contract.from_env(env)
    assert (contract.sentinel_enabled, contract.sentinels, contract.standalone) == (False, (), Endpoint("db", 6379))
    assert contract.password.get_secret_value() == env["REDIS_PASSWORD"]
    assert Contract.from_env(contract.to_env()) == contract


def test_a_database_is_the_application_s_choice() -> None:
    assert Contract.from_env({key: value for key, value in ENV.items() if key != "REDIS_DB"}).db == 0
    chosen = Contract.from_env(ENV | {"REDIS_DB": " 3 "})
    assert (chosen.db, Contract.from_env(chosen.to_env())) == (3, chosen)


def test_white_space_around_items_is_tolerated() -> None:
    spaced = {"REDIS_SENTINELS": " a:1 , b:2,\tc:3 ,", "REDIS_PORT": " 7380 ", "REDIS_SENTINEL_ENABLED": " TRUE "}
    contract = Contract.from_env(ENV | spaced)
    assert contract.sentinels == (Endpoint("a", 1), Endpoint("b", 2), Endpoint("c", 3))
    assert contract.port == 7380
    assert contract.sentinel_enabled


def test_contracts_and_their_errors_do_not_show_passwords() -> None:
    with pytest.raises(ConfigurationError) as caught:
        OperatorContract.from_env({key: value for key, value in ENV.items() if "PASSWORD" in key})
    for text in (repr(CONTRACT), str(CONTRACT), CONTRACT.model_dump_json(), str(caught.value), repr(caught.value)):
        assert MARKER not in text


def read_by_a_shell(text: str, folder: Path) -> dict[str, str]:
    """The variables that `set -a; . FILE` sets in an otherwise empty environment."""
    file = folder / "env"
    file.write_text(text, encoding="utf-8")
    script = 'set -a; . "$1"; env -0'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", str(file)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        timeout=10,
    )
    pairs = (item.partition("=") for item in shell.stdout.decode().split("\0") if item)
    return {key: value for key, _, value in pairs if key.startswith("REDIS_")}


@pytest.mark.parametrize(
    "value", ["plain", "", "two words", "a'b\"c", "$HOME `id` $(id)", "back\\slash", "#comment", "a\nb", "é;&|<>*~!"]
)
def test_a_shell_reads_back_what_was_rendered(value: str, tmp_path: Path) -> None:
    env = ENV | {"REDIS_PASSWORD": value}
    assert read_by_a_shell(render_env(env), tmp_path) == env


NAMES = st.sampled_from(sorted(ENV))


@hypothesis_settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(NAMES, st.text(max_size=20), max_size=4), complete=st.booleans())
def test_any_environment_is_a_contract_or_refused(changes: dict[str, str], complete: bool) -> None:
    env = ENV | changes if complete else changes
    try:
        contract = OperatorContract.from_env(env)
    except ConfigurationError as error:
        assert error.problems
    else:
        assert OperatorContract.from_env(contract.to_env()) == contract
