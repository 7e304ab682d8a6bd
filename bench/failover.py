"""What a failover costs an application, side by side: crash, fenced handover, and the usual plain SENTINEL FAILOVER."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from client.handover import hand_over
from client.ledger import Ledger
from client.ledger_report import LedgerReport
from tests.deployment import Deployment, await_that

# Enough that a loss shows: the plain form loses what the old master takes in about 11 s.
PLAIN_WATCH_S = 12.0


@dataclass(frozen=True)
class Series:
    """The runs of one kind, each a ledger's report."""

    what: str
    reports: tuple[LedgerReport, ...]

    @property
    def gaps_ms(self) -> list[float]:
        return sorted(report.longest_gap_ms for report in self.reports)

    @property
    def median_gap_ms(self) -> float:
        return statistics.median(self.gaps_ms)

    @property
    def lost(self) -> int:
        return sum(len(report.lost) for report in self.reports)

    @property
    def acknowledged(self) -> int:
        return sum(report.acknowledged for report in self.reports)

    def __str__(self) -> str:
        gaps = self.gaps_ms
        return (
            f"{self.what:<34} n={len(gaps)}  gap median {self.median_gap_ms:5.0f} ms ({gaps[0]:.0f}-{gaps[-1]:.0f})  "
            f"lost {self.lost} of {self.acknowledged} acknowledged"
        )


def crash(deployment: Deployment) -> None:
    """kill -9 of the master."""
    deployment.kill(deployment.master())


def fenced(deployment: Deployment) -> None:
    """The planned handover of infra/node/handover.sh."""
    hand_over(deployment.contract)


def plain(deployment: Deployment) -> None:
    """SENTINEL FAILOVER and nothing else, as usual scripts do it."""
    master = deployment.master()
    deployment.ask("sentinel-0", "SENTINEL", "FAILOVER", deployment.settings.master_name)
    await_that(lambda: deployment.ask(master, "ROLE")[0] == "slave", PLAIN_WATCH_S + 20, "the old master as a replica")


def measure(deployment: Deployment, what: str, cause: Callable[[Deployment], None], runs: int) -> Series:
    """Each run on a healed deployment, at a random moment of Sentinel's clocks."""
    return Series(what, tuple(_runs(deployment, what, cause, runs)))


def _runs(deployment: Deployment, what: str, cause: Callable[[Deployment], None], runs: int) -> Iterator[LedgerReport]:
    for run in range(runs):
        deployment.heal()
        with Ledger(deployment.contract) as ledger:
            ledger.wait_for_acks(300)
            time.sleep(random.random())  # noqa: S311  Sentinel's timers have a period of 1 s
            cause(deployment)
            ledger.wait_for_acks(300)
        report = ledger.verify()
        print(f"  {what} {run + 1}/{runs}: {report}", flush=True)
        yield report
