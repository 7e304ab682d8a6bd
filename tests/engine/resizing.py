"""Growing and shrinking a stack under writers, whatever its target."""

from __future__ import annotations

import subprocess

from client.ledger import Ledger
from tests.engine.stack import Stack, await_noted, findings_of, master_of


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


def grow_and_shrink(stack: Stack, *, replicas: int) -> None:
    """To so many replicas and 5 Sentinels and back to 2 and 3; of the replicas the last one is the master then."""
    resize(stack, replicas=replicas, sentinels=5)
    move_master_to(stack, f"data-{replicas}")
    await_noted(stack)
    resize(stack, replicas=2, sentinels=3)
    assert set(stack.pids()) == {*(f"data-{i}" for i in range(3)), *(f"sentinel-{i}" for i in range(3))}


def move_master_to(stack: Stack, name: str) -> None:
    folder = stack.nodes / name
    script = [str(folder / "bin" / "handover.sh"), str(folder / "conf" / "node.env"), "to-this-node"]
    subprocess.run(script, check=True, capture_output=True)
    assert master_of(stack.contract()) == name
