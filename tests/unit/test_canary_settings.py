"""The settings of a canary's share, on both sides."""

from __future__ import annotations

import pytest

from infra import firewall
from infra.problems import ConfigurationError
from infra.settings import Settings, parse
from infra.topology import plan
from tests.unit.samples import PASSWORDS, address, digest_of, files_of

IMAGE = "sha256:" + "0" * 64
DOCKER = {"target": "docker", "image": IMAGE, "gatewayImage": IMAGE, "firewallImage": IMAGE}
SHARED = "production-s-0wn-Pa55word"


def prod(**overrides: str) -> Settings:
    passwords = {f"{user}Password": password for user, password in PASSWORDS.items()}
    return parse("prod", DOCKER | passwords | {"canary": "10.0.0.5:6379"} | overrides)


def problem(**overrides: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        prod(**overrides)
    return str(refused.value)


def test_a_cache_may_have_a_share() -> None:
    assert prod(workload="cache", canaryShare="10").canary_share == 10
    assert prod().canary_share == 0


def test_a_system_of_record_is_refused_with_the_reason_and_what_to_do_instead() -> None:
    for text in (problem(canaryShare="1"), problem(canaryShare="1", workload="record")):
        assert "canaryShare: found '1'; expected 0, since workload is record" in text
        assert "prove the release in staging" in text
        assert "workload: cache" in text


def test_a_share_needs_a_canary_and_a_gateway() -> None:
    assert "no `canary` is set" in problem(canaryShare="1", workload="cache", canary="")
    assert "this stack runs no gateway" in problem(gateway="false")


@pytest.mark.parametrize("text", ["canary:6379", "10.0.0.5", "0.0.0.0:6379", " 10.0.0.5:6379", "10.0.0.5:99999"])
def test_the_canary_is_an_address_and_a_port(text: str) -> None:
    assert "canary: found" in problem(canary=text)


@pytest.mark.parametrize("names", ["redis", '["a b"]', '["a", "a"]', "[1]"])
def test_more_names_of_the_gateway_are_names(names: str) -> None:
    assert "gatewayNames: found" in problem(gatewayNames=names)
    assert prod(gatewayNames='["redis.example.com", "10.0.0.5"]').gateway_names == ("redis.example.com", "10.0.0.5")


def test_productions_app_is_let_in_beside_the_canarys_own() -> None:
    (line,) = (
        each for each in files_of("data-0", appPasswordShared=SHARED)["users.acl"].splitlines() if " app " in each
    )
    assert f"#{digest_of('app')} #" in line
    assert SHARED not in line
    (other,) = (
        each for each in files_of("data-0", appPasswordShared=SHARED)["users.acl"].splitlines() if " monitor " in each
    )
    assert other.count("#") == 1


def test_the_gateway_may_reach_the_canary_and_no_other_rule_is_added() -> None:
    settings = prod()
    topology = plan("prod", settings, address)
    gateway = firewall.Gateway("10.0.0.4", (6379, 6380), 8404, (6379, 6380))
    without = firewall.plan(topology, prod(canary=""), gateway)
    added = set(firewall.plan(topology, settings, gateway).rules) - set(without.rules)
    assert [(rule.source, rule.destination, rule.ports) for rule in added] == [("gateway", "canary", (6379, 6380))]
    assert [
        str(network) for network in firewall.plan(topology, settings, gateway).addresses(firewall.Group.CANARY)
    ] == ["10.0.0.5/32"]
