"""What is written to the master is on every replica: the master's word (WAIT), the replicas' own, and the offsets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
import redis
from redis.exceptions import RedisError

from client.connect import connect
from client.crosscheck import observe
from client.errors import describe
from client.links import open_node
from client.options import Options, RetryOptions
from infra.contract import Contract, OperatorContract
from smoke_tests.catalogue import Question, check
from smoke_tests.checks.conftest import eventually
from smoke_tests.evidence import Threshold, at_most, exactly
from smoke_tests.result import Result

TTL_S = 60
WAIT_MS = 1000
# The socket outlasts the WAIT, and finding the master takes no longer than a check should.
OPTIONS = Options(timeout_s=WAIT_MS / 1000 + 1, retry=RetryOptions(deadline_s=3.0))
OFFSETS_MS = 1000


@dataclass(frozen=True)
class Written:
    """A unique key, how many replicas WAIT counted, and how long the write and its WAIT took."""

    key: str
    value: str
    confirmed: int
    ms: float


def every_replica(question: Question) -> Threshold:
    return exactly(question.replicas, "replicas")


@pytest.fixture(scope="module")
def written(question: Question, app: Contract, prefix: str) -> Iterator[Written]:
    key, value = f"{prefix}:replicated", secrets.token_hex(16)

    def write(master: redis.Redis) -> int:
        # One pipeline, so one connection: WAIT covers the writes of its own connection only.
        pipeline = master.pipeline(transaction=False)
        pipeline.set(key, value, ex=TTL_S)
        pipeline.wait(question.replicas, WAIT_MS)
        return int(pipeline.execute()[1])

    with connect(app, options=OPTIONS) as client:
        client.ping()
        begin = time.monotonic()
        # Once: a repeat could come after a Sentinel's repair, and pass.
        confirmed = client.call_once(write)
        yield Written(key, value, confirmed, (time.monotonic() - begin) * 1000)
        client.delete(key)


@check("replication.wait", "WAIT confirms a write on every replica", every_replica, sentinel_only=True)
def test_wait(written: Written, result: Result) -> None:
    result.measure(written.confirmed, f"SET and WAIT {WAIT_MS} took {written.ms:.1f} ms")


@check("replication.read-back", "every replica itself returns the written value", every_replica, sentinel_only=True)
def test_read_back(contract: OperatorContract, app: Contract, written: Written, result: Result) -> None:
    missing = []
    present = 0
    for node in contract.nodes:
        try:
            with closing(open_node(app, Options(), node.endpoint)) as link:
                replica = link.execute_command("ROLE")[0] == "slave"  # type: ignore[no-untyped-call]
                found = link.get(written.key)
        except RedisError as error:
            missing.append(f"{node.name}: {describe(error)}")
            continue
        if found != written.value:
            missing.append(f"{node.name} does not have it")
        present += replica and found == written.value
    result.measure(present, "; ".join(missing))


@check(
    "replication.offsets",
    "every replica reaches the offset that the master has at the start",
    at_most(OFFSETS_MS, "ms"),
    sentinel_only=True,
)
@pytest.mark.usefixtures("written")
def test_offsets(contract: OperatorContract, result: Result) -> None:
    begin = time.monotonic()
    start = observe(contract)
    assert len(start.masters) == 1, f"{len(start.masters)} nodes say role:master"
    master = start.masters[0]

    def behind() -> list[str]:
        replicas = [node for node in observe(contract).nodes if node.endpoint != master.endpoint]
        return [
            f"{node.name}: {node.error or f'offset {node.offset}, link up: {node.link_up}'}"
            for node in replicas
            if node.replid != master.replid or not node.link_up or node.offset < master.offset
        ]

    left = eventually(behind, lambda late: not late, 2 * OFFSETS_MS / 1000)
    assert not left, f"the master is at offset {master.offset}; {'; '.join(left)}"
    result.measure((time.monotonic() - begin) * 1000, f"offset {master.offset}")
