"""Declared = actual = agreed."""

from __future__ import annotations

from client.crosscheck import Observation, findings
from infra.contract import OperatorContract
from smoke_tests.catalogue import check
from smoke_tests.evidence import Samples, exactly
from smoke_tests.result import Result, listing


@check("topology.agreement", "declared nodes = running nodes = what every Sentinel knows", exactly(0, "differences"))
def test_declared_is_actual_is_agreed(
    contract: OperatorContract, seen: Observation, seen_samples: Samples, result: Result
) -> None:
    result.samples = seen_samples
    found = findings(contract, seen)
    result.measure(len(found), listing(found))
