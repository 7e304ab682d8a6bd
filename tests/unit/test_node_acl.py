"""The ACL users on each kind of node: default off, own passwords, and no more rights than each needs."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from infra.settings import USERS
from tests.unit.samples import digest_of, files_of


def users_on(name: str) -> dict[str, list[str]]:
    """User -> rules, in order, as users.acl of the node of this name has them."""
    lines = (line.split() for line in files_of(name)["users.acl"].splitlines())
    return {words[1]: words[2:] for words in lines if words[0] == "user"}


NODES = ("data-0", "sentinel-0")
USERS_OF = {"data-0": set(USERS), "sentinel-0": set(USERS) - {"replica"}}  # nobody replicates from a Sentinel


@pytest.mark.parametrize("node", NODES)
def test_the_default_user_is_off_and_may_nothing(node: str) -> None:
    assert users_on(node)["default"] == ["off", "resetpass", "resetkeys", "resetchannels", "-@all"]


@pytest.mark.parametrize("node", NODES)
def test_every_declared_user_is_on_with_its_own_digest(node: str) -> None:
    users = users_on(node)
    assert users.keys() - {"default"} == USERS_OF[node]
    for user in USERS_OF[node]:
        assert "off" not in users[user]
        assert users[user][:2] == ["on", f"#{digest_of(user)}"]
        assert len([rule for rule in users[user] if rule.startswith(("#", ">"))]) == 1
        assert "nopass" not in users[user]


@pytest.mark.parametrize("node", NODES)
def test_every_user_starts_from_nothing(node: str) -> None:
    for user in USERS_OF[node]:
        assert users_on(node)[user][2:5] == ["resetkeys", "resetchannels", "-@all"], user
        assert "+@all" not in users_on(node)[user]


def test_only_the_application_reaches_keys() -> None:
    with_keys = {user for node in NODES for user, rules in users_on(node).items() if keys_in(rules)}
    assert with_keys == {"app"}
    assert not keys_in(users_on("sentinel-0")["app"])


def keys_in(rules: list[str]) -> list[str]:
    return [rule for rule in rules if rule.startswith(("~", "%")) or rule == "allkeys"]


def allows(rules: list[str], channel: str) -> bool:
    """Whether one of the channel patterns matches. Redis's globs spell negation `[^...]`, fnmatch `[!...]`."""
    patterns = [rule[1:].replace("[^", "[!") for rule in rules if rule.startswith("&")]
    return "allchannels" in rules or any(fnmatchcase(channel, pattern) for pattern in patterns)


def test_applications_are_kept_off_the_hello_channel_of_the_data_nodes() -> None:
    app = users_on("data-0")["app"]
    assert not allows(app, "__sentinel__:hello")
    assert allows(app, "orders") and allows(app, "a__sentinel__:hello")


def test_whoever_may_use_the_hello_channel_of_a_data_node_is_a_sentinel() -> None:
    users = users_on("data-0")
    assert {user for user, rules in users.items() if allows(rules, "__sentinel__:hello")} == {"sentinel"}
    assert not allows(users["sentinel"], "orders")


def test_applications_may_listen_to_a_sentinel_and_not_speak() -> None:
    app = users_on("sentinel-0")["app"]
    assert "+subscribe" in app and "+publish" not in app
    assert not [rule for rule in app if rule.startswith("+@")]


def who_may(node: str, *commands: str) -> set[str]:
    return {user for user, rules in users_on(node).items() if set(rules) & {f"+{command}" for command in commands}}


def test_roles_are_changed_by_sentinels_and_the_operator_alone() -> None:
    assert who_may("data-0", "slaveof", "replicaof", "failover") == {"sentinel", "operator"}


def test_configuration_and_users_are_changed_by_the_operator_alone() -> None:
    changing = ("config", "config|set", "shutdown", "debug", "acl", "acl|setuser", "acl|load", "sentinel|set")
    assert who_may("data-0", *changing) == {"operator"}
    assert who_may("sentinel-0", *changing) == {"operator"}


def test_the_application_has_kinds_of_commands_without_the_dangerous_ones_and_then_single_ones() -> None:
    """ACL rules apply from left to right: what comes after the removal is given by name, on purpose."""
    rules = users_on("data-0")["app"]
    after = rules[rules.index("-@dangerous") + 1 :]
    assert "-@admin" in rules
    assert [rule for rule in after if rule.startswith(("+@", "-"))] == []
    kinds = {rule for rule in rules if rule.startswith("+@")}
    assert not kinds & {
        f"+@{kind}" for kind in ("all", "read", "write", "keyspace", "scripting", "pubsub", "transaction")
    }


def test_no_user_but_the_application_has_a_whole_kind_of_commands_or_all_of_a_container() -> None:
    for node in NODES:
        for user in USERS_OF[node] - {"app"}:
            assert [rule for rule in users_on(node)[user] if rule.startswith("+@") or rule == "+sentinel"] == [], user
