"""A handover on a machine so slow that its fence could end before the old master is demoted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import redis

from client.connect import connect
from client.ledger import Ledger
from infra.targets.servers import find_servers
from tests.background import meanwhile
from tests.deployment import PASSWORDS, Deployment, deployed
from tests.waiting import await_that

pytestmark = pytest.mark.deployment


# It orders, asks who was promoted and demotes later than it should, each time.
LATE = """\
case "$*" in
    *"SENTINEL FAILOVER"*) {cli} "$@" && touch {home}/ordered && exec {sleep} {seconds} ;;
    *" ROLE") if [ -e {home}/ordered ]; then {sleep} {seconds}; fi ;;
    *-p\\ [0-9]*\\ *) ;;
    *) if [ -e {home}/ordered ]; then {sleep} {seconds}; fi ;;
esac
exec {cli} "$@"
"""


@pytest.fixture
def larger(tmp_path: Path, binaries: None) -> Iterator[Deployment]:
    """More replicas to ask, which takes its time."""
    yield from deployed(tmp_path / "nodes", replicas="4")


@pytest.mark.parametrize(
    "each_ms", [pytest.param(40, marks=pytest.mark.nightly), 120, pytest.param(250, marks=pytest.mark.nightly)]
)
def test_a_slow_handover_loses_nothing(larger: Deployment, tmp_path: Path, each_ms: int) -> None:
    new = larger.data[-1]
    slow = f'{shutil.which("sleep")} 0.{each_ms:03}\nexec {find_servers().cli} "$@"\n'
    larger.replace_cli(new, tmp_path / "slow-cli", slow)
    with Ledger(larger.contract) as ledger:
        ledger.wait_for_acks(200)
        code, output = larger.run(new, "handover.sh", "to-this-node")
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(f"{each_ms} ms for each question: exit {code}, {output}, {report}")
    # The fence ends before it is renewed when a round of questions takes longer: then its guard refuses the writes.
    assert report.lost == ()
    assert code or larger.master() == new
    for node in larger.data:
        assert larger.ask(node, "CONFIG", "GET", "min-replicas-to-write")[1] == "1"


class Stays:
    """A client of the old master that asks no Sentinel and waits as long as the fence lasts."""

    def __init__(self, nodes: Deployment, home: Path, late_s: float) -> None:
        """Handovers from the master are late by so much, each time, and nobody but they demotes it."""
        self.old = nodes.master()
        self.confirmed: list[str] = []
        self.refused: set[str] = set()
        late = LATE.format(cli=find_servers().cli, home=home, sleep=shutil.which("sleep"), seconds=late_s)
        nodes.replace_cli(self.old, home / "late-cli", late)
        for name in nodes.sentinels:  # whose own scripts would
            nodes.replace_cli(name, home / f"{name}-cli", f"exec {shutil.which('sleep')} 3\n")
        login = {"username": "app", "password": PASSWORDS["app"]}
        self._client = redis.Redis(port=nodes.endpoint(self.old).port, socket_timeout=9, **login)  # type: ignore[arg-type]

    def write(self, stop: Event) -> None:
        while not stop.wait(0.001):
            try:
                self._client.set(key := f"stays-{len(self.confirmed)}", 1)
                self.confirmed.append(key)
            except redis.RedisError as error:
                self.refused.add(str(error).partition(" ")[0])

    def await_writes(self) -> None:
        await_that(lambda: len(self.confirmed) > 100, 5, "100 writes")

    def lost(self, nodes: Deployment) -> list[str]:
        print(f"{len(self.confirmed)} confirmed, refused as {self.refused}")
        with connect(nodes.contract) as client:
            return [key for key in self.confirmed if client.get(key) is None]


@pytest.mark.timed
def test_a_fence_that_ends_before_the_old_master_is_demoted_lets_no_write_in(own: Deployment, tmp_path: Path) -> None:
    stays = Stays(own, tmp_path, 0.8)
    with meanwhile(stays.write):
        stays.await_writes()
        code, output = own.run(stays.old, "handover.sh")
    assert code == 0, output
    assert "NOREPLICAS" in stays.refused, "the fence had ended"
    assert own.master() != stays.old
    assert stays.lost(own) == []
    assert own.ask(stays.old, "CONFIG", "GET", "min-replicas-to-write")[1] == "1"


@pytest.mark.timed
def test_a_handover_that_is_ended_while_the_failover_runs_lets_no_write_in(own: Deployment, tmp_path: Path) -> None:
    stays, folder = Stays(own, tmp_path, 0.01), own.folder(own.master())
    with meanwhile(stays.write):
        stays.await_writes()
        handover = subprocess.Popen([folder / "bin" / "handover.sh", folder / "conf" / "node.env"])
        await_that((tmp_path / "ordered").exists, 20, "the order")
        handover.terminate()
        assert handover.wait(10) == 1
        await_that(lambda: own.ask(stays.old, "ROLE")[0] == "slave", 60, "the old master as a replica")
    assert own.master() != stays.old
    assert stays.lost(own) == []
    await_that(lambda: own.ask(stays.old, "CONFIG", "GET", "min-replicas-to-write")[1] == "1", 30, "what was declared")
