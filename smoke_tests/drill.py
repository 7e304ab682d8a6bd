"""The controlled failover: the fenced handover while writers write, and what became of everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from client.crosscheck import Observation, findings, observe
from client.handover import Handover, hand_over
from client.ledger import Ledger
from client.ledger_report import LedgerReport
from client.options import Options, RetryOptions
from infra.contract import OperatorContract
from smoke_tests.evidence import Samples
from smoke_tests.result import SampleFolder

WRITERS = 4
# Of all writers together: enough to see their pace before the failover, and that they have it again.
ACKS = 400
TTL_S = 300
# How long the nodes get until all is as declared again. The handover itself waits for most of it.
SETTLE_S = 15.0
# How long a writer tries one write.
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Drill:
    """One failover. Seconds count from its order; None: not within SETTLE_S after it."""

    handover: Handover
    epoch_before: int
    epochs: frozenset[int]
    report: LedgerReport
    old_master: str
    old_master_back_s: float | None
    agreed_s: float | None
    findings: tuple[str, ...]
    samples: Samples


def fail_over(contract: OperatorContract, prefix: str, samples: SampleFolder) -> Drill:
    """Move the master under load. Raises HandoverError when it does not move, TimeoutError when writers get stuck."""
    epoch_before = _latest_epoch(observe(contract))
    options = Options(retry=RetryOptions(deadline_s=PATIENCE_S))
    ledger = Ledger(contract.application(), writers=WRITERS, prefix=prefix, ttl_s=TTL_S, options=options)
    try:
        with ledger:
            ledger.wait_for_acks(ACKS)
            begin = time.monotonic()
            done = hand_over(contract)
            back_s, agreed_s, seen = _settle(contract, done, begin)
            ledger.wait_for_acks(ACKS)
        return Drill(
            handover=done,
            epoch_before=epoch_before,
            epochs=epochs(seen),
            report=ledger.verify(),
            old_master=next(node.name for node in contract.nodes if node.endpoint == done.old),
            old_master_back_s=back_s,
            agreed_s=agreed_s,
            findings=findings(contract, seen),
            samples=samples.seal(ledger.dump(samples.path("failover"))),
        )
    finally:
        # Without a master there is nobody to ask; the keys expire all the same.
        with suppress(RedisError):
            ledger.cleanup()


def epochs(seen: Observation) -> frozenset[int]:
    """The config-epochs of the Sentinels that answer."""
    return frozenset(view.config_epoch for view in seen.sentinels if not view.error)


def _latest_epoch(seen: Observation) -> int:
    """The next failover has the one after it. An election that nobody won has an epoch, too."""
    return max((max(view.config_epoch, view.voted_epoch) for view in seen.sentinels), default=0)


def old_master_is_back(done: Handover, seen: Observation) -> bool:
    """PURE  Whether the old master is a replica of the new one, in sync with it."""
    nodes = {node.endpoint: node for node in seen.nodes}
    old, new = nodes[done.old], nodes[done.new]
    return old.role == "slave" and old.follows == done.new and old.link_up and old.replid == new.replid


def _settle(contract: OperatorContract, done: Handover, begin: float) -> tuple[float | None, float | None, Observation]:
    back = _Moment(lambda seen: old_master_is_back(done, seen))
    agreed = _Moment(lambda seen: not findings(contract, seen))
    end = time.monotonic() + SETTLE_S
    while True:
        seen = observe(contract)
        for moment in (back, agreed):
            moment.look(seen, time.monotonic() - begin)
        if (back.at_s is not None and agreed.at_s is not None) or time.monotonic() > end:
            return back.at_s, agreed.at_s, seen
        time.sleep(0.02)


class _Moment:
    """When something was true for the first time."""

    def __init__(self, true: Callable[[Observation], bool]) -> None:
        self._true = true
        self.at_s: float | None = None

    def look(self, seen: Observation, at_s: float) -> None:
        if self.at_s is None and self._true(seen):
            self.at_s = at_s
