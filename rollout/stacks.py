"""What the engine asks of stacks. The engine decides; whoever implements this only does, and says what it saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prober.samples import Sample
from rollout.plan import Consumer
from smoke_tests.verdict import Verdict


@dataclass(frozen=True)
class Outcome:
    """What one operation showed. `files`: raw evidence by name; `figures`: name -> number, the unit in the name."""

    verdict: Verdict
    reason: str
    command: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class StackState:
    """What an approval is bound to. `state`: digest of the stack's resources ('' without a stack); `epoch`: the

    Sentinels' configuration epoch (None when there are none); `master`: host:port.
    """

    state: str
    epoch: int | None
    master: str | None


class Stacks(Protocol):
    """Operations on stacks, all from one release's tree. May raise RolloutError; all but `failover` may be repeated."""

    def preflight(self, stack: str) -> Outcome:
        """Settings, secrets, drift, engine and plugin versions, capacity."""

    def preview(self, stack: str) -> Outcome:
        """What `up` would do, shown and recorded."""

    def up(self, stack: str) -> Outcome:
        """Deploy the release; finish what an interrupted run began."""

    def is_deployed(self, stack: str) -> bool:
        """Whether `up` would change nothing: an interrupted one had come to its end."""

    def state(self, stack: str) -> StackState:
        """As it is now."""

    def smoke(self, stack: str) -> Outcome:
        """The smoke suite."""

    def teeth(self, stack: str) -> Outcome:
        """Every check goes red on a fault made for it, on a scratch topology."""

    def faults(self, stack: str) -> Outcome:
        """The subset of the fault matrix that this stack bears."""

    def rehearsal(self, stack: str, consumers: Sequence[Consumer]) -> Outcome:
        """Roll back and forward again under the ledger. Figures: rollback_s, lost_acks, gap_s."""

    def failover(self, stack: str) -> Outcome:
        """One controlled failover under traffic."""

    def share(self, canary: str, prod: str, percent: int, clients: Sequence[str] = ()) -> Outcome:
        """Send this share of production's clients to the canary, without dropping connections.

        `clients`: the command that tells where they are; without one the share is declared and not measured.
        """

    def drift(self, stack: str) -> Outcome:
        """Whether what runs is what is declared."""

    def quorum(self, stack: str) -> bool | None:
        """Whether every Sentinel says CKQUORUM is OK; None when the stack has none."""

    def passwords(self, stack: str) -> frozenset[str]:
        """Those in use, to look for them where they must not be; none without a stack."""

    def traces(self, stack: str) -> Iterator[tuple[str, bytes]]:
        """What the stack leaves where others read it: its logs and its state, each with a name. May raise ToolError."""

    def samples(self, folder: str, after: int) -> list[Sample]:
        """The prober's samples with a larger sequence, oldest first. Raises RolloutError when they are damaged."""

    def newest(self, folder: str) -> Iterator[Sample]:
        """The prober's samples, newest first, read as far as they are asked for. Raises as `samples`."""

    def restore(self, stack: str, contract: str = "keep") -> Outcome:
        """The stack back to this release, an earlier one.

        `contract`: "standalone" declares that in the same run, if its address serves; what is left for `standalone` to
        do then takes no run of its own.
        """

    def standalone(self, stack: str, consumers: Sequence[Consumer], watch_s: float) -> Outcome:
        """The contract to standalone at the gateway's address, without moving data; consumers restarted, watched.

        The stack has this release and keeps it. Refuses to go to an address that does not serve.
        """
