"""What the nodes hold survives their restart: the append-only file is on, healthy, and grows with a write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest
from redis.exceptions import RedisError

from client.connect import connect
from client.errors import describe
from client.links import open_as
from infra.contract import Contract, OperatorContract
from smoke_tests.catalogue import Question, check
from smoke_tests.checks.conftest import eventually
from smoke_tests.evidence import Samples, Threshold, exactly
from smoke_tests.result import Result, SampleFolder

# INFO persistence of each node, or why there is none.
Infos = Mapping[str, Mapping[str, Any] | str]

GROWTH = 4096
GROW_S = 2.0


def every_node(question: Question) -> Threshold:
    return exactly(len(question.contract.nodes), "nodes")


def ask(contract: OperatorContract) -> Infos:
    def ask_one(endpoint: Any) -> Mapping[str, Any] | str:
        try:
            with closing(open_as(contract, "monitor", endpoint, 1.0)) as link:
                info: Mapping[str, Any] = link.info("persistence")
                return info
        except RedisError as error:
            return describe(error)

    return {node.name: ask_one(node.endpoint) for node in contract.nodes}


@pytest.fixture(scope="module")
def infos(contract: OperatorContract) -> Infos:
    return ask(contract)


@pytest.fixture(scope="module")
def info_samples(infos: Infos, samples: SampleFolder) -> Samples:
    return samples.lines("persistence", [{"node": name, "info": info} for name, info in infos.items()])


def measure(result: Result, infos: Infos, problem: Callable[[Mapping[str, Any]], str], remark: str = "") -> None:
    """Count the nodes without a problem; the problems are the reason."""
    problems = {name: info if isinstance(info, str) else problem(info) for name, info in infos.items()}
    bad = {name: text for name, text in problems.items() if text}
    result.measure(len(problems) - len(bad), "; ".join(f"{name}: {text}" for name, text in bad.items()) or remark)


def wrong(info: Mapping[str, Any], **wanted: object) -> str:
    return ", ".join(f"{key} is {info.get(key)}" for key, value in wanted.items() if info.get(key) != value)


@check("persistence.aof", "the AOF is on, its last write and rewrite went well", every_node)
def test_aof(infos: Infos, info_samples: Samples, result: Result) -> None:
    result.samples = info_samples
    healthy = {"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok", "loading": 0}
    delayed = sum(info.get("aof_delayed_fsync", 0) for info in infos.values() if not isinstance(info, str))
    measure(result, infos, lambda info: wrong(info, **healthy), f"{delayed} delayed fsyncs since the start")


@check("persistence.snapshot", "the last background save went well", every_node)
def test_snapshot(infos: Infos, info_samples: Samples, result: Result) -> None:
    result.samples = info_samples
    measure(result, infos, lambda info: wrong(info, rdb_last_bgsave_status="ok"))


@check("persistence.written", "a write reaches every node's AOF", every_node)
def test_written(contract: OperatorContract, app: Contract, prefix: str, result: Result) -> None:
    key = f"{prefix}:persisted"
    before = ask(contract)
    with connect(app) as client:
        client.call(lambda master: master.set(key, "x" * GROWTH, ex=60), deadline_s=3)
        try:
            after = eventually(lambda: ask(contract), lambda now: all(grown(before, now).values()), GROW_S)
        finally:
            client.call(lambda master: master.unlink(key), deadline_s=3)
    grew = grown(before, after)
    lazy = [name for name, grows in grew.items() if not grows]
    result.measure(
        sum(grew.values()), f"no growth by {GROWTH} bytes within {GROW_S:.0f} s: {', '.join(lazy)}" if lazy else ""
    )


def grown(before: Infos, after: Infos) -> dict[str, bool]:
    """For each node, whether its AOF is larger by GROWTH, or was rewritten meanwhile (then it starts anew)."""
    return {name: _grown(before[name], after[name]) for name in before}


def _grown(before: Mapping[str, Any] | str, after: Mapping[str, Any] | str) -> bool:
    if isinstance(before, str) or isinstance(after, str) or "aof_current_size" not in before:
        return False
    rewritten = after["aof_base_size"] != before["aof_base_size"]
    return bool(after["aof_enabled"]) and (
        rewritten or after["aof_current_size"] >= before["aof_current_size"] + GROWTH
    )
