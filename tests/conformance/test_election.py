"""A failover that no Sentinel was elected to lead: plain Sentinel tries again after 2 x failover-timeout."""

from __future__ import annotations

import time

import pytest

from tests.nodes import LOST_ELECTION, LOST_ELECTION_MS, Nodes
from tests.waiting import await_that

AGAIN_S = 6
"""From voters that can be asked again to a new master. A Sentinel left to itself takes 10 s and more."""


def declared(deployment: Nodes, sentinel: str) -> dict[str, str]:
    """What it goes by, of what was declared."""
    state = deployment.ask(sentinel, "SENTINEL", "MASTER", deployment.contract.master_name)
    fields = dict(zip(state[::2], state[1::2], strict=True))
    return {option: fields[option] for option in ("quorum", "down-after-milliseconds", "failover-timeout")}


def settled(deployment: Nodes, sentinel: str) -> bool:
    """Its start script has given it what was declared: the election timeout comes last."""
    answer = deployment.ask(sentinel, "SENTINEL", "DEBUG")
    return bool(answer[answer.index("ELECTION-TIMEOUT") + 1] == "2000")


@pytest.mark.timed
def test_it_is_tried_again_as_soon_as_a_majority_can_be_asked(deployment: Nodes) -> None:
    """One Sentinel leads, and needs the votes of two that lead nothing."""
    old, alone, voters = deployment.master(), "sentinel-2", ("sentinel-0", "sentinel-1")
    before = declared(deployment, alone)
    heard = deployment.hear(alone)

    def set_option(sentinel: str, option: str, value: object) -> None:
        deployment.ask(sentinel, "SENTINEL", "SET", deployment.contract.master_name, option, value)

    set_option(alone, "quorum", 1)  # it begins on its own word alone
    deployment.kill(*voters)
    deployment.kill(old)
    await_that(lambda: LOST_ELECTION in heard(), 15, "an election without a winner")
    assert all(deployment.ask(name, "ROLE")[0] == "slave" for name in deployment.data if name != old)
    deployment.start(*voters)
    for voter in voters:
        await_that(lambda voter=voter: settled(deployment, voter), 30, f"{voter} with what was declared")  # type: ignore[misc]
        set_option(voter, "down-after-milliseconds", 60_000)
    begun = time.monotonic()

    def replaced() -> bool:
        set_option(alone, "quorum", 1)  # each attempt ends with what was declared, and this one may be lost as well
        return deployment.master() != old

    await_that(replaced, 60, "a new master")
    took, lost = time.monotonic() - begun, heard().count(LOST_ELECTION)
    print(f"a new master {took:.1f} s after its electors were back; elections without a winner: {lost}")
    set_option(alone, "quorum", before["quorum"])
    for voter in voters:
        set_option(voter, "down-after-milliseconds", before["down-after-milliseconds"])
    assert took < AGAIN_S + (lost - 1) * LOST_ELECTION_MS / 1000
    await_that(lambda: declared(deployment, alone) == before, 15, f"what was declared at {alone}")
