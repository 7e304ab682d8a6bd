"""The configuration is read strictly: every mistake is reported at once, with what was found and how to fix it."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

import infra.settings
from infra.problems import ConfigurationError, Problem
from infra.setting_reader import DevFiles
from infra.settings import OPTIONS, USERS, Settings, load, parse, stop

MARKER = "MaRkEr-5f0c2"
PEM = "-----BEGIN CERTIFICATE-----\nTWFSa0VS\n-----END CERTIFICATE-----\n"
KEY_PEM = PEM.replace("CERTIFICATE", "EC PRIVATE KEY")
SECRETS = {f"{user}Password": f"{MARKER}-{user}-Zx8" for user in USERS}
GOOD = {"target": "process", **SECRETS}
PINNED = f"sha256:{'0123456789abcdef' * 4}"
DOCKER = {
    "target": "docker",
    "image": f"redis@{PINNED}",
    "gatewayImage": PINNED,
    "firewallImage": PINNED,
}


def on_docker(changes: dict[str, str | None]) -> dict[str, str | None]:
    """The changes that make the good configuration one of the docker target, with `changes` made to that."""
    return {**DOCKER, **changes}


def problems_of(
    changes: Mapping[str, str | None],
    stack: str = "staging",
    secret_keys: frozenset[str] | None = None,
    dev_files: DevFiles | None = None,
) -> tuple[Problem, ...]:
    """The problems of the good configuration with `changes` made to it; None removes a key."""
    raw = {key: value for key, value in (GOOD | dict(changes)).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        parse(stack, raw, secret_keys=secret_keys, dev_files=dev_files)
    assert caught.value.stack == stack
    assert f"stack '{stack}'" in str(caught.value)
    return caught.value.problems


# what is changed, the key blamed, what was found, a part of what is expected, a part of the remedy
BAD: list[tuple[dict[str, str | None], str, str, str, str]] = [
    ({"target": None}, "target", "nothing", "process", "pulumi config set target process --stack staging"),
    ({"target": "podman"}, "target", "'podman'", "one of process, docker", "config set target process"),
    ({"target": "Process"}, "target", "'Process'", "process", "config set target process"),
    ({"mode": "cluster"}, "mode", "'cluster'", "one of sentinel, standalone", "config set mode sentinel"),
    ({"mode": "Standalone"}, "mode", "'Standalone'", "one of", "config set mode standalone"),
    ({"masterName": ""}, "masterName", "''", "letters, digits", "config set masterName redis-staging"),
    ({"masterName": "my master"}, "masterName", "'my master'", "no white space", "masterName redis-staging"),
    ({"masterName": "m;reboot"}, "masterName", "'m;reboot'", "letters, digits", "masterName redis-staging"),
    ({"masterName": "../etc"}, "masterName", "'../etc'", "first", "masterName redis-staging"),
    ({"masterName": "m\n"}, "masterName", r"'m\n'", "no white space", "masterName redis-staging"),
    ({"masterName": "m" * 64}, "masterName", f"'{'m' * 60}...'", "at most 63", "masterName redis-staging"),
    ({"replicas": "1"}, "replicas", "'1'", "from 2 to 8", "config set replicas 2"),
    ({"replicas": "9"}, "replicas", "'9'", "from 2 to 8", "config set replicas 8"),
    ({"replicas": "three"}, "replicas", "'three'", "a whole number", "config set replicas 2"),
    ({"replicas": "3.0"}, "replicas", "'3.0'", "a whole number", "config set replicas 2"),
    ({"replicas": "+3"}, "replicas", "'+3'", "a whole number", "config set replicas 2"),
    ({"replicas": "03"}, "replicas", "'03'", "a whole number", "config set replicas 2"),
    ({"replicas": "٣"}, "replicas", "'٣'", "a whole number", "config set replicas 2"),
    ({"replicas": "9" * 5000}, "replicas", f"'{'9' * 60}...'", "a whole number", "config set replicas 2"),
    ({"replicas": " 3"}, "replicas", "' 3'", "without white space", "config set replicas 3"),
    ({"sentinels": "1"}, "sentinels", "'1'", "at least 3", "config set sentinels 3"),
    ({"sentinels": "4"}, "sentinels", "'4'", "an odd number", "config set sentinels 3"),
    ({"sentinels": "9"}, "sentinels", "'9'", "at most 7", "config set sentinels 7"),
    ({"sentinels": "[3]"}, "sentinels", "'[3]'", "3, 5 or 7", "config set sentinels 3"),
    ({"quorum": "1"}, "quorum", "'1'", "from 2 to 7", "config set quorum 2"),
    ({"sentinels": "5", "quorum": "2"}, "quorum", "'2'", "at least 3, the majority of 5", "set quorum 3"),
    ({"quorum": "4"}, "quorum", "'4'", "at most 3, the number of Sentinels", "config set quorum 2"),
    ({"sentinels": "5", "quorum": "half"}, "quorum", "'half'", "the majority", "config set quorum 3"),
    ({"dataPort": "80"}, "dataPort", "'80'", "from 1024 to 65535", "config set dataPort 1024"),
    ({"dataPort": "65536"}, "dataPort", "'65536'", "to 65535", "config set dataPort 65535"),
    ({"dataPort": "65534"}, "dataPort", "'65534'", "at most 65533", "config set dataPort 65533"),
    ({"dataPort": "10.0.0.1:6379"}, "dataPort", "'10.0.0.1:6379'", "a whole number", "config set dataPort 7380"),
    ({"sentinelPort": "65535"}, "sentinelPort", "'65535'", "at most 65533", "set sentinelPort 65533"),
    ({"sentinelPort": "7382"}, "sentinelPort", "'7382'", "clash on 7382)", "config set sentinelPort 7383"),
    ({"dataPort": "27379"}, "sentinelPort", "the default '27380'", "clash on 27380, 27381", "sentinelPort 27382"),
    ({"dataPort": "65530", "sentinelPort": "65530"}, "sentinelPort", "'65530'", "clash", "sentinelPort 65533"),
    ({"dataPort": "65533", "sentinelPort": "65531"}, "sentinelPort", "'65531'", "clash", "sentinelPort 65530"),
    ({"maxmemory": "64"}, "maxmemory", "'64'", "kb, mb or gb", "config set maxmemory 64mb"),
    ({"maxmemory": "1GB"}, "maxmemory", "'1GB'", "kb, mb or gb", "config set maxmemory 1gb"),
    ({"maxmemory": "0mb"}, "maxmemory", "'0mb'", "at least 16mb", "config set maxmemory 64mb"),
    ({"maxmemory": "16383kb"}, "maxmemory", "'16383kb'", "at least 16mb", "config set maxmemory 16mb"),
    ({"maxmemoryPolicy": "lru"}, "maxmemoryPolicy", "'lru'", "allkeys-lru", "maxmemoryPolicy noeviction"),
    ({"appendfsync": "no"}, "appendfsync", "'no'", "one of everysec, always", "set appendfsync everysec"),
    ({"downAfterMs": "500"}, "downAfterMs", "'500'", "spurious failover", "config set downAfterMs 2000"),
    ({"downAfterMs": "2s"}, "downAfterMs", "'2s'", "a whole number", "config set downAfterMs 2000"),
    ({"downAfterMs": "6000"}, "failoverTimeoutMs", "the default '10000'", "at least 12000", "Ms 12000"),
    ({"failoverTimeoutMs": "4999"}, "failoverTimeoutMs", "'4999'", "from 5000", "failoverTimeoutMs 5000"),
    ({"parallelSyncs": "3"}, "parallelSyncs", "'3'", "at most 2, the number of replicas", "parallelSyncs 2"),
    ({"parallelSyncs": "0"}, "parallelSyncs", "'0'", "from 1 to 8", "config set parallelSyncs 1"),
    ({"minReplicasToWrite": "3"}, "minReplicasToWrite", "'3'", "at most 2", "minReplicasToWrite 2"),
    ({"minReplicasMaxLag": "61"}, "minReplicasMaxLag", "'61'", "from 1 to 60", "minReplicasMaxLag 60"),
    ({"tls": "yes"}, "tls", "'yes'", "true or false", "config set tls false"),
    ({"tls": "True"}, "tls", "'True'", "true or false", "config set tls true"),
    ({"clients": "10.0.0.0/8"}, "clients", "'10.0.0.0/8'", "a list of IPv4 networks", "config set clients '[]'"),
    ({"clients": "[1]"}, "clients", "'[1]'", "a list of IPv4 networks", "config set clients '[]'"),
    ({"clients": '["10.0.0.1/8"]'}, "clients", """'["10.0.0.1/8"]'""", "write 10.0.0.0/8", """'["10.0.0.0/8"]'"""),
    ({"clients": '["10.0.0.5"]'}, "clients", """'["10.0.0.5"]'""", "write 10.0.0.5/32", """'["10.0.0.5/32"]'"""),
    ({"clients": '["10.0.0.0/33"]'}, "clients", """'["10.0.0.0/33"]'""", "'10.0.0.0/33' is none", "clients '[]'"),
    ({"monitoring": '["fd00::/8"]'}, "monitoring", """'["fd00::/8"]'""", "no IPv6 address", "monitoring '[]'"),
    ({"protect": ""}, "protect", "''", "true or false", "config set protect false"),
    ({"gateway": "true"}, "gateway", "'True'", "the process target runs no gateway", "config set gateway false"),
    ({"gatewayReadPort": "6379"}, "gatewayReadPort", "'6379'", "not use for something else", "ReadPort 1024"),
    ({"gatewayPort": "8404"}, "gatewayStatsPort", "the default '8404'", "not use for something", "StatsPort 1024"),
    (on_docker({"image": ""}), "image", "''", "an image, since target is docker", "set image 'redis@sha256:<digest>'"),
    (on_docker({"image": None}), "image", "the default ''", "an image, since target is docker", "config set image"),
    (on_docker({"image": "redis:7.2"}), "image", "'redis:7.2'", "name@sha256:<digest>", "config set image"),
    (on_docker({"image": PINNED[:-1]}), "image", f"'{PINNED[:60]}...'", "sha256:<id>", "config set image"),
    (on_docker({"image": PINNED.upper()}), "image", f"'{PINNED.upper()[:60]}...'", "sha256:<id>", "config set image"),
    (on_docker({"image": f"re dis@{PINNED}"}), "image", f"'re dis@{PINNED[:53]}...'", "sha256:<id>", "set image"),
    (
        on_docker({"gatewayImage": None}),
        "gatewayImage",
        "the default ''",
        "`make images` builds one",
        "set gatewayImage",
    ),
    (
        on_docker({"firewallImage": None}),
        "firewallImage",
        "the default ''",
        "`make images` builds",
        "set firewallImage",
    ),
    (on_docker({"gatewayImage": "haproxy:2.6"}), "gatewayImage", "'haproxy:2.6'", "name@sha256:", "set gatewayImage"),
    (on_docker({"gatewayPublish": "6379"}), "gatewayPublish", "'6379'", "of the Docker host", "set gatewayPublish ..."),
    (
        on_docker({"gatewayPublish": "0.0.0.0:6379"}),
        "gatewayPublish",
        "'0.0.0.0:6379'",
        "not 0.0.0.0",
        "set gatewayPublish ...",
    ),
    (
        on_docker({"gatewayPublish": "host:6379"}),
        "gatewayPublish",
        "'host:6379'",
        "an IPv4 address",
        "set gatewayPublish ...",
    ),
    (
        on_docker({"gatewayPublish": "10.1.1.1:0"}),
        "gatewayPublish",
        "'10.1.1.1:0'",
        "and a port",
        "set gatewayPublish ...",
    ),
    ({"gatewayPublish": "10.1.1.1:6379"}, "target", "'process'", "docker, since gatewayPublish", "set target docker"),
    (
        on_docker({"gatewayPublish": "10.1.1.1:6379", "gateway": "false"}),
        "gateway",
        "'False'",
        "true, since gatewayPublish",
        "config set gateway true",
    ),
    (
        on_docker({"gatewayPublish": "10.1.1.1:6379", "firewall": "false"}),
        "firewall",
        "'False'",
        "pass the host's own firewall by",
        "config set firewall true",
    ),
    (on_docker({"firewall": "on"}), "firewall", "'on'", "true or false", "config set firewall true"),
    ({"subnet": "8.8.8.0/24"}, "subnet", "'8.8.8.0/24'", "a private IPv4 network", "set subnet 10.201.37.0/24"),
    ({"subnet": "10.1.2.3/24"}, "subnet", "'10.1.2.3/24'", "without host bits", "set subnet 10.201.37.0/24"),
    ({"subnet": "10.1.2.0/25"}, "subnet", "'10.1.2.0/25'", "of /16 to /24", "set subnet 10.201.37.0/24"),
    ({"subnet": "10.0.0.0/15"}, "subnet", "'10.0.0.0/15'", "of /16 to /24", "set subnet 10.201.37.0/24"),
    ({"subnet": "10.1.2.0"}, "subnet", "'10.1.2.0'", "of /16 to /24", "set subnet 10.201.37.0/24"),
    ({"subnet": "fd00::/64"}, "subnet", "'fd00::/64'", "IPv4", "set subnet 10.201.37.0/24"),
    ({"subnet": "10.1.2.0/255.255.255.0"}, "subnet", "'10.1.2.0/255.255.255.0'", "of /16 to /24", "set subnet 10."),
    ({"dockerHost": "staging"}, "dockerHost", "'staging'", "ssh://user@host or tcp://", "config set dockerHost"),
    ({"dockerHost": "http://h:2375"}, "dockerHost", "'http://h:2375'", "tcp://host:port", "config set dockerHost"),
    ({"dockerHost": "ssh://h;reboot"}, "dockerHost", "'ssh://h;reboot'", "ssh://user@host", "config set dockerHost"),
    ({"dockerHost": "tcp://h:1\n"}, "dockerHost", r"'tcp://h:1\n'", "tcp://host:port", "set dockerHost tcp://h:1"),
    ({"qourum": "2"}, "qourum", "an unknown key", "did you mean quorum?", "rm qourum --stack staging"),
    ({"master_name": "m"}, "master_name", "an unknown key", "did you mean masterName?", "set masterName ..."),
    ({"TLS": "true"}, "TLS", "an unknown key", "did you mean tls?", "config rm TLS"),
    ({"zzzz": "2"}, "zzzz", "an unknown key", "one of target, mode", "config rm zzzz"),
    ({"q z": "2"}, "'q z'", "an unknown key", "one of", "config rm 'q z'"),
    ({"certificateDays": "0"}, "certificateDays", "'0'", "from 1 to 825", "certificateDays 1"),
    ({"caCertificate": "x"}, "caCertificate", "a text of 1 characters", "certificate in PEM", "--stack staging <FILE"),
    ({"caCertificate": PEM}, "caCertificate", "a text of 63 characters", "certificate in PEM", "set caCertificate"),
    ({"caKey": MARKER}, "caKey", "a text of 12 characters", "private key in PEM", "--secret caKey --stack staging <"),
    ({"caKey": KEY_PEM}, "caCertificate", "nothing", "belongs to `caKey`", "set caCertificate --stack staging <FILE"),
    ({"maxmemory": "999999999gb"}, "maxmemory", "'999999999gb'", "at most 32768gb", "set maxmemory 64mb"),
    ({"maxmemory": "32768gb"}, "maxmemory", "'32768gb'", "the memory of this machine", "set maxmemory "),
    ({"replBacklogSize": "1kb"}, "replBacklogSize", "'1kb'", "at least 1mb", "set replBacklogSize 1mb"),
    ({"replBacklogSize": "65gb"}, "replBacklogSize", "'65gb'", "at most 64gb", "set replBacklogSize 16mb"),
    ({"maxclients": "10"}, "maxclients", "'10'", "100 to 1000000", "set maxclients 100"),
    ({"notifyKeyspaceEvents": "x"}, "notifyKeyspaceEvents", "'x'", "K (by key)", "config set notifyKeyspaceEvents"),
    ({"notifyKeyspaceEvents": "KE"}, "notifyKeyspaceEvents", "'KE'", "what is told", "config set notifyKeyspaceEvents"),
    ({"notifyKeyspaceEvents": "EE"}, "notifyKeyspaceEvents", "'EE'", "each once", "config set notifyKeyspaceEvents"),
    (
        {"notifyKeyspaceEvents": "Ex\nport 1"},
        "notifyKeyspaceEvents",
        "'Ex\\nport 1'",
        "each once",
        "notifyKeyspaceEvents",
    ),
    ({"clientOutputBufferLimit": "pubsub 1 2"}, "clientOutputBufferLimit", "'pubsub 1 2'", "soft seconds", "normal 0"),
    (
        {"clientOutputBufferLimit": "pubsub 1mb 0 0 pubsub 2mb 0 0"},
        "clientOutputBufferLimit",
        "'pubsub 1mb 0 0 pubsub 2mb 0 0'",
        "each once",
        "normal 0",
    ),
    ({"appPasword": MARKER}, "appPasword", "an unknown key", "did you mean appPassword?", "make secrets"),
    ({"appPassword": None}, "appPassword", "nothing", "an encrypted password", "make secrets STACK=staging"),
    ({"appPassword": ""}, "appPassword", "a secret of 0 characters", "16 to 128", "--secret appPassword"),
    ({"appPassword": MARKER}, "appPassword", "a secret of 12 characters", "16 to 128", "set --secret appPassword"),
    ({"appPassword": MARKER * 11}, "appPassword", "a secret of 132 characters", "16 to 128", "--secret"),
    ({"appPassword": f"{MARKER} {MARKER}"}, "appPassword", "a secret of 25 characters", "white space", "--secret"),
    ({"appPassword": f"{MARKER}${MARKER}"}, "appPassword", "a secret of 25 characters", "'$'", "--secret"),
    ({"appPassword": f"{MARKER}#{MARKER}"}, "appPassword", "a secret of 25 characters", "'#'", "--secret"),
    ({"appPassword": f"{MARKER}'{MARKER}"}, "appPassword", "a secret of 25 characters", "quotes", "--secret"),
    ({"appPassword": f"{MARKER}\\{MARKER}"}, "appPassword", "a secret of 25 characters", "backslash", "--secret"),
    ({"appPassword": f"{MARKER}\n{MARKER}"}, "appPassword", "a secret of 25 characters", "printable", "--secret"),
    ({"appPassword": f"{MARKER}é{MARKER}"}, "appPassword", "a secret of 25 characters", "ASCII", "--secret"),
    ({"appPassword": "passwordpassword"}, "appPassword", "a secret of 16 characters", "nobody guesses", "--secret"),
    ({"appPassword": "Redis-Password-2024!"}, "appPassword", "a secret of 20 characters", "nobody", "--secret"),
    ({"appPassword": "changeme-changeme"}, "appPassword", "a secret of 17 characters", "no known", "--secret"),
    ({"appPassword": "redisredisredisr"}, "appPassword", "a secret of 16 characters", "repeated", "--secret"),
    ({"appPassword": "1234567890123456"}, "appPassword", "a secret of 16 characters", "repeated", "--secret"),
    ({"appPassword": "0123456789abcdef"}, "appPassword", "a secret of 16 characters", "nobody", "--secret"),
    (
        {"operatorPassword": SECRETS["appPassword"]},
        "operatorPassword",
        "the same secret as appPassword",
        "of its own",
        "pulumi config set --secret operatorPassword --stack staging",
    ),
    ({"appPasswordNext": MARKER}, "appPasswordNext", "a secret of 12 characters", "16 to 128", "set --secret"),
    (
        {"appPasswordNext": SECRETS["appPassword"]},
        "appPasswordNext",
        "the same secret as appPassword",
        "of its own",
        "pulumi config set --secret appPasswordNext --stack staging",
    ),
    (
        {"appPasswordNext": SECRETS["replicaPassword"]},
        "appPasswordNext",
        "the same secret as replicaPassword",
        "of its own",
        "set --secret appPasswordNext",
    ),
    (
        {"monitorPasswordPrevious": SECRETS["monitorPassword"]},
        "monitorPasswordPrevious",
        "the same secret as monitorPassword",
        "of its own",
        "set --secret monitorPasswordPrevious",
    ),
]


@pytest.mark.parametrize(("changes", "key", "found", "expected", "remedy"), BAD, ids=lambda value: str(value)[:40])
def test_one_mistake_gives_one_problem(
    changes: dict[str, str | None], key: str, found: str, expected: str, remedy: str
) -> None:
    (problem,) = problems_of(changes)
    assert problem.key == key
    assert problem.found == found
    assert expected in problem.expected
    assert remedy in problem.remedy
    assert MARKER not in str(problem)


def test_five_mistakes_give_five_problems_at_once() -> None:
    mistakes = {"sentinels": "4", "dataPort": "80", "failoverTimeoutMs": "5000", "downAfterMs": "3000", "colour": "red"}
    problems = problems_of(mistakes | {"monitorPassword": None})
    assert {problem.key for problem in problems} == {
        "sentinels", "dataPort", "failoverTimeoutMs", "colour", "monitorPassword",
    }  # fmt: skip
    assert len(problems) == 5


def test_every_missing_key_is_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("prod", {})
    assert [problem.key for problem in caught.value.problems] == ["target", *SECRETS]


def test_the_least_configuration_gets_the_defaults() -> None:
    settings = parse("staging", GOOD)
    assert settings.model_dump(exclude={f"{user}_password" for user in USERS}) == {
        "target": "process",
        "mode": "sentinel",
        "master_name": "redis-staging",
        "replicas": 2,
        "sentinels": 3,
        "quorum": 2,
        "data_port": 7380,
        "sentinel_port": 27380,
        "maxmemory": "64mb",
        "maxmemory_policy": "noeviction",
        "maxclients": 10000,
        "client_output_buffer_limit": "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        "repl_backlog_size": "16mb",
        "notify_keyspace_events": "",
        "appendfsync": "everysec",
        "down_after_ms": 2000,
        "failover_timeout_ms": 10000,
        "parallel_syncs": 1,
        "min_replicas_to_write": 1,
        "min_replicas_max_lag": 2,
        "tls": False,
        "certificate_days": 90,
        "ca_certificate": "",
        "ca_key": SecretStr(""),
        "ca_generation": 0,
        "gateway": False,
        "gateway_port": 6379,
        "gateway_read_port": 6380,
        "gateway_stats_port": 8404,
        "gateway_publish": "",
        "clients": (),
        "monitoring": (),
        "protect": False,
        "image": "",
        "gateway_image": "",
        "firewall": False,
        "firewall_image": "",
        "subnet": "10.201.37.0/24",
        "docker_host": "",
        "gateway_names": (),
        "workload": "record",
        "canary": "",
        "canary_read_port": 6380,
        "canary_share": 0,
        "contract_mode": "sentinel",
        "kubeconfig": "",
        "kube_context": "",
        "cluster": "",
        "namespace": "redis-staging",
        "spread": "hard",
        "priority_class": "",
        "storage_class": "",
        "storage_size": "2Gi",
        "client_pods": (),
        "monitoring_pods": (),
        "contract_namespaces": (),
        "exporter_image": "",
        "smoke_image": "",
        "app_password_shared": SecretStr(""),
        **{f"{user}_password_{which}": SecretStr("") for user in USERS for which in ("next", "previous")},
    }


def test_the_docker_target_has_gateway_and_firewall_unless_told_otherwise() -> None:
    on = parse("staging", GOOD | DOCKER)
    assert (on.gateway, on.firewall) == (True, True)
    off = parse("staging", GOOD | {"target": "docker", "image": PINNED, "gateway": "false", "firewall": "false"})
    assert (off.gateway, off.firewall, off.gateway_image, off.firewall_image) == (False, False, "", "")


def test_each_stack_gets_a_network_of_its_own() -> None:
    subnets = {parse(stack, GOOD).subnet for stack in ("dev", "staging", "canary", "prod")}
    assert len(subnets) == 4


@pytest.mark.parametrize(
    "host", ["", "unix:///run/user/1000/docker.sock", "ssh://ops@10.0.0.7:2222", "tcp://[fd00::1]:2376"]
)
def test_where_an_engine_may_listen(host: str) -> None:
    assert parse("staging", GOOD | {"dockerHost": host}).docker_host == host


def test_a_user_is_let_in_with_every_password_of_a_rotation_the_one_in_use_first() -> None:
    upcoming, previous = f"{MARKER}-next-Zx8", f"{MARKER}-previous-Zx8"
    settings = parse("prod", GOOD | {"appPasswordNext": upcoming, "appPasswordPrevious": previous})
    accepted = {user: [secret.get_secret_value() for secret in each] for user, each in settings.accepted.items()}
    assert accepted == {
        user: [SECRETS[f"{user}Password"], *([upcoming, previous] if user == "app" else [])] for user in USERS
    }
    assert MARKER not in f"{settings!r} {settings.accepted!r}"


def test_a_next_password_stored_in_the_clear_is_refused() -> None:
    (problem,) = problems_of({"appPasswordNext": f"{MARKER}-next-Zx8"}, secret_keys=frozenset(SECRETS))
    assert (problem.key, problem.found) == ("appPasswordNext", "a secret of 21 characters, stored in the clear")
    assert MARKER not in str(problem)


def test_every_value_can_be_set() -> None:
    changes = {
        "mode": "standalone",
        "masterName": "orders.eu_1",
        "replicas": "8",
        "sentinels": "7",
        "quorum": "7",
        "dataPort": "65527",
        "sentinelPort": "65520",
        "maxmemory": "16mb",
        "maxmemoryPolicy": "volatile-ttl",
        "appendfsync": "always",
        "downAfterMs": "60000",
        "failoverTimeoutMs": "120000",
        "parallelSyncs": "8",
        "minReplicasToWrite": "0",
        "minReplicasMaxLag": "60",
        "tls": "true",
        "protect": "true",
        "subnet": "172.16.0.0/16",
        "dockerHost": "ssh://ops@docker.example.org",
    }
    settings = parse("prod", GOOD | changes)
    by_key = {option.key: str(getattr(settings, option.field)) for option in OPTIONS}
    assert {key: by_key[key].replace("True", "true") for key in changes} == changes


def test_the_default_quorum_is_the_majority() -> None:
    assert [parse("dev", GOOD | {"sentinels": count}).quorum for count in ("3", "5", "7")] == [2, 3, 4]


def test_sizes_are_checked_in_standalone_mode_too() -> None:
    (problem,) = problems_of({"mode": "standalone", "replicas": "1"})
    assert problem.key == "replicas"


def test_a_stack_name_that_makes_no_master_name_is_explained() -> None:
    (problem,) = problems_of({}, stack="s" * 60)
    assert (problem.key, problem.found) == ("masterName", f"the default 'redis-{'s' * 54}...'")
    assert "set masterName redis-main" in problem.remedy


def test_on_the_dev_stack_settings_are_fixed_in_its_file() -> None:
    problems = problems_of({"quorum": "1", "quorumm": "2", "zz": "", "appPassword": None, "replicaPassword": ""}, "dev")
    assert {problem.key: problem.remedy for problem in problems} == {
        "quorum": "set `redis-sentinel:quorum: 2` in Pulumi.dev.yaml",
        "quorumm": "remove `redis-sentinel:quorumm` from Pulumi.dev.yaml, "
        "then set `redis-sentinel:quorum: ...` in Pulumi.dev.yaml",
        "zz": "remove `redis-sentinel:zz` from Pulumi.dev.yaml",
        "appPassword": "`make secrets STACK=dev`",
        "replicaPassword": "`make pulumi ARGS='config rm replicaPassword'` (it is in .state/dev/Pulumi.dev.yaml), "
        "then `make secrets STACK=dev`",
    }


def test_a_bad_password_of_the_dev_stack_is_fixed_in_the_file_that_has_it() -> None:
    bad = {"appPassword": "short"}
    edited = DevFiles("my.yaml", "/elsewhere/copy.yaml", frozenset({"appPassword"}))
    (problem,) = problems_of(bad, "dev", dev_files=edited)
    assert problem.remedy == "remove `redis-sentinel:appPassword` from my.yaml, then `make secrets STACK=dev`"
    (problem,) = problems_of(bad, "dev", dev_files=dataclasses.replace(edited, edited_keys=frozenset({"tls"})))
    assert problem.remedy.startswith("`make pulumi ARGS='config rm appPassword'` (it is in /elsewhere/copy.yaml)")


def test_a_guessable_password_in_use_is_replaced_by_a_rotation_which_is_not_refused_for_it() -> None:
    weak, strong = {"appPassword": "Summer2026!Autumn"}, {"appPasswordNext": "TWa22bwwBpBx_vh9XsUGWozVnIg_hJ-3"}
    (problem,) = problems_of(weak)
    assert "make rotate STACK=staging" in problem.remedy
    assert parse("staging", GOOD | weak | strong)
    assert parse(
        "staging", GOOD | {"appPassword": strong["appPasswordNext"], "appPasswordPrevious": weak["appPassword"]}
    )
    (problem,) = problems_of({"appPasswordNext": weak["appPassword"]})
    assert problem.key == "appPasswordNext"


def test_a_password_stored_in_the_clear_is_refused() -> None:
    (problem,) = problems_of({}, secret_keys=frozenset(SECRETS) - {"replicaPassword"})
    assert problem.key == "replicaPassword"
    assert problem.found == f"a secret of {len(SECRETS['replicaPassword'])} characters, stored in the clear"
    assert "choose a new password" in problem.remedy


def test_encrypted_passwords_are_accepted() -> None:
    assert parse("prod", GOOD, secret_keys=set(SECRETS)) == parse("prod", GOOD)


def test_a_setting_that_someone_encrypted_is_not_shown() -> None:
    (problem,) = problems_of({"replicas": MARKER}, secret_keys=frozenset({*SECRETS, "replicas"}))
    assert problem.found == f"a secret of {len(MARKER)} characters"


def test_credentials_are_one_password_per_user() -> None:
    credentials = parse("prod", GOOD).credentials
    assert {f"{user}Password": secret.get_secret_value() for user, secret in credentials.items()} == SECRETS


def test_settings_do_not_show_passwords() -> None:
    settings = parse("prod", GOOD)
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.credentials)):
        assert MARKER not in text


def test_errors_do_not_show_passwords() -> None:
    bad = {key: value + " " for key, value in SECRETS.items()} | {"target": "process", "appPasswort": MARKER}
    with pytest.raises(ConfigurationError) as caught:
        parse("prod", bad, secret_keys=set())
    assert len(caught.value.problems) == 11
    assert MARKER not in f"{caught.value} {caught.value!r} {caught.value.problems!r}"
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_settings_are_frozen_strict_and_closed() -> None:
    settings = parse("prod", GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        settings.replicas = 3
    for change in ({"replicas": "3"}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            Settings.model_validate(dict(settings) | change)


def test_no_module_of_the_settings_imports_pulumi_when_imported() -> None:
    for path in Path(infra.settings.__file__).parent.glob("setting*.py"):
        top_level = ast.parse(path.read_text(encoding="utf-8")).body
        imports = [ast.unparse(node) for node in top_level if isinstance(node, ast.Import | ast.ImportFrom)]
        assert imports
        assert not [line for line in imports if re.match(r"(import|from) pulumi\b", line)], path.name


@pytest.fixture
def pulumi_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a program of stack `qa` sees of Pulumi, without an engine."""
    import pulumi
    from pulumi.runtime.config import set_all_config

    monkeypatch.setattr(pulumi, "get_project", lambda: "redis-sentinel")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "qa")
    ours = {f"redis-sentinel:{key}": value for key, value in GOOD.items()}
    encrypted = [f"redis-sentinel:{key}" for key in SECRETS if key != "monitorPassword"]
    set_all_config(ours | {"redis-sentinel:colour": "red", "docker:host": "unix:///x"}, encrypted)
    yield
    set_all_config({}, [])


@pytest.mark.usefixtures("pulumi_program")
def test_load_sees_unknown_keys_and_plain_passwords_of_the_project_only() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert caught.value.stack == "qa"
    assert [problem.key for problem in caught.value.problems] == ["monitorPassword", "colour"]


def test_stop_tells_the_user_once_and_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    import pulumi

    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", told.append)
    error = ConfigurationError("qa", [Problem("tls", "'yes'", "true or false", "set it")])
    with pytest.raises(SystemExit) as ended:
        stop(error)
    assert (told, ended.value.code) == ([str(error)], 32)


KEYS = st.one_of(st.sampled_from([option.key for option in OPTIONS]), st.text(max_size=8))
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers(-1, 70000).map(str),
    st.sampled_from(["true", "false", "process", "sentinel", "64mb", *SECRETS.values()]),
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(stack=st.text(max_size=70), changes=st.dictionaries(KEYS, VALUES, max_size=5), complete=st.booleans())
def test_any_texts_parse_or_are_refused_and_always_alike(stack: str, changes: dict[str, str], complete: bool) -> None:
    raw = GOOD | changes if complete else dict(changes)
    before = dict(raw)

    def outcome() -> Settings | str:
        try:
            return parse(stack, raw)
        except ConfigurationError as error:
            assert error.problems
            return str(error)

    first = outcome()
    assert first == outcome()
    assert raw == before
    if isinstance(first, Settings):
        assert first.sentinels // 2 < first.quorum <= first.sentinels
        assert first.failover_timeout_ms >= 2 * first.down_after_ms


def test_buffer_limits_are_kept_whole() -> None:
    given = parse("staging", GOOD | {"clientOutputBufferLimit": "pubsub 64mb 16mb 90"}).client_output_buffer_limit
    assert given == "normal 0 0 0 replica 256mb 64mb 60 pubsub 64mb 16mb 90"


def test_memory_beyond_this_machines_is_refused_where_the_nodes_run_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.setting_checks.memory_here", lambda: 8 * 1024**3)
    assert parse("staging", GOOD | {"maxmemory": "8gb"}).maxmemory == "8gb"
    (problem,) = problems_of({"maxmemory": "9gb"})
    assert "at most 8192mb" in problem.expected
    elsewhere = {key: value for key, value in (GOOD | on_docker({"maxmemory": "9gb"})).items() if value is not None}
    assert parse("staging", elsewhere).maxmemory == "9gb"
