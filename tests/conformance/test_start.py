"""Law 1: Sentinels decide, nodes ask, and doubt means wait."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from client.handover import hand_over
from client.ledger import Ledger
from tests.background import meanwhile
from tests.client.test_client_on_a_deployment import as_user
from tests.conformance.keys import read, write
from tests.deployment import Deployment, deployed
from tests.nodes import LOST_ELECTION_MS, Nodes, await_on_disk
from tests.waiting import await_settled, await_that, never


class Watch:
    """What a node was seen to say, many times a second."""

    def __init__(self) -> None:
        self.roles: set[str] = set()
        self.sizes: set[int] = set()


@contextmanager
def watching(deployment: Nodes, name: str) -> Iterator[Watch]:
    watch = Watch()

    def look(done: threading.Event) -> None:
        while not done.wait(0.01):
            with suppress(RedisError, OSError):
                watch.roles.add(deployment.ask(name, "ROLE")[0])
                watch.sizes.add(deployment.ask(name, "DBSIZE"))

    with meanwhile(look):
        yield watch


@pytest.mark.everywhere
def test_a_first_boot_makes_the_first_node_the_master(deployment: Nodes) -> None:
    assert [node.name for node in deployment.born.masters] == ["data-0"]
    assert [view.config_epoch for view in deployment.born.sentinels] == [0, 0, 0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_killed_and_started_in_any_order_gives_a_single_master_with_the_data(deployment: Nodes, seed: int) -> None:
    hand_over(deployment.contract)
    master = deployment.master()
    write(deployment.contract, "last", f"write-{seed}")
    await_on_disk(deployment.contract)
    names = deployment.names
    begun = time.monotonic()
    deployment.kill(*names)
    random.Random(seed).shuffle(names)  # noqa: S311
    for name in names:
        deployment.start(name)
        time.sleep(0.2)  # not a wait for anything: nodes of a real outage come back one after the other
    outage_ms = (time.monotonic() - begun) * 1000
    deployment.await_converged()
    assert read(deployment.contract, "last") == f"write-{seed}"
    # In a longer one the first Sentinels to be back may replace a master that is not back yet, and should.
    if outage_ms < deployment.contract.down_after_ms:
        assert deployment.master() == master


@contextmanager
def patient_sentinels(deployment: Nodes, down_after_ms: int = 8000) -> Iterator[None]:
    """Sentinels that wait so long that a restart is quicker, however busy the machine is."""

    def wait(milliseconds: int) -> None:
        for name in deployment.sentinels:
            option = ("down-after-milliseconds", str(milliseconds))
            order = ("SENTINEL", "SET", deployment.contract.master_name, *option)
            await_that(lambda name=name, order=order: deployment.ask(name, *order), 10, name)  # type: ignore[misc]

    wait(down_after_ms)
    try:
        yield
    finally:
        wait(deployment.contract.down_after_ms)


@pytest.mark.everywhere
def test_a_master_reborn_empty_inside_down_after_never_serves_and_nobody_loses_data(deployment: Nodes) -> None:
    master = deployment.master()
    for number in range(50):
        write(deployment.contract, f"kept:{number}", "x")
    size = deployment.ask(master, "DBSIZE")
    replica = deployment.replicas()[0]
    starting = deployment.hear(master)
    with patient_sentinels(deployment), watching(deployment, replica) as survivor:
        deployment.kill(master)
        deployment.wipe(master)
        with watching(deployment, master) as reborn:
            deployment.start(master)
            await_that(lambda: deployment.master() != master, 30, "another master")
            await_that(lambda: deployment.ask(master, "DBSIZE") >= size, 30, "the data at the old master")
    deployment.await_converged()
    assert "master" not in reborn.roles
    assert min(survivor.sizes) >= size
    said = starting()  # on a busy machine the Sentinels may have been quicker than the restart
    assert "its data is gone" in said or re.search(r"starting as replica .*: the Sentinels name", said), said
    assert deployment.ask(master, "DBSIZE") >= size


def test_a_master_without_data_waits_for_peers_that_may_have_some(deployment: Nodes) -> None:
    write(deployment.contract, "only", "copy")
    await_on_disk(deployment.contract)
    master = deployment.master()
    deployment.kill(*deployment.names)
    deployment.wipe(master)
    starting = deployment.hear(master)
    deployment.start(master, *deployment.sentinels)
    await_that(lambda: "which may have some, does not answer" in starting(), 15, "the reason to wait")
    with watching(deployment, master) as reborn:
        deployment.heal()
    assert "master" not in reborn.roles
    assert deployment.master() != master
    assert read(deployment.contract, "only") == "copy"


def test_replicas_come_back_and_elect_when_the_elected_master_stays_away(deployment: Nodes) -> None:
    write(deployment.contract, "survives", "yes")
    await_on_disk(deployment.contract)
    master = deployment.master()
    deployment.kill(*deployment.names)
    deployment.start(*(name for name in deployment.names if name != master))
    await_that(lambda: deployment.master() != master, 30, "a new master without the old one")
    assert read(deployment.contract, "survives") == "yes"


@pytest.mark.timed
def test_a_node_without_data_is_never_promoted_over_those_who_have_some(deployment: Nodes) -> None:
    write(deployment.contract, "held", "by-others")
    await_on_disk(deployment.contract)
    master, empty, full = deployment.master(), *deployment.replicas()
    deployment.kill(*deployment.names)
    deployment.wipe(empty)
    with watching(deployment, empty) as node:
        deployment.start(empty, *deployment.sentinels)
        await_that(lambda: node.roles == {"slave"}, 30, "the empty node as a replica")
        heard = [deployment.hear(name) for name in deployment.sentinels]
        await_that(lambda: any("-failover-abort-no-good-slave" in said() for said in heard), 60, "NOGOODSLAVE")
        assert node.roles == {"slave"}
        deployment.start(full)
        await_that(lambda: deployment.ask(full, "ROLE")[0], 60, f"{full}, which has the data")
        begun, lost_elections = time.monotonic(), deployment.hear_lost_elections()
        await_that(lambda: deployment.master() == full, 60, f"{full} as the master")
        took, lost = time.monotonic() - begun, lost_elections()
    print(f"the master {took:.1f} s after it was back; elections without a winner: {lost}")
    # A Sentinel left to itself looks again 20 s after it looked in vain.
    assert took < 10 + lost * LOST_ELECTION_MS / 1000
    assert read(deployment.contract, "held") == "by-others"
    assert "master" not in node.roles
    assert master != full


def test_without_a_majority_of_sentinels_a_node_does_not_serve(deployment: Nodes) -> None:
    replica = deployment.replicas()[0]
    deployment.kill(replica, "sentinel-0", "sentinel-1")
    starting = deployment.hear(replica)
    deployment.start(replica)
    await_that(lambda: "no majority of the Sentinels" in starting(), 15, "the reason to wait")
    with pytest.raises(RedisError):
        deployment.ask(replica, "PING")
    deployment.start("sentinel-0")
    await_that(lambda: deployment.ask(replica, "ROLE")[0] == "slave", 15, "the node as a replica")


def held_until(kept: Deployment, name: str, script: str, line: str, file: Path) -> None:
    """From its next start on the node's script does this line only once there is such a file."""
    scripts = kept.properties[name]["scripts"]
    assert scripts[script].count(line) == 1, f"{script}: {line}"
    held = f"while [ ! -e '{file}' ]; do sleep 0.05; done\n{line}"
    kept.properties[name]["scripts"] = scripts | {script: scripts[script].replace(line, held)}


@pytest.mark.deployment
def test_a_master_that_starts_takes_no_writes_before_the_sentinels_have_seen_it(
    kept: Deployment, tmp_path: Path
) -> None:
    """One that is replaced all the same would lose what it acknowledged. Here the Sentinels end before they see it."""
    master, two, looks = kept.master(), kept.sentinels[:2], tmp_path / "looks"

    def wants() -> str:
        return str(kept.ask(master, "CONFIG", "GET", "min-replicas-to-write")[1])

    held_until(kept, master, "witness.sh", "while runs; do\n", looks)
    with patient_sentinels(kept):
        kept.kill(master)
        kept.start(master)
        await_that(lambda: wants() == "1000000", 10, "a master that takes no writes yet")
        kept.kill(*two)
        try:
            looks.touch()
            never(lambda: wants() != "1000000", 3, "it takes writes, and nobody has seen it")
            with (
                as_user(kept.contract, kept.contract.username, master) as node,
                pytest.raises(RedisError, match="NOREPLICAS"),
            ):
                node.set("after", "its start")
        finally:
            kept.start(*two)
        await_that(lambda: wants() == "1", 10, "what was declared")
        write(kept.contract, "after", "its start")
        assert kept.master() == master


@pytest.mark.deployment
def test_a_master_that_the_sentinels_take_for_dead_waits_before_it_takes_the_role(kept: Deployment) -> None:
    """Nobody can be promoted here, so they say so for ever, and it does not wait that long."""
    master, replicas = kept.master(), kept.replicas()
    for replica in replicas:
        kept.ask(replica, "CONFIG", "SET", "replica-priority", 0)

    def says(sentinel: str) -> str:
        state = kept.ask(sentinel, "SENTINEL", "MASTER", kept.contract.master_name)
        return str(dict(zip(state[::2], state[1::2], strict=True))["flags"])

    def known_to(sentinel: str) -> set[str]:
        known = kept.ask(sentinel, "SENTINEL", "REPLICAS", kept.contract.master_name)
        return {dict(zip(each[::2], each[1::2], strict=True))["slave-priority"] for each in known}

    try:
        await_that(lambda: all(known_to(name) == {"0"} for name in kept.sentinels), 20, "priorities of 0")
        kept.kill(master)
        await_that(lambda: all("o_down" in says(name) for name in kept.sentinels), 20, "a master that is down for all")
        starting = kept.hear(master)
        kept.start(master)
        await_that(lambda: "the Sentinels name this node, but one of them says" in starting(), 10, "the reason to wait")
        await_that(lambda: kept.ask(master, "ROLE")[0] == "master", 20, "a master again")
    finally:
        for replica in replicas:
            kept.ask(replica, "CONFIG", "SET", "replica-priority", 100)


@pytest.mark.deployment
def test_a_master_that_was_replaced_between_its_decision_and_its_start_steps_back(
    kept: Deployment, tmp_path: Path
) -> None:
    """Everybody was told of the new one before it listened. Sentinel demotes it 8 s later."""
    master, go = kept.master(), tmp_path / "go"
    held_until(kept, master, "start.sh", '    launch "$SERVER" "$config"\nfi\n', go)
    starting = kept.hear(master)
    kept.kill(master)
    kept.start(master)
    await_that(lambda: "starting as master" in starting(), 5, "its decision")
    await_that(lambda: kept.master() != master, 30, "another master")
    time.sleep(3)  # not a wait for anything: so long on-event.sh looks for the promoted one
    go.touch()
    await_that(lambda: kept.ask(master, "ROLE"), 10, "its server")
    begun = time.monotonic()
    await_that(lambda: kept.ask(master, "ROLE")[0] == "slave", 20, "a replica")
    assert time.monotonic() - begun < TWO_MASTERS_S
    await_that(lambda: "was promoted meanwhile: following it" in starting(), 5, "its reason")
    kept.await_converged()


CLI_BLIND_TO_SENTINELS = """\
#!/bin/sh
if [ -e {held} ]; then
    for port in $(cat {blind}); do case " $* " in *" -p $port "*) exit 1 ;; esac; done
fi
exec {cli} "$@"
"""
MENDERS_HAVE_LOOKED_S = 15
"""watch.sh looks every 6 s, and twice."""


@pytest.mark.deployment
def test_nothing_else_lets_writes_in_before_the_sentinels_have_seen_the_master(
    binaries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what mends a killed handover's settings, nor what applies those of an `up`, nor a killed witness."""
    blind, cli, held = tmp_path / "blind", tmp_path / "cli", tmp_path / "nodes" / "data-0" / "run" / "held"
    cli.write_text(CLI_BLIND_TO_SENTINELS.format(blind=blind, held=held, cli=os.environ["REDIS_CLI_BINARY"]))
    cli.chmod(0o700)
    monkeypatch.setenv("REDIS_CLI_BINARY", str(cli))
    blind.touch()
    for deployment in deployed(tmp_path / "nodes"):
        witness = deployment.folder("data-0") / "run" / "witness.pid"

        def wants() -> str:
            return str(deployment.ask("data-0", "CONFIG", "GET", "min-replicas-to-write")[1])  # noqa: B023

        with patient_sentinels(deployment, 60000):
            blind.write_text(" ".join(str(deployment.endpoint(name).port) for name in deployment.sentinels))
            deployment.kill("data-0")
            deployment.start("data-0")
            await_that(lambda: wants() == "1000000", 20, "a master that takes no writes yet")
            killed = await_that(witness.read_text, 10, "a witness")
            os.kill(int(killed), signal.SIGKILL)
            begun = time.monotonic()
            while time.monotonic() - begun < MENDERS_HAVE_LOOKED_S:
                code, said = deployment.run("data-0", "apply.sh")
                assert code == 0 and "min-replicas-to-write waits" in said, said
                assert wants() == "1000000"
                time.sleep(1)  # not a wait for anything: nothing may change meanwhile
            assert witness.read_text() != killed
            blind.write_text("")
            await_that(lambda: wants() == "1", 20, "what was declared")
            write(deployment.contract, "after", "its start")
            assert deployment.master() == "data-0"


TWO_MASTERS_S = 2.0
"""The Sentinels publish a promotion up to a second after it; the one that returned then steps back in half a second."""


def two_masters_s(deployment: Nodes, after_s: float) -> float:
    """For how long two said role:master, on end, when the master returned so long after its kill -9."""
    deployment.heal()
    master = deployment.master()
    two, longest = [time.monotonic()], [0.0]

    def look(done: threading.Event) -> None:
        while not done.wait(0.02):
            if len(deployment.observe().masters) < 2:
                two[0] = time.monotonic()
            longest[0] = max(longest[0], time.monotonic() - two[0])

    with meanwhile(look):
        deployment.kill(master)
        time.sleep(after_s)  # not a wait for anything: the moment is what is tried
        deployment.start(master)
        deployment.await_converged()
        await_settled(lambda: len(deployment.observe().masters) != 1, 3, 30, "one master")
    print(f"back after {after_s} s: two masters for {longest[0]:.2f} s, {master} -> {deployment.master()}", flush=True)
    return longest[0]


@pytest.mark.deployment
@pytest.mark.parametrize("after_s", [1.7, 1.9, 2.0, 2.1, 2.3])
def test_a_master_that_returns_while_it_is_replaced_steps_back(process_nodes: Nodes, after_s: float) -> None:
    """Around down-after: the moment in which nobody knows yet whether it is replaced."""
    assert two_masters_s(process_nodes, after_s) < TWO_MASTERS_S


@pytest.mark.nightly
@pytest.mark.deployment
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("min_replicas", ["0", "1"])
def test_a_master_that_returns_at_any_moment_steps_back_and_keeps_what_was_confirmed(
    binaries: None, tmp_path: Path, min_replicas: str
) -> None:
    """Swept over 4 s in steps of 50 ms, with and without a replica that each write needs."""
    for deployment in deployed(tmp_path / "nodes", minReplicasToWrite=min_replicas):
        with Ledger(deployment.contract, writers=2, wait_replicas=1, interval_s=0.02) as ledger:
            took = {step / 20: two_masters_s(deployment, step / 20) for step in range(81)}
        report = ledger.verify()
        print(f"min-replicas-to-write {min_replicas}: {sum(map(bool, took.values()))} of 81 with two masters; {report}")
        assert report.lost_confirmed == ()
        assert {after_s: seconds for after_s, seconds in took.items() if seconds >= TWO_MASTERS_S} == {}


CLI_THAT_IS_LATE_ONCE = """\
#!/bin/sh
case "$*" in *"CONFIG SET replica-priority 100"*) if mkdir {late} 2>/dev/null; then exit 124; fi ;; esac
exec {cli} "$@"
"""


@pytest.mark.deployment
def test_a_replica_is_promotable_also_when_its_first_answer_comes_too_late(
    binaries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On processes of its own, whose CLI can be replaced."""
    late, cli = tmp_path / "late", tmp_path / "cli"
    cli.write_text(CLI_THAT_IS_LATE_ONCE.format(late=late, cli=os.environ["REDIS_CLI_BINARY"]))
    cli.chmod(0o700)
    monkeypatch.setenv("REDIS_CLI_BINARY", str(cli))
    for deployment in deployed(tmp_path / "nodes"):  # which waits until every replica is promotable
        assert late.exists()
        assert deployment.findings() == ()
