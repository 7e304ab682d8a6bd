"""The ledger against a tiny Redis that forgets, refuses and is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.ledger import Ledger
from client.options import Options, RetryOptions
from infra.contract import Contract
from tests.client.fakes import contract
from tests.client.tiny_redis import TinyRedis

QUICK = Options(retry=RetryOptions(deadline_s=0.2))


def standalone(server: TinyRedis) -> Contract:
    return contract(sentinel=False, port=server.server_address[1])


def test_the_ledger_reports_what_was_lost(server: TinyRedis) -> None:
    with Ledger(standalone(server), writers=2, options=QUICK) as ledger:
        ledger.wait_for_acks(20)
    wrong, gone = sorted(server.data)[:2]
    server.data[wrong] = "another value"
    del server.data[gone]
    report = ledger.verify()
    assert set(report.lost) == {wrong, gone}
    assert report.acknowledged == report.attempts >= 20
    assert report.errors == ()


def test_the_ledger_counts_failed_attempts_and_not_as_acknowledged(server: TinyRedis) -> None:
    server.refusals = ["READONLY x"] * 3
    with Ledger(standalone(server), writers=1, options=QUICK) as ledger:
        ledger.wait_for_acks(5)
    report = ledger.verify()
    assert report.errors == (("ReadOnlyError", 3),)
    assert report.attempts == report.acknowledged + 3
    assert report.lost == ()


def test_the_ledger_cleans_up_its_own_keys_only(server: TinyRedis) -> None:
    server.data["theirs"] = "1"
    with Ledger(standalone(server), options=QUICK) as ledger:
        ledger.wait_for_acks(20)
    ledger.cleanup()
    assert server.data == {"theirs": "1"}


def test_waiting_for_writes_that_never_come_says_why() -> None:
    with (
        pytest.raises(TimeoutError, match="ConnectionError"),
        Ledger(contract(sentinel=False, port=1), writers=1, options=QUICK) as ledger,
    ):
        ledger.wait_for_acks(1, timeout_s=0.3)


def test_a_running_ledger_is_not_verified(server: TinyRedis) -> None:
    with (
        Ledger(standalone(server), writers=1, options=QUICK) as ledger,
        pytest.raises(RuntimeError, match="still running"),
    ):
        ledger.verify()


def test_raw_samples_are_one_line_for_each_acknowledgement_in_order(server: TinyRedis, tmp_path: Path) -> None:
    with Ledger(standalone(server), writers=3, options=QUICK) as ledger:
        ledger.wait_for_acks(30)
    path = ledger.dump(tmp_path / "samples.jsonl")
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(samples) == ledger.verify().acknowledged
    assert [sample["t_ms"] for sample in samples] == sorted(sample["t_ms"] for sample in samples)
    assert {sample["writer"] for sample in samples} == {0, 1, 2}
    assert all(sample["latency_ms"] > 0 and not sample["confirmed"] for sample in samples)


@pytest.mark.parametrize(("replicas", "all_confirmed"), [(1, True), (2, False)])
def test_wait_confirms_only_what_enough_replicas_have(server: TinyRedis, replicas: int, all_confirmed: bool) -> None:
    with Ledger(standalone(server), writers=2, wait_replicas=replicas, options=QUICK) as ledger:
        ledger.wait_for_acks(10)
    server.data.clear()
    report = ledger.verify()
    assert report.confirmed == (report.acknowledged if all_confirmed else 0)
    assert len(report.lost) == report.acknowledged
    assert len(report.lost_confirmed) == report.confirmed


def test_keys_that_may_have_expired_are_not_called_lost(server: TinyRedis) -> None:
    with Ledger(standalone(server), writers=1, ttl_s=0, options=QUICK) as ledger:
        ledger.wait_for_acks(1)
    with pytest.raises(RuntimeError, match="keys live 0 s"):
        ledger.verify()
