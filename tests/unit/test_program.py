"""What the program registers, seen by a mocked engine: which resources, in which order, with what in the clear."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pulumi
import pytest

from infra import program
from infra.contract import Contract, OperatorContract
from infra.problems import ConfigurationError, Problem
from infra.settings import Settings
from infra.targets.base import SCRIPTS, Target
from infra.targets.servers import NoServerFound, Servers
from infra.topology import Kind
from tests.unit.mocked_engine import Engine, is_secret, run
from tests.unit.samples import MARKER, PASSWORDS, declared, digest_of

COMPONENT = "redis-sentinel:index:RedisSentinel"
NODE = "pulumi-python:dynamic/process:Node"
CONVERGENCE = "pulumi-python:dynamic/process:Convergence"
SERVERS = Servers(Path("/x/valkey-server"), Path("/x/valkey-cli"), "9.1.2", "valkey", False, "tests")


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is looked for; folders are named, never made."""
    monkeypatch.setattr("infra.targets.process.find_servers", lambda: SERVERS)
    monkeypatch.setenv("REDIS_STATE_DIR", "/nowhere")
    # The program's way of being interrupted is not these tests'.
    monkeypatch.setattr("signal.signal", lambda *_: None)


def registered(**overrides: str) -> Engine:
    """What the component registers for stack dev with these settings, after every registration has landed."""
    return run(lambda: program.RedisSentinel("redis-dev", "dev", declared(**overrides)))


# settings, names of the nodes in the order in which they are made
ORDERS: list[tuple[dict[str, str], str]] = [
    ({}, "data-2 data-1 data-0 sentinel-0 sentinel-1 sentinel-2"),
    ({"mode": "standalone"}, "data-0"),
    (
        {"replicas": "4", "sentinels": "5"},
        "data-4 data-3 data-2 data-1 data-0 sentinel-0 sentinel-1 sentinel-2 sentinel-3 sentinel-4",
    ),
]


@pytest.mark.parametrize(("overrides", "order"), ORDERS, ids=["defaults", "standalone", "bigger"])
def test_nodes_are_made_one_at_a_time_and_the_first_data_node_after_the_replicas(
    overrides: dict[str, str], order: str
) -> None:
    engine = registered(**overrides)
    names = order.split()
    expected = {name: {before} for before, name in pairwise(names)} | {names[0]: set()}
    assert {node.name: node.depends_on for node in engine.of_type(NODE)} == expected
    assert len(engine.of_type(NODE)) == len(names)


@pytest.mark.parametrize(("overrides", "order"), ORDERS, ids=["defaults", "standalone", "bigger"])
def test_agreement_is_awaited_last(overrides: dict[str, str], order: str) -> None:
    (convergence,) = registered(**overrides).of_type(CONVERGENCE)
    assert convergence.depends_on == {order.split()[-1]}
    assert convergence.properties["folders"] == [f"/nowhere/nodes/dev/{name}" for name in order.split()]


def test_nothing_else_is_registered_and_all_of_it_belongs_to_the_component() -> None:
    engine = registered()
    assert len(engine.registered) == 1 + 1 + 6 + 1
    (component,) = engine.of_type(COMPONENT)
    assert component.name == "redis-dev"
    assert {each.parent for each in engine.registered if each != component} == {"redis-dev"}


def test_everything_waits_for_what_may_be_refused() -> None:
    engine = registered()
    waiting = {each.name for each in engine.registered if each.after_identity}
    assert waiting == {each.name for each in engine.registered} - {"redis-dev", "identity"}


def test_the_identity_knows_passwords_only_as_secrets() -> None:
    (identity,) = registered().of_type("pulumi-python:dynamic/stack:Identity")
    assert identity.plain == {"engine": "valkey 9.1.2", "stack": "dev", "mode": "sentinel", "master_name": "redis-dev"}


@pytest.mark.parametrize(("files", "told"), [(64, "32 fit"), (20, "0 fit"), (10_032, ""), (-1, "")])
def test_it_says_how_many_clients_fit_when_the_users_limit_is_small(
    files: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("resource.getrlimit", lambda _what: (64, files))
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    registered()
    assert [told in each and "ulimit -n 10032" in each for each in warned] == ([True] if told else [])


@pytest.mark.parametrize("folder", ["/my space", "/it's", "/a$b", '/"q"', "/new\nline", "/tab\there"])
def test_a_path_that_no_file_takes_as_it_is_is_one_problem_with_a_remedy(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_STATE_DIR", folder)
    with pytest.raises(ConfigurationError) as refused:
        registered()
    (problem,) = refused.value.problems
    assert repr(folder)[1:-1] in problem.found
    assert "REDIS_STATE_DIR" in problem.remedy


@pytest.mark.parametrize("protect", ["true", "false"])
def test_what_every_shape_of_the_stack_has_is_protected_when_the_settings_say_so(protect: str) -> None:
    kept = {each.name for each in registered(protect=protect).registered if each.protect}
    assert kept == ({"identity", "data-0"} if protect == "true" else set())


def test_what_holds_secrets_is_registered_as_a_secret() -> None:
    engine = registered()
    for node in engine.of_type(NODE):
        assert is_secret(node.properties["secret_files"])
    (convergence,) = engine.of_type(CONVERGENCE)
    assert is_secret(convergence.properties["contract"])
    outputs = engine.outputs["redis-dev"]
    assert outputs.keys() == {"contract", "operatorContract"}
    assert all(map(is_secret, outputs.values()))


def test_no_password_and_no_digest_of_one_is_registered_in_the_clear() -> None:
    engine = registered()
    plain = json.dumps([each.plain for each in engine.registered])
    assert "data-2" in plain
    assert MARKER not in plain
    assert not [user for user in PASSWORDS if digest_of(user) in plain]


def test_the_providers_that_the_state_keeps_are_small_and_know_no_secret() -> None:
    engine = registered()
    for each in engine.of_type(NODE) + engine.of_type(CONVERGENCE):
        pickled = base64.b64decode(each.provider)
        assert 0 < len(pickled) < 200
        assert MARKER.encode() not in pickled


def test_the_contract_is_the_applications_and_the_operators_is_whole() -> None:
    outputs = registered().outputs["redis-dev"]
    application = outputs["contract"]["value"]
    assert Contract.from_env(application).password.get_secret_value() == PASSWORDS["app"]
    assert [user for user in PASSWORDS if PASSWORDS[user] in str(application)] == ["app"]
    operators = OperatorContract.from_env(outputs["operatorContract"]["value"])
    assert operators.application() == Contract.from_env(application)
    assert [address.name for address in operators.nodes] == ["data-0", "data-1", "data-2"]
    assert (operators.stack, operators.quorum, len(operators.sentinels)) == ("dev", 2, 3)
    assert {user: secret.get_secret_value() for user, secret in operators.users.items()} == {
        user: password for user, password in PASSWORDS.items() if user != "app"
    }


def test_a_standalone_contract_has_no_sentinels() -> None:
    operators = OperatorContract.from_env(
        registered(mode="standalone").outputs["redis-dev"]["operatorContract"]["value"]
    )
    assert (operators.sentinel_enabled, operators.sentinels, len(operators.nodes)) == (False, (), 1)


def test_a_nodes_properties_are_these_and_none_is_a_role() -> None:
    engine = registered()
    assert {frozenset(node.properties) for node in engine.of_type(NODE)} == {
        frozenset({"folder", "files", "secret_files", "scripts"})
    }
    assert {frozenset(each.properties) for each in engine.of_type(CONVERGENCE)} == {
        frozenset({"contract", "folders", "digest"})
    }


def test_no_data_node_is_declared_as_the_master() -> None:
    """Their properties differ in names, addresses and folders, so no property can tell who is master."""
    own = re.compile("(NODE_NAME|NODE_PORT|CONF_DIR|DATA_DIR|RUN_DIR)=.*|(port|replica-announce-port) .*")
    seen = set()
    for node in registered().of_type(NODE):
        if node.name.startswith("data-"):
            assert node.properties["folder"] == f"/nowhere/nodes/dev/{node.name}"
            shared = {key: value for key, value in node.properties.items() if key != "folder"}
            shared["files"] = {name: own.sub("", text) for name, text in shared["files"].items()}
            seen.add(json.dumps(shared, sort_keys=True))
    assert len(seen) == 1


def test_the_scripts_are_the_files_as_they_are() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in SCRIPTS.glob("*.sh")}
    assert {"start.sh", "stop.sh", "probe.sh", "handover.sh", "lib.sh"} <= files.keys()
    for node in registered().of_type(NODE):
        assert node.properties["scripts"] == files


def test_the_same_settings_register_the_same() -> None:
    assert registered().registered == registered().registered


@pytest.mark.parametrize("change", [{"maxmemory": "128mb"}, {"appPassword": f"{MARKER}-another-one"}])
def test_a_change_of_any_node_makes_convergence_look_again(change: dict[str, str]) -> None:
    (before,), (after,) = (registered(**overrides).of_type(CONVERGENCE) for overrides in ({}, change))
    assert before.properties["digest"] != after.properties["digest"]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("target", program.TARGETS.values(), ids=program.TARGETS)
def test_a_target_gives_every_node_an_address_of_its_own(target: Callable[[Settings], Target], kind: Kind) -> None:
    assert len({target(declared()).address(kind, index) for index in range(3)}) == 3


@pytest.mark.parametrize("name", ["process", "docker"])
def test_where_addresses_are_fixed_none_is_a_name(name: str) -> None:
    assert ip_address(program.TARGETS[name](declared()).address(Kind.DATA, 0).host)


def test_the_program_exports_both_contracts_as_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: dict[str, asyncio.Future[bool]] = {}
    monkeypatch.setattr(program, "load", declared)
    monkeypatch.setattr(
        pulumi, "export", lambda name, output: exported.update({name: asyncio.ensure_future(output.is_secret())})
    )
    engine = run(program.main)
    assert {name: secret.result() for name, secret in exported.items()} == {"contract": True, "operatorContract": True}
    assert [each.name for each in engine.of_type(COMPONENT)] == ["redis-dev"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("dev", [Problem("tls", "'yes'", "true or false", "set it")]),
        NoServerFound("no server serves"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_made_ends_the_program_with_one_message(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def refuse() -> Settings:
        raise error

    monkeypatch.setattr(program, "load", refuse)
    monkeypatch.setattr(pulumi.log, "error", told.append)
    with pytest.raises(SystemExit):
        program.main()
    assert told == [str(error)]


def test_tls_on_a_server_without_it_is_one_problem_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError) as refused:
        registered(tls="true")
    (problem,) = refused.value.problems
    assert problem.key == "tls"
    assert "/x/valkey-server (tests) is built without TLS" in problem.found
    assert "REDIS_SERVER_BINARY" in problem.remedy
