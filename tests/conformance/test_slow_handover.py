"""A handover on a machine so slow that its fence could end before the old master is demoted."""

from __future__ import annotations

import shutil
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


# It orders, asks who was promoted and demotes 0.8 s later than it should, each time.
LATE = """\
case "$*" in
    *"SENTINEL FAILOVER"*) {cli} "$@" && touch {home}/ordered && exec {sleep} 0.8 ;;
    *" ROLE") if [ -e {home}/ordered ]; then {sleep} 0.8; fi ;;
    *-p\\ [0-9]*\\ *) ;;
    *) if [ -e {home}/ordered ]; then {sleep} 0.8; fi ;;
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


@pytest.mark.timed
def test_a_fence_that_ends_before_the_old_master_is_demoted_lets_no_write_in(own: Deployment, tmp_path: Path) -> None:
    old = own.master()
    late = LATE.format(cli=find_servers().cli, home=tmp_path, sleep=shutil.which("sleep"))
    own.replace_cli(old, tmp_path / "late-cli", late)
    for name in own.sentinels:  # whose own scripts would demote it
        own.replace_cli(name, tmp_path / f"{name}-cli", f"exec {shutil.which('sleep')} 3\n")
    confirmed: list[str] = []
    refused: set[str] = set()

    def stays(stop: Event) -> None:
        """A client that asks no Sentinel and waits as long as the fence lasts."""
        client = redis.Redis(port=own.endpoint(old).port, username="app", password=PASSWORDS["app"], socket_timeout=9)
        while not stop.wait(0.001):
            try:
                client.set(key := f"stays-{len(confirmed)}", 1)
                confirmed.append(key)
            except redis.RedisError as error:
                refused.add(str(error).partition(" ")[0])

    with meanwhile(stays):
        await_that(lambda: len(confirmed) > 100, 5, "100 writes")
        code, output = own.run(old, "handover.sh")
    print(f"exit {code}, {output}, {len(confirmed)} confirmed, refused as {refused}")
    assert code == 0, output
    assert "NOREPLICAS" in refused, "the fence had ended"
    assert own.master() != old
    with connect(own.contract) as client:
        assert [key for key in confirmed if client.get(key) is None] == []
    assert own.ask(old, "CONFIG", "GET", "min-replicas-to-write")[1] == "1"
