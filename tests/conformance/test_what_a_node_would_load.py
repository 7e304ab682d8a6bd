"""Law 0: what a node would load decides, not what lies about.

Each case kills all six, does something to the files of data nodes, and starts everybody in some order. Whatever it was,
the fullest data set is served by all, by one master, and nobody is ever the master with less.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisError

from client.connect import connect
from client.handover import hand_over
from client.links import open_as, open_node
from client.options import Options
from tests.background import meanwhile
from tests.deployment import Deployment
from tests.nodes import Nodes, await_on_disk
from tests.waiting import SLACK, await_that

RECOVERY_S = 60
NOTED_S = 3
"""How far a data set reaches is noted every two seconds."""

# Shell lines for a data folder. Files are cut in place: they keep their owner.
AOF_GONE = "test -s dump.rdb; rm -r appendonlydir"
INCR_EMPTIED = "for each in appendonlydir/*.incr.aof; do : >$each; done"
TAIL_CUT = "for each in appendonlydir/*.incr.aof; do head -c -{bytes} $each >part; cat part >$each; rm part; done"
MANIFEST_GONE = "rm appendonlydir/*.manifest"
MANIFEST_WRONG = "echo garbage >appendonlydir/appendonly.aof.manifest"
BASE_CUT = "for each in appendonlydir/*.base.rdb; do head -c 30 $each >part; cat part >$each; rm part; done"
BASE_GONE = "rm appendonlydir/*.base.rdb"
ZEROS_AT_THE_END = "for each in appendonlydir/*.incr.aof; do head -c 4096 /dev/zero >>$each; done"
NEVER_WRITTEN = f"""{TAIL_CUT}; written=$(cat appendonlydir/*.rdb appendonlydir/*.incr.aof | wc -c)
while read -r word bytes _ rest; do
    bytes=$((bytes < written ? bytes : written)); echo "$word $bytes $written $rest"
done <reach >part; cat part >reach; rm part"""
"""The last of what was acknowledged: in memory alone while the disk is busy (appendfsync everysec)."""
EMPTIED = "rm -rf ./* ./.[!.]*"
KEEP_A_COPY = "rm -rf copy; mkdir copy; cp -pR appendonlydir copy; if [ -e reach ]; then cp -p reach copy; fi"
OLD_AOF_BACK = "rm -r appendonlydir; mv copy/appendonlydir ."
OLD_FOLDER_BACK = "rm -rf appendonlydir reach; mv copy/* ."


def fill(deployment: Nodes, prefix: str, keys: int = 50) -> None:
    with connect(deployment.contract) as client:
        for number in range(keys):
            client.set(f"{prefix}:{number}", "x" * 50)


def sizes(deployment: Nodes) -> list[int]:
    return [deployment.ask(name, "DBSIZE") for name in deployment.data]


@contextmanager
def watching_masters(deployment: Nodes) -> Iterator[set[int]]:
    """How many keys those who said role:master had, many times a second."""
    seen: set[int] = set()

    def look(done: threading.Event) -> None:
        while not done.wait(0.01):
            for node in deployment.contract.nodes:
                with (
                    suppress(RedisError, OSError),
                    closing(open_as(deployment.contract, "operator", node.endpoint, 0.5)) as link,
                ):
                    if link.execute_command("ROLE")[0] == "master":  # type: ignore[no-untyped-call]
                        seen.add(link.execute_command("DBSIZE"))  # type: ignore[no-untyped-call]
            time.sleep(0.05)

    with meanwhile(look):
        yield seen


def start(deployment: Nodes, *groups: Sequence[str], apart_s: float = 0.3) -> None:
    for names in groups:
        deployment.start(*names)
        time.sleep(apart_s)  # not a wait for anything: nodes of a real outage come back one after the other


def start_in_order(deployment: Nodes, order: str, master: str) -> None:
    replicas = [name for name in deployment.data if name != master]
    groups = {
        "together": [deployment.names],
        "master first": [[master], replicas, deployment.sentinels],
        "master last": [replicas, deployment.sentinels, [master]],
        "master in the middle": [replicas[:1], [master], deployment.sentinels, replicas[1:]],
        "sentinels first": [deployment.sentinels, [master], replicas],
        "sentinels and the master first": [[*deployment.sentinels, master], replicas],
    }
    start(deployment, *groups[order])


def recover(deployment: Nodes, keys: int, order: str, master: str) -> None:
    """Start everybody, and wait until the fullest data set, of so many keys, is served by all."""
    begun = time.monotonic()
    with watching_masters(deployment) as served:
        start_in_order(deployment, order, master)
        deployment.await_converged(RECOVERY_S)
    print(f"one master after {time.monotonic() - begun:.1f} s: {deployment.master()}, it was {master}")
    assert sizes(deployment) == [keys] * len(deployment.data)
    assert min(served) == keys, f"a master had {min(served)} keys of {keys}"


@dataclass(frozen=True)
class Case:
    """What is done to the files of the master that was killed with all others, and in which order all start."""

    line: str
    order: str = "together"


CASES = {
    "the dump alone": Case(AOF_GONE),
    "incr emptied": Case(INCR_EMPTIED, "sentinels and the master first"),
    "tail cut": Case(TAIL_CUT.format(bytes=1500), "master first"),
    "tail cut by a few bytes": Case(TAIL_CUT.format(bytes=9), "sentinels first"),
    "manifest missing": Case(MANIFEST_GONE, "master in the middle"),
    "manifest wrong": Case(MANIFEST_WRONG, "master last"),
    "base cut": Case(BASE_CUT),
    "base missing": Case(BASE_GONE, "master first"),
    "zeros at the end": Case(ZEROS_AT_THE_END, "sentinels first"),
    "emptied": Case(EMPTIED, "sentinels and the master first"),
}

BY_NIGHT = {"the dump alone", "manifest wrong", "base cut", "tail cut by a few bytes"}
"""Each has a sibling by day that takes the same way."""


@pytest.mark.deployment
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in BY_NIGHT else ()) for name in CASES]
)
def test_a_master_with_damaged_files_is_replaced(process_nodes: Nodes, name: str) -> None:
    deployment, case = process_nodes, CASES[name]
    deployment.heal()
    if case.line == AOF_GONE:
        hand_over(deployment.contract)  # one that was a replica has a dump of its sync
        deployment.await_converged()
    master = deployment.master()
    fill(deployment, name)
    time.sleep(NOTED_S)
    keys = deployment.ask(master, "DBSIZE")
    deployment.kill(*deployment.names)
    deployment.damage(master, case.line)
    recover(deployment, keys, case.order, master)


@pytest.mark.deployment
@pytest.mark.parametrize(("line", "order"), [(OLD_AOF_BACK, "together"), (OLD_FOLDER_BACK, "master first")])
def test_a_master_with_an_older_copy_of_its_files_is_replaced(process_nodes: Nodes, line: str, order: str) -> None:
    deployment = process_nodes
    deployment.heal()
    master = deployment.master()
    fill(deployment, "copied")
    time.sleep(NOTED_S)
    deployment.damage(master, KEEP_A_COPY)
    fill(deployment, "after-the-copy", 80)
    keys = deployment.ask(master, "DBSIZE")
    deployment.kill(*deployment.names)
    deployment.damage(master, line)
    recover(deployment, keys, order, master)


@pytest.mark.deployment
@pytest.mark.parametrize("order", ["together", pytest.param("master first", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("line", [EMPTIED, INCR_EMPTIED])
def test_the_fuller_replica_is_promoted(process_nodes: Nodes, line: str, order: str) -> None:
    """Whichever of the two had the higher address or ended first: it has what the master has lost."""
    deployment = process_nodes
    deployment.heal()
    master, lagging, fuller = deployment.master(), *sorted(deployment.replicas())
    deployment.kill(lagging)
    fill(deployment, f"more-{order}", 100)
    keys = deployment.ask(master, "DBSIZE")
    await_that(lambda: deployment.ask(fuller, "DBSIZE") == keys, 10, f"the same in {fuller}")
    await_on_disk(deployment.contract, fuller)
    deployment.kill(fuller)
    deployment.kill(*deployment.names)
    deployment.damage(master, line)
    recover(deployment, keys, order, master)


@pytest.mark.deployment
@pytest.mark.parametrize("line", [ZEROS_AT_THE_END, BASE_GONE], ids=["zeros at the end", "base missing"])
def test_a_replica_whose_data_does_not_load_sets_it_aside_and_syncs(process_nodes: Nodes, line: str) -> None:
    deployment = process_nodes
    deployment.heal()
    fill(deployment, "synced")
    keys, replica = deployment.ask(deployment.master(), "DBSIZE"), deployment.replicas()[0]
    deployment.kill(replica)
    deployment.damage(replica, line)
    said = deployment.hear(replica)
    deployment.start(replica)
    deployment.await_converged(RECOVERY_S)
    assert deployment.ask(replica, "DBSIZE") == keys
    assert "its old files are set aside in" in said()
    assert deployment.damage(replica, "ls -d set-aside-*/appendonlydir")
    assert len(deployment.damage(replica, "ls -d set-aside-*").split()) <= 2


@pytest.mark.deployment
def test_a_fuller_data_set_that_comes_too_late_is_set_aside(process_nodes: Nodes) -> None:
    """The two others have older copies of theirs, and serve them: they cannot wait for ever."""
    deployment = process_nodes
    deployment.heal()
    fuller = deployment.replicas()[0]
    older = [name for name in deployment.data if name != fuller]
    time.sleep(NOTED_S)
    kept = deployment.ask(fuller, "DBSIZE")
    for name in older:
        deployment.damage(name, KEEP_A_COPY)
    fill(deployment, "late", 100)
    time.sleep(NOTED_S)
    deployment.kill(*deployment.names)
    for name in older:
        deployment.damage(name, OLD_FOLDER_BACK)
    deployment.start(*older, *deployment.sentinels)
    await_that(lambda: deployment.master() in older, RECOVERY_S, "a master of the two")
    said = deployment.hear(fuller)
    deployment.start(fuller)
    deployment.await_converged(RECOVERY_S)
    assert sizes(deployment) == [kept] * len(deployment.data)
    assert "its old files are set aside in" in said()


def confirm(deployment: Nodes, prefix: str, keys: int, ttl_s: int | None = None) -> int:
    """Write so many keys, each of them confirmed by both replicas, and give the bytes that one has in a file."""
    with closing(open_node(deployment.contract, Options(), deployment.endpoint(deployment.master()))) as link:
        for number in range(keys):
            link.set(f"{prefix}:{number}", "x" * 10, ex=ttl_s)
            assert link.wait(2, 1000 * SLACK) == 2
    await_on_disk(deployment.contract)
    until = "$4\r\nPXAT\r\n$13\r\n1234567890123\r\n" if ttl_s else ""
    return len(f"*3\r\n$3\r\nSET\r\n${len(prefix) + 2}\r\n{prefix}:0\r\n$10\r\n{'x' * 10}\r\n{until}")


@pytest.mark.deployment
@pytest.mark.parametrize("order", ["together", pytest.param("master first", marks=pytest.mark.nightly)])
def test_a_few_keys_that_the_master_had_not_written_to_its_files_are_kept(process_nodes: Nodes, order: str) -> None:
    """Its replicas have confirmed them. They are too few to be seen by how far the files reach."""
    deployment = process_nodes
    deployment.heal()
    master = deployment.master()
    fill(deployment, f"written-{order}")
    time.sleep(NOTED_S)
    each = confirm(deployment, f"confirmed-{order}", 5)
    keys = deployment.ask(master, "DBSIZE")
    deployment.kill(*deployment.names)
    deployment.damage(master, NEVER_WRITTEN.format(bytes=5 * each))
    start_in_order(deployment, order, master)
    deployment.await_converged(RECOVERY_S)
    assert sizes(deployment) == [keys] * len(deployment.data)


@pytest.mark.deployment
@pytest.mark.parametrize("lost", [5, 0])
def test_keys_that_expire_count_too_and_those_that_have_expired_cost_no_failover(
    process_nodes: Nodes, lost: int
) -> None:
    """A master lets go of them as soon as it runs, and its replicas keep them until it says so."""
    deployment = process_nodes
    deployment.heal()
    master = deployment.master()
    fill(deployment, f"lasting-{lost}")
    expired = time.time() + NOTED_S + 3 * SLACK
    with closing(open_node(deployment.contract, Options(), deployment.endpoint(master))) as link:
        for number in range(40):
            link.set(f"short:{lost}:{number}", "x", pxat=int(expired * 1000))
    time.sleep(NOTED_S)
    each = confirm(deployment, f"expiring-{lost}", 5, ttl_s=3600)
    deployment.kill(*deployment.names)
    left_s = expired - time.time()
    assert left_s > 0, "they expired before all were killed: this shows nothing"
    time.sleep(left_s)
    if lost:
        deployment.damage(master, NEVER_WRITTEN.format(bytes=lost * each))
    said = deployment.hear(master)
    start(deployment, deployment.names)
    deployment.await_converged(RECOVERY_S)
    with connect(deployment.contract) as client:
        assert [number for number in range(5) if client.get(f"expiring-{lost}:{number}") is None] == []
    assert ("gives way" in said()) == bool(lost)


@pytest.mark.deployment
def test_who_gave_way_takes_the_role_when_the_other_one_is_gone(process_nodes: Nodes) -> None:
    """Sentinels never promote the one that they name, and here the last one has less."""
    deployment = process_nodes
    deployment.heal()
    master, fuller, older = deployment.master(), *deployment.replicas()
    deployment.kill(older)
    fill(deployment, "without-it", 100)
    time.sleep(NOTED_S)
    kept = deployment.ask(master, "DBSIZE")
    deployment.damage(master, KEEP_A_COPY)
    fill(deployment, "after-the-copy", 40)
    time.sleep(NOTED_S)
    deployment.kill(*deployment.names)
    deployment.damage(master, OLD_FOLDER_BACK)
    said = deployment.hear(master)
    deployment.start(master, fuller, *deployment.sentinels)
    await_that(lambda: "they must promote another" in said(), 30, "the elected master gives way")
    deployment.kill(fuller)
    deployment.start(older)
    await_that(
        lambda: deployment.master() == master, RECOVERY_S, f"{master}, which has more than {older}, as the master"
    )
    deployment.start(fuller)
    deployment.await_converged(RECOVERY_S)
    assert sizes(deployment) == [kept] * len(deployment.data)


@pytest.mark.timed
@pytest.mark.deployment
def test_a_replica_of_old_days_is_not_promoted_alone(process_nodes: Nodes) -> None:
    deployment = process_nodes
    deployment.heal()
    old = deployment.replicas()[0]
    deployment.kill(old)
    fill(deployment, "without-it", 100)
    time.sleep(NOTED_S)
    master = deployment.master()
    keys = deployment.ask(master, "DBSIZE")
    deployment.kill(*deployment.names)
    said = deployment.hear(old)
    deployment.start(old, *deployment.sentinels)
    await_that(lambda: "too few others tell what they have" in said(), 30, "the reason to wait")
    heard = [deployment.hear(name) for name in deployment.sentinels]
    await_that(lambda: any("-failover-abort-no-good-slave" in heard_of() for heard_of in heard), 60, "NOGOODSLAVE")
    last = next(name for name in deployment.data if name not in (old, master))
    with watching_masters(deployment) as served:
        deployment.start(last)
        await_that(lambda: deployment.master() == last, RECOVERY_S, f"{last}, which has more, as the master")
        deployment.start()
        deployment.await_converged(RECOVERY_S)
    assert sizes(deployment) == [keys] * len(deployment.data)
    assert min(served) == keys


@pytest.mark.everywhere
@pytest.mark.parametrize(
    "line", [AOF_GONE, pytest.param(INCR_EMPTIED, marks=pytest.mark.nightly)], ids=["the dump alone", "incr emptied"]
)
def test_everywhere_a_master_that_would_load_less_is_replaced(deployment: Nodes, line: str) -> None:
    hand_over(deployment.contract)  # one that was a replica has a dump of its sync
    deployment.await_converged()
    master = deployment.master()
    fill(deployment, "everywhere")
    time.sleep(NOTED_S)
    keys = deployment.ask(master, "DBSIZE")
    deployment.kill(*deployment.names)
    deployment.damage(master, line)
    recover(deployment, keys, "together", master)


def on_record(deployment: Deployment, epoch: int) -> int:
    """How many Sentinels' files have a later epoch of the master."""
    files = [(deployment.folder(name) / "data" / "sentinel.conf").read_text() for name in deployment.sentinels]
    return sum(int(found) > epoch for found in re.findall(r"(?m)^sentinel config-epoch \S+ (\d+)$", "".join(files)))


def promoted_of(deployment: Nodes, replicas: Sequence[str]) -> str | None:
    return next((name for name in replicas if deployment.ask(name, "ROLE")[0] == "master"), None)


def write_to_the_master_alone(deployment: Nodes, keys: int) -> None:
    """It acknowledges them in the moment in which its replicas have lost it, and is killed."""
    master, replicas = deployment.master(), deployment.replicas()
    for name in replicas:
        deployment.stop(name)
    deployment.ask(master, "CONFIG", "SET", "min-replicas-to-write", 0)
    deployment.ask(master, "CLIENT", "KILL", "TYPE", "replica")
    with closing(open_node(deployment.contract, Options(), deployment.endpoint(master))) as link:
        for number in range(keys):
            link.set(f"of-the-master-alone:{number}", "x")
    deployment.kill(master)
    for name in replicas:
        deployment.cont(name)


def confirmed_by(link: redis.Redis, prefix: str, value: str = "1") -> list[str]:
    """The keys that the node acknowledged, and one replica confirmed, in its first moments as the master."""
    confirmed: list[str] = []
    begun = time.monotonic()
    while len(confirmed) < 5 and time.monotonic() - begun < 0.4:
        with suppress(RedisError):
            key = f"{prefix}:{len(confirmed)}"
            link.set(key, value)
            if int(link.wait(1, 100)) >= 1:
                confirmed.append(key)
    return confirmed


@pytest.mark.deployment
def test_what_a_promotion_that_nobody_remembers_has_confirmed_is_kept(process_nodes: Deployment) -> None:
    """All end in the moment in which a replica has taken the role, and the Sentinels have not noted it yet."""
    deployment = process_nodes
    for attempt in range(6):
        deployment.heal()
        epoch = max(view.config_epoch for view in deployment.observe().sentinels)
        master, replicas = deployment.master(), deployment.replicas()
        links = [open_node(deployment.contract, Options(timeout_s=1), deployment.endpoint(name)) for name in replicas]
        time.sleep(NOTED_S)
        deployment.kill(master)

        def promoted(links: list[redis.Redis] = links) -> redis.Redis | None:
            return next((link for link in links if link.execute_command("ROLE")[0] == "master"), None)  # type: ignore[no-untyped-call]

        new = await_that(promoted, 30, "a replica that takes the role")
        confirmed = confirmed_by(new, f"confirmed:{attempt}") if new else []
        await_on_disk(deployment.contract, *replicas)  # in the nodes that have confirmed; this may take too long
        deployment.kill(*replicas, *deployment.sentinels)
        remembered = on_record(deployment, epoch)
        deployment.start()
        deployment.await_converged()
        print(f"attempt {attempt}: confirmed {confirmed}, on record: {remembered}; then {deployment.master()}")
        with connect(deployment.contract) as client:
            assert [key for key in confirmed if client.get(key) != "1"] == []
        if confirmed and not remembered:
            return
    pytest.fail("in no attempt was a key confirmed before the promotion was on record")


def at_rest(files: list[Path]) -> list[str]:
    """What is in the files, or nothing if that changes within half a second."""
    before = [file.read_text() for file in files]
    time.sleep(0.5)
    return before if before == [file.read_text() for file in files] else []


@pytest.mark.deployment
@pytest.mark.parametrize("size", [1, pytest.param(500, marks=pytest.mark.nightly)])
def test_what_a_promotion_that_only_the_sentinels_remember_has_confirmed_is_kept(
    process_nodes: Deployment, size: int
) -> None:
    """The promoted node has not written all of it, a replica has. The replaced one has more, and does not count."""
    deployment = process_nodes
    deployment.heal()
    epoch = max(view.config_epoch for view in deployment.observe().sentinels)
    replicas = deployment.replicas()
    time.sleep(NOTED_S)
    witnesses = [deployment.folder(name) / "run" / "witness.pid" for name in replicas]
    notes = [deployment.folder(name) / "data" / "reach" for name in replicas]
    for each in witnesses:  # from here on nothing is noted
        os.kill(int(each.read_text()), signal.SIGSTOP)
    # What a witness had begun to write, a program that it started still ends.
    noted = await_that(lambda: at_rest(notes), 5, "notes that stay as they are")
    write_to_the_master_alone(deployment, keys=20)
    new = await_that(lambda: promoted_of(deployment, replicas), 30, "a replica that takes the role") or ""
    with closing(open_node(deployment.contract, Options(timeout_s=1), deployment.endpoint(new))) as link:
        confirmed = await_that(lambda: confirmed_by(link, f"of-the-new-time-{size}", "x" * size), 10, "confirmed keys")
    await_that(
        lambda: on_record(deployment, epoch) > len(deployment.sentinels) // 2, 10, "a majority that has noted it"
    )
    await_on_disk(deployment.contract, *replicas)
    said = deployment.hear(new)
    for each in witnesses:
        os.kill(int(each.read_text()), signal.SIGKILL)
    deployment.kill(*replicas, *deployment.sentinels)
    assert [note.read_text() for note in notes] == noted
    one = len(f"*3\r\n$3\r\nSET\r\n${len(confirmed[0])}\r\n{confirmed[0]}\r\n${size}\r\n\r\n") + size
    deployment.damage(new, NEVER_WRITTEN.format(bytes=one * (len(confirmed) - 1)))
    deployment.start()
    deployment.await_converged(RECOVERY_S)
    with connect(deployment.contract) as client:
        assert [key for key in confirmed if client.get(key) is None] == []
        assert client.get("of-the-master-alone:0") is None
    assert "they must promote another" in said()
