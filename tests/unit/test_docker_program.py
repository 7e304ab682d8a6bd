"""What the docker target registers: how bare each container is, what is secret, what comes before what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra import program
from infra.targets.docker_control import STOP_TIMEOUT_S
from tests.unit.mocked_engine import Engine, Registered, is_secret, run
from tests.unit.samples import MARKER, PASSWORDS, declared, digest_of

PINNED = f"sha256:{'0123456789abcdef' * 4}"
OTHER = f"sha256:{'fedcba9876543210' * 4}"
SETTINGS = {
    "target": "docker",
    "image": PINNED,
    "gatewayImage": PINNED,
    "firewallImage": PINNED,
    "subnet": "10.201.7.0/24",
    "dockerHost": "ssh://ops@10.0.0.7",
}
CONTAINER = "docker:index/container:Container"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"
FILES = "pulumi-python:dynamic/docker:Files"
GATEWAY_FILES = "pulumi-python:dynamic/docker:GatewayFiles"
FIREWALL = "pulumi-python:dynamic/docker:Firewall"
READY = "pulumi-python:dynamic/docker:Ready"
CONVERGENCE = "pulumi-python:dynamic/docker:Convergence"

NODES = ["data-2", "data-1", "data-0", "sentinel-0", "sentinel-1", "sentinel-2"]
ROLE = re.compile(r"\b(master|replica|slave|primary)\b", re.IGNORECASE)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_STATE_DIR", "/nowhere")


def registered(**overrides: str) -> Engine:
    """What the component registers for stack dev with these settings."""
    return run(lambda: program.RedisSentinel("redis-dev", "dev", declared(**(SETTINGS | overrides))))


@pytest.fixture(scope="module")
def engine() -> Engine:
    """After `up` of the whole: TLS, gateway, firewall."""
    return registered(tls="true")


@pytest.fixture(scope="module")
def plain() -> Engine:
    """The same without TLS."""
    return registered()


def containers(engine: Engine) -> dict[str, Registered]:
    return {each.name: each for each in engine.of_type(CONTAINER)}


def files(engine: Engine, type_: str = FILES) -> dict[str, Registered]:
    return {each.name.removesuffix("-files"): each for each in engine.of_type(type_)}


def test_there_is_one_container_for_each_node_the_gateway_and_the_guard(engine: Engine) -> None:
    assert sorted(containers(engine)) == sorted([*NODES, "gateway", "firewall-guard"])
    assert list(files(engine)) == NODES
    names = [each.properties["name"] for each in engine.of_type(CONTAINER)]
    assert len(set(names)) == len(names)


def test_no_node_is_told_who_is_master(engine: Engine) -> None:
    """Roles are decided at run time: a container that named one would be replaced after a failover."""
    for name in NODES:
        assert not ROLE.search(json.dumps(containers(engine)[name].properties)), name


@pytest.mark.parametrize("name", [*NODES, "gateway"])
def test_a_container_may_do_nothing_that_it_does_not_need(name: str, engine: Engine) -> None:
    properties = containers(engine)[name].properties
    assert properties["readOnly"] is True
    assert properties["user"] == "999:999"
    assert properties["capabilities"] == {"drops": ["ALL"]}
    assert properties["securityOpts"] == ["no-new-privileges:true"]
    assert not {"privileged", "ports", "uploads", "devices", "networkMode", "pidMode"} & properties.keys()


def test_the_guard_may_change_the_hosts_rules_and_nothing_else(engine: Engine) -> None:
    properties = containers(engine)["firewall-guard"].properties
    assert properties["capabilities"] == {"drops": ["ALL"], "adds": ["CAP_NET_ADMIN"]}
    assert properties["securityOpts"] == ["no-new-privileges"]
    assert properties["networkMode"] == "host"
    assert not {"privileged", "volumes", "mounts", "ports", "devices", "pidMode"} & properties.keys()


def test_every_container_has_limits_and_comes_back(engine: Engine) -> None:
    for name, container in containers(engine).items():
        assert container.properties["memory"] > 0, name
        assert container.properties["logDriver"] == "json-file", name
        assert {"max-size", "max-file"} == container.properties["logOpts"].keys(), name
        assert container.properties["restart"] == "always", name


@pytest.mark.parametrize(("maxmemory", "mib"), [("64mb", 192), ("1gb", 2112)])
def test_a_data_node_has_room_to_save_all_its_data(maxmemory: str, mib: int) -> None:
    made = containers(registered(maxmemory=maxmemory))
    assert {(made[name].properties["memory"], made[name].properties["memorySwap"]) for name in NODES[:3]} == {
        (mib, mib)
    }


def test_no_container_has_an_environment(engine: Engine) -> None:
    """Whoever may inspect a container would read it."""
    assert not [name for name, each in containers(engine).items() if "envs" in each.properties]


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_the_time_to_hand_over_before_it_is_stopped(name: str, engine: Engine) -> None:
    properties = containers(engine)[name].properties
    assert (properties["stopSignal"], properties["stopTimeout"]) == ("SIGTERM", STOP_TIMEOUT_S)
    assert properties["destroyGraceSeconds"] == STOP_TIMEOUT_S
    assert properties["healthcheck"]["tests"][-1] == "live"


def test_the_gateways_health_is_what_its_own_page_says(engine: Engine) -> None:
    check = containers(engine)["gateway"].properties["healthcheck"]
    assert check["tests"][:2] == ["CMD", "bash"]
    assert check["tests"][-2:] == ["10.201.7.5", "8404"]


def test_a_published_port_is_under_the_rules_and_in_the_certificates() -> None:
    made = registered(tls="true", gatewayPublish="192.168.7.5:16379", clients='["192.168.8.0/24"]')
    published = {
        name: each.properties["ports"] for name, each in containers(made).items() if "ports" in each.properties
    }
    assert published == {
        "gateway": [{"internal": 6379, "external": 16379, "ip": "192.168.7.5", "protocol": "tcp"}],
    }
    (rules,) = (each.properties for each in made.of_type(FIREWALL))
    assert "ip daddr 192.168.7.5 tcp dport 16379" in rules["script"]
    assert "published: 192.168.7.5:16379 leads to gateway TCP 6379, by these rules" in rules["rules"]
    certified = {each.name for each in made.registered if "192.168.7.5" in each.properties.get("names", [])}
    assert certified == {f"data-{index}-certificate" for index in range(3)}


def test_a_container_is_gone_before_its_successor_comes(engine: Engine) -> None:
    """Both would have the same name and address."""
    assert {each.name for each in engine.of_type(CONTAINER) if not each.replaced_after_deletion} == set()


def test_addresses_are_fixed_and_leave_the_upper_half_to_clients(engine: Engine) -> None:
    (network,) = engine.of_type(NETWORK)
    assert network.properties["ipamConfigs"] == [
        {"subnet": "10.201.7.0/24", "ipRange": "10.201.7.128/25", "gateway": "10.201.7.1"}
    ]
    addresses = {
        name: [each["ipv4Address"] for each in container.properties["networksAdvanced"]]
        for name, container in containers(engine).items()
        if name != "firewall-guard"
    }
    assert addresses == {
        "gateway": ["10.201.7.5"],
        **{f"data-{index}": [f"10.201.7.{10 + index}"] for index in range(3)},
        **{f"sentinel-{index}": [f"10.201.7.{30 + index}"] for index in range(3)},
    }


def test_what_holds_secrets_is_registered_as_a_secret(engine: Engine) -> None:
    for each in (*files(engine).values(), *files(engine, GATEWAY_FILES).values()):
        assert is_secret(each.properties["secret_files"]), each.name
    assert all(map(is_secret, engine.outputs["redis-dev"].values()))


@pytest.mark.parametrize("tls", ["true", "false"])
def test_no_password_and_no_digest_of_one_is_registered_in_the_clear(tls: str) -> None:
    upcoming = {f"{user}PasswordNext": f"{MARKER}-{user}-next-Zx8" for user in PASSWORDS}
    made = registered(tls=tls, **upcoming)
    plain = json.dumps([each.plain for each in made.registered])
    assert "data-2" in plain
    assert MARKER not in plain
    assert not [user for user in PASSWORDS if digest_of(user) in plain]
    assert "PRIVATE KEY" not in plain


def test_rules_come_before_nodes_each_node_before_the_next_and_the_gateway_last(engine: Engine) -> None:
    after = {(each.type, each.name): each.depends_on for each in engine.registered}
    (guard,) = (each for each in engine.of_type(CONTAINER) if each.name == "firewall-guard")
    assert guard.depends_on == {"firewall"}
    previous = {"firewall", "firewall-guard"}
    for name in NODES:
        assert after[FILES, f"{name}-files"] >= previous | {f"{name}-data"}, name
        assert f"{name}-files" in after[CONTAINER, name]
        assert name in after[READY, f"{name}-ready"]
        previous = {f"{name}-ready"}
    assert "sentinel-2-ready" in after[CONVERGENCE, "convergence"]
    assert "convergence" in after[GATEWAY_FILES, "gateway-files"]
    assert "gateway-files" in after[CONTAINER, "gateway"]


def test_agreement_is_awaited_of_all_nodes(engine: Engine) -> None:
    (agreed,) = engine.of_type(CONVERGENCE)
    assert agreed.properties["containers"] == {name: f"redis-dev-{name}" for name in NODES}
    assert is_secret(agreed.properties["contract"])


@pytest.mark.parametrize("protect", ["true", "false"])
@pytest.mark.parametrize("mode", ["sentinel", "standalone"])
def test_what_holds_data_and_identity_is_protected_and_nothing_that_an_update_replaces(protect: str, mode: str) -> None:
    """In every shape of the stack the same, so that a change of its shape deletes nothing that is protected."""
    made = registered(protect=protect, mode=mode, tls="true")
    kept = {"identity", "authority", "network", "data-0-data"}
    assert {each.name for each in made.registered if each.protect} == (kept if protect == "true" else set())


def test_every_step_speaks_to_the_declared_engine(engine: Engine) -> None:
    (provider,) = engine.of_type("pulumi:providers:docker")
    assert provider.properties["host"] == "ssh://ops@10.0.0.7"
    dynamic = [each for each in engine.registered if "dynamic/docker" in each.type]
    assert {each.properties["host"] for each in dynamic} == {"ssh://ops@10.0.0.7"}


@pytest.mark.parametrize(
    ("overrides", "absent"),
    [
        ({"firewall": "false", "firewallImage": ""}, {"firewall-guard"}),
        ({"gateway": "false", "gatewayImage": ""}, {"gateway"}),
        ({"mode": "standalone"}, set(NODES) - {"data-0"}),
    ],
    ids=["firewall", "gateway", "standalone"],
)
def test_what_is_switched_off_is_not_there(overrides: dict[str, str], absent: set[str]) -> None:
    made = registered(**overrides)
    assert {*NODES, "gateway", "firewall-guard"} - containers(made).keys() == absent
    assert len(made.of_type(FIREWALL)) == ("firewall" not in overrides)


def changed(olds: Engine, news: Engine) -> set[str]:
    """The containers whose inputs differ: each is replaced."""
    before, after = containers(olds), containers(news)
    return {name for name in before if before[name].properties != after[name].properties}


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({}, set()),
        ({"downAfterMs": "3000"}, set()),
        ({"appPasswordNext": "a-Next-0ne-4fQ2-Zx8"}, set()),
        ({"maxmemoryPolicy": "allkeys-lru"}, set()),
        ({"image": OTHER}, set(NODES)),
        ({"gatewayImage": OTHER}, {"gateway"}),
        ({"firewallImage": OTHER}, {"firewall-guard"}),
        ({"clients": '["10.9.0.0/16"]'}, {"firewall-guard"}),
    ],
    ids=lambda value: ",".join(value) or "none",
)
def test_a_container_is_replaced_for_what_it_is_made_of_alone(
    change: dict[str, Any], replaced: set[str], plain: Engine
) -> None:
    assert changed(plain, registered(**change)) == replaced


def test_nodes_that_get_other_passwords_have_to_agree_again(plain: Engine) -> None:
    """Their change restarts no container. Without it nobody would wait until all nodes have taken them."""
    other = registered(appPassword=f"{MARKER}-another-one-Zx8")
    (before,), (after,), (same,) = (each.of_type(CONVERGENCE) for each in (plain, other, registered()))
    assert before.properties["trigger"] == same.properties["trigger"]
    assert before.properties["trigger"] != after.properties["trigger"]
