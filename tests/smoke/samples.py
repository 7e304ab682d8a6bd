"""Values for tests that need no deployment."""

from __future__ import annotations

from datetime import UTC, datetime

from client.handover import Handover
from client.ledger_report import LedgerReport
from infra.contract import Endpoint, OperatorContract
from infra.program import operator_contract
from smoke_tests.drill import Drill
from smoke_tests.evidence import Samples
from tests.unit.samples import PASSWORDS, declared, planned

CONTRACT: OperatorContract = operator_contract(planned(), declared(), PASSWORDS)

GOOD_DRILL = Drill(
    handover=Handover(Endpoint("a", 1), Endpoint("b", 1), fenced_ms=180, total_ms=900, epoch_before=4, epoch=5),
    epoch_before=4,
    epochs=frozenset({5}),
    report=LedgerReport(
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration_s=3.0,
        writers=4,
        acknowledged=3000,
        confirmed=0,
        lost=(),
        lost_confirmed=(),
        attempts=3004,
        abandoned=0,
        errors=(("ConnectionError", 4),),
        gaps=(),
        longest_gap_ms=190.0,
        longest_writer_gap_ms=195.0,
        median_latency_ms=0.4,
        p99_latency_ms=2.0,
    ),
    old_master="data-0",
    old_master_back_s=0.9,
    agreed_s=1.9,
    findings=(),
    samples=Samples(path="x/failover.jsonl", sha256="0" * 64),
)
