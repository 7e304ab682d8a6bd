"""Growing and shrinking a stack under writers, whatever its target."""

from __future__ import annotations

from client.ledger import Ledger
from tests.engine.stack import Stack, findings_of


def resize(stack: Stack, *, replicas: int, sentinels: int) -> None:
    """`make up` with so many nodes. AssertionError when a write is lost, or when right after it anybody knows others
    than the declared nodes (client/crosscheck.py)."""
    stack.configure(stack.settings | {"replicas": str(replicas), "sentinels": str(sentinels)})
    with Ledger(stack.contract()) as ledger:
        ledger.wait_for_acks(200)
        stack.make("up")
        ledger.wait_for_acks(200)
    found = findings_of(stack.contract())
    report = ledger.verify()
    print(f"to {replicas} replicas and {sentinels} Sentinels: {report}")
    assert report.lost == ()
    assert found == ()
    contract = stack.contract()
    assert (len(contract.nodes), len(contract.sentinels)) == (1 + replicas, sentinels)
    assert contract.quorum == sentinels // 2 + 1
