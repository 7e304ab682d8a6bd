"""What the firewall denies is tried, from every side, and what it allows answers; on a real engine and kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import pytest
from docker.errors import DockerException

from infra.firewall import Group, describe
from infra.targets import docker_firewall, nftables
from infra.targets.docker_archive import archive
from infra.targets.docker_firewall import FirewallError, FirewallProvider
from tests.deployment import await_that
from tests.docker import firewall_lab
from tests.docker.answering import Address
from tests.docker.firewall_lab import (
    CLIENT,
    DATA,
    GATEWAY,
    HOST,
    HOST_PORT,
    MONITOR,
    NFT_IMAGE,
    OTHER_CLIENT,
    OTHERS,
    OURS,
    OUTSIDER,
    REMOTE_CLIENT,
    REMOTE_STRANGER,
    ROOT,
    SENTINELS,
    STACK,
    STRANGER,
    UNUSED_PORT,
    Lab,
    firewall,
    guarded,
    nft,
)

pytestmark = pytest.mark.docker

TABLE = nftables.table_name(STACK)
PUBLISHED = [nftables.Published(Group.GATEWAY, 6379, HOST_PORT, f"{OTHERS}.1")]
PUBLISHED_PORT: Address = (f"{OTHERS}.1", HOST_PORT)
FOREIGN_TABLE = f"foreign_{STACK[-6:]}"
FOREIGN = f"table inet {FOREIGN_TABLE}"

DATA_PORTS = {(node, 6379) for node in DATA}
SENTINEL_PORTS = {(node, 26379) for node in SENTINELS}
EXPORTERS = {(node, 9121) for node in (*DATA, *SENTINELS)}
FOR_CLIENTS = DATA_PORTS | SENTINEL_PORTS | {(GATEWAY, 6379), (GATEWAY, 6380)}
FOR_MONITORING = EXPORTERS | {(GATEWAY, 8404)}
UNNAMED = {(node, UNUSED_PORT) for node in (*DATA, *SENTINELS, GATEWAY)}
EVERYTHING = FOR_CLIENTS | FOR_MONITORING | UNNAMED
AWAY = {(CLIENT, UNUSED_PORT), (STRANGER, UNUSED_PORT), (OUTSIDER, UNUSED_PORT), (HOST, UNUSED_PORT)}

# Who may reach what; everything else that is tried must not answer.
EXPECTED: dict[str, set[Address]] = {
    CLIENT: FOR_CLIENTS,
    MONITOR: FOR_MONITORING,
    STRANGER: set(),
    OUTSIDER: set(),
    HOST: set(),
    # Docker lets nothing in from elsewhere but published ports.
    REMOTE_CLIENT: {PUBLISHED_PORT, (GATEWAY, 6379)},
    REMOTE_STRANGER: set(),
    DATA[0]: DATA_PORTS | SENTINEL_PORTS,
    SENTINELS[0]: DATA_PORTS | SENTINEL_PORTS,
    GATEWAY: DATA_PORTS | SENTINEL_PORTS,
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    try:
        engine = docker.from_env()
        engine.ping()
    except DockerException as error:
        if os.environ.get("CI") == "true" and (ROOT.parent / "shared" / "lab").exists():
            pytest.fail(f"the lab's Docker engine does not answer: {error}")
        pytest.skip(f"no Docker engine answers: {error}")
    try:
        engine.images.build(path=str(ROOT / "images" / "firewall"), tag=NFT_IMAGE, rm=True)
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def lab(client: Any) -> Iterator[Lab]:
    with firewall_lab.lab(client) as made:
        yield made


@pytest.fixture
def props(client: Any) -> Iterator[dict[str, Any]]:
    """The provider's inputs for the lab's stack; its tables are gone before and afterwards."""
    inputs = properties()
    docker_firewall.remove(inputs)
    yield inputs
    docker_firewall.remove(inputs)


def properties(*clients: str) -> dict[str, Any]:
    rules = firewall(*clients)
    script = nftables.script(rules, PUBLISHED)
    return {"host": "", "image": NFT_IMAGE, "table": TABLE, "script": script, "rules": describe(rules)}


def tried(source: str) -> set[Address]:
    """What `source` tries: everything there is but itself."""
    own = {target for target in EVERYTHING | AWAY if target[0] == source}
    return (EVERYTHING | {PUBLISHED_PORT} | (AWAY if source in (*DATA, *SENTINELS, GATEWAY) else set())) - own


def assert_enforced(lab: Lab) -> None:
    """Everyone tries everything, at the same time."""
    with ThreadPoolExecutor(max_workers=len(EXPECTED)) as pool:
        answered = dict(
            zip(EXPECTED, pool.map(lambda source: lab.answering(source, tried(source)), EXPECTED), strict=True)
        )
    assert answered == {source: {to for to in wanted if to[0] != source} for source, wanted in EXPECTED.items()}


@pytest.mark.usefixtures("props")
def test_without_the_firewall_everybody_on_the_network_gets_an_answer(lab: Lab) -> None:
    """The probes can see 'open': what is closed below is closed by the firewall."""
    assert lab.answering(STRANGER, EVERYTHING) == EVERYTHING
    assert lab.answering(HOST, EVERYTHING) == EVERYTHING
    for source in (OUTSIDER, REMOTE_STRANGER):
        assert lab.answering(source, {PUBLISHED_PORT}) == {PUBLISHED_PORT}
    assert (STRANGER, UNUSED_PORT) in lab.answering(DATA[0], AWAY)


def test_what_is_denied_does_not_answer_and_what_is_allowed_does(lab: Lab, props: dict[str, Any]) -> None:
    provider = FirewallProvider()
    assert provider.create(props).id == TABLE
    assert provider.read(TABLE, props).id == TABLE
    assert_enforced(lab)


@pytest.mark.usefixtures("props")
def test_the_proxied_port_serves_declared_clients_once_the_host_is_one(lab: Lab) -> None:
    """Containers of other networks reach a published port through Docker's proxy, which is the host to the node."""
    docker_firewall.load(properties(f"{HOST}/32"))
    assert lab.answering(OTHER_CLIENT, {PUBLISHED_PORT}) == {PUBLISHED_PORT}
    assert lab.answering(HOST, DATA_PORTS) == DATA_PORTS
    assert lab.answering(OUTSIDER, {PUBLISHED_PORT, *DATA_PORTS}) == set()


def test_an_update_replaces_the_rules_and_cuts_who_is_no_longer_declared(lab: Lab, props: dict[str, Any]) -> None:
    wider = properties(f"{STRANGER}/32")
    FirewallProvider().create(wider)
    assert lab.answering(STRANGER, DATA_PORTS) == DATA_PORTS
    assert FirewallProvider().diff(TABLE, wider, props).replaces == []
    FirewallProvider().update(TABLE, wider, props)
    assert lab.answering(STRANGER, DATA_PORTS) == set()


def test_a_missing_and_an_altered_table_are_drifts(client: Any, props: dict[str, Any]) -> None:
    """It is never said to be gone: Pulumi would forget what `down` has to remove."""
    provider = FirewallProvider()

    def drifted() -> bool:
        seen = provider.read(TABLE, props)
        assert seen.id == TABLE
        changes = provider.diff(TABLE, dict(seen.outs or {}), props)
        assert not changes.replaces
        return bool(changes.changes)

    assert drifted()
    provider.create(props)
    assert not drifted()
    nft(client, f"nft insert rule inet {TABLE} decide accept")
    assert drifted()
    provider.update(TABLE, props, props)
    assert not drifted()
    nft(client, f"nft delete table bridge {TABLE}")
    assert drifted()


def test_the_rules_outlive_the_guard_and_the_guard_brings_them_back(lab: Lab, props: dict[str, Any]) -> None:
    docker_firewall.load(props)
    with guarded(lab.client, docker_firewall.guard(props["script"], TABLE), f"{STACK}-guard") as guard:
        await_that(lambda: b"loading" in guard.logs(), 10, "the guard's start")
        guard.kill()
        guard.wait(timeout=10)
        assert_enforced(lab)

        docker_firewall.remove(props)  # as a restart of the host does
        assert lab.answering(STRANGER, DATA_PORTS) == DATA_PORTS
        guard.start()
        await_loaded(props)
        assert_enforced(lab)

        guard.stop(timeout=5)  # as a stop of the engine does
        assert guard.wait()["StatusCode"] == 0, "ended by the signal, not killed after the grace period"
        assert docker_firewall.is_loaded(props)


def test_the_guard_heals_what_is_removed_or_altered(client: Any, props: dict[str, Any]) -> None:
    with guarded(client, docker_firewall.guard(props["script"], TABLE), f"{STACK}-guard"):
        await_loaded(props)
        docker_firewall.remove(props)
        await_loaded(props)
        nft(client, f"nft insert rule bridge {TABLE} decide accept")
        await_loaded(props)


def test_the_guard_of_older_rules_leaves_newer_ones_alone(client: Any, props: dict[str, Any]) -> None:
    newer = properties(f"{STRANGER}/32")
    with guarded(client, docker_firewall.guard(props["script"], TABLE), f"{STACK}-guard") as guard:
        await_loaded(props)
        before = guard.logs()
        docker_firewall.load(newer)
        with pytest.raises(AssertionError):  # two of its rounds
            await_that(lambda: guard.logs() != before or not docker_firewall.is_loaded(newer), 5, "a change")


NEWER_COME_BETWEEN = """\
#!/bin/sh
case "$*" in *"list table bridge"*) if rm /between 2>/dev/null; then {nft} -f /newer.nft; fi ;; esac
exec {nft} "$@"
"""


def test_newer_rules_that_come_while_the_guard_looks_are_left_alone(client: Any) -> None:
    """It asks for two tables, one after the other: it saw the old one beside the new one, and loaded its own again."""
    older, newer = properties()["script"], properties(f"{STRANGER}/32")["script"]
    guard = f"PATH=/wrapped:$PATH sh /guard.sh /older.nft {TABLE} {nftables.version(older)}"
    steps = f"""
        mkdir /wrapped && cp /nft.sh /wrapped/nft && chmod +x /wrapped/nft && touch /between
        nft -f /older.nft && {guard} & guard=$!
        while [ -e /between ]; do sleep 0.1; done
        sleep 5  # two of its rounds
        kill $guard
        nft list table inet {TABLE}"""
    nft = client.containers.run(NFT_IMAGE, entrypoint=["sh", "-c", "command -v nft"], remove=True).decode().strip()
    files = {"guard.sh": docker_firewall.GUARD.read_text(), "older.nft": older, "newer.nft": newer}
    container = client.containers.create(
        NFT_IMAGE, entrypoint=["sh", "-c", steps], network_mode="none", user="0:0", cap_add=["NET_ADMIN"]
    )
    try:
        container.put_archive("/", archive(files | {"nft.sh": NEWER_COME_BETWEEN.format(nft=nft)}))
        container.start()
        container.wait(timeout=60)
        said = container.logs().decode()
    finally:
        container.remove(force=True)
    assert f"chain version_{nftables.version(newer)} " in said, said


def await_loaded(props: dict[str, Any]) -> None:
    await_that(lambda: docker_firewall.is_loaded(props), 15, "the declared tables")


def test_delete_leaves_nothing_behind_and_others_rules_alone(client: Any, props: dict[str, Any]) -> None:
    rule = f"add rule inet {FOREIGN_TABLE} c ip daddr {DATA[0]} counter"
    nft(client, f"nft '{FOREIGN} {{ chain c {{ }}; }}; {rule}'")
    try:
        # Others use the same engine, which adds and removes rules of its own at any time.
        before = await_that(lambda: steady_round_trip(client, props), 60, "a time in which nobody else changes rules")
        assert before is not None
        assert FOREIGN_TABLE in before
        assert TABLE not in before
    finally:
        nft(client, f"nft delete {FOREIGN}")


def steady_round_trip(client: Any, props: dict[str, Any]) -> str | None:
    """All rules before `create`, when they are the same after `delete`."""
    before = nft(client, "nft -s list ruleset")
    FirewallProvider().create(props)
    during = nft(client, "nft -s list ruleset")
    FirewallProvider().delete(TABLE, props)
    assert TABLE in during
    after = nft(client, "nft -s list ruleset")
    assert TABLE not in after
    return before if before == after else None


def test_deleting_twice_is_no_error(props: dict[str, Any]) -> None:
    FirewallProvider().create(props)
    for _ in range(2):
        FirewallProvider().delete(TABLE, props)
    assert not docker_firewall.is_loaded(props)


def test_the_preview_shows_the_rules_in_words(props: dict[str, Any]) -> None:
    assert any(f"clients ({OURS}.192/26, " in line for line in props["rules"])


def test_mistakes_are_said_with_their_remedy(props: dict[str, Any]) -> None:
    with pytest.raises(FirewallError, match=r"no image no-such-image:1 .* fix: docker build"):
        docker_firewall.load(props | {"image": "no-such-image:1"})
    with pytest.raises(FirewallError, match="nft refused"):
        docker_firewall.load(props | {"script": "table inet x { chain c { nonsense } }\n"})
    with pytest.raises(FirewallError, match="nft refused"):  # and not: nothing is declared, nothing is there
        docker_firewall.is_loaded(props | {"script": "table inet x { chain c { nonsense } }\n"})
    with pytest.raises(FirewallError, match="cannot be reached"):
        docker_firewall.load(props | {"host": "unix:///nonexistent.sock"})
