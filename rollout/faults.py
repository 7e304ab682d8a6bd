"""The faults that a staging stack must bear, each under the acked-write ledger, each healed before the next.

A fault passes when its clients have a master again in time, no write that WAIT confirmed is lost, and everybody agrees
again afterwards. Plain acknowledgements that a crash loses are told, and do not fail it: Redis replicates
asynchronously, and nothing but WAIT promises more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from client.crosscheck import findings, observe
from client.ledger import Ledger
from infra.contract import OperatorContract
from rollout.victims import Victims
from smoke_tests.verdict import Verdict, worst

# The required bound of a failover; what is usual is far below, and in the figures.
MASTER_S = 30.0
# A Sentinel's end interrupts nobody: what is left is a busy machine's pauses.
SENTINEL_S = 2.0
AGREE_S = 120.0
ACKS = 200
ACKS_S = 60.0

What = Literal["kill", "freeze"]
Whom = Literal["master", "sentinel"]


_Figure = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0)]


class Shown(BaseModel):
    """One fault. `gap_s`: longest time in which no client's write was acknowledged; `healed_s`: from reviving the

    node until all agreed; `lost_confirmed`: acknowledged writes that WAIT had confirmed and that were not found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fault: str
    node: str
    when: AwareDatetime
    allowed_gap_s: _Figure
    gap_s: _Figure | None = None
    acknowledged: _Count = 0
    lost: _Count = 0
    lost_confirmed: _Count = 0
    healed_s: _Figure | None = None
    master: str = ""
    findings: tuple[str, ...] = ()
    verdict: Verdict
    reason: str

    @model_validator(mode="after")
    def _is_earned(self) -> Self:
        held = self.gap_s is not None and self.gap_s <= self.allowed_gap_s
        if self.verdict is Verdict.PASS and (not held or self.lost_confirmed or self.findings):
            raise ValueError(f"{self.fault}: a pass needs a gap that is allowed, no confirmed write lost, no finding")
        return self


class Faults(BaseModel):
    """What a stack was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stack: str
    target: str
    shown: tuple[Shown, ...]

    @property
    def verdict(self) -> Verdict:
        return worst(each.verdict for each in self.shown) if self.shown else Verdict.INCONCLUSIVE

    @property
    def figures(self) -> dict[str, float]:
        """By the names of the report's lines, and by fault."""
        found = {"faults.failed, faults": float(sum(each.verdict is not Verdict.PASS for each in self.shown))}
        for each in self.shown:
            if each.gap_s is not None:
                found[f"faults.{each.fault}.gap, s"] = each.gap_s
                found[f"faults.{each.fault}.lost, plain acks"] = float(each.lost)
        return found


def show(contract: OperatorContract, victims: Victims, target: str, done: Callable[[Shown], None]) -> Faults:
    """Every fault, one after the other; `done` is told of each. Heals whatever happens."""
    plan: list[tuple[str, What, Whom]] = [
        ("master-killed", "kill", "master"),
        ("master-frozen", "freeze", "master"),
        ("sentinel-killed", "kill", "sentinel"),
    ]
    shown: list[Shown] = []
    try:
        for name, what, whom in plan:
            shown.append(_one(contract, victims, name, what, whom))
            done(shown[-1])
    finally:
        heal(contract, victims)
    return Faults(stack=contract.stack, target=target, shown=tuple(shown))


def heal(contract: OperatorContract, victims: Victims) -> tuple[str, ...]:
    """Revive every node and wait until all agree; what is still wrong after AGREE_S."""
    for node in _names(contract):
        victims.revive(node)
    end = time.monotonic() + AGREE_S
    while (wrong := findings(contract, observe(contract))) and time.monotonic() < end:
        time.sleep(0.2)
    return wrong


def _one(contract: OperatorContract, victims: Victims, name: str, what: What, whom: Whom) -> Shown:
    when, allowed = datetime.now(UTC), MASTER_S if whom == "master" else SENTINEL_S
    wrong = heal(contract, victims)  # also what a killed run left
    seen = observe(contract)
    node = seen.masters[0].name if whom == "master" and seen.masters else f"sentinel-{len(contract.sentinels) - 1}"
    if wrong:
        reason = f"the stack was not well before: {'; '.join(wrong[:3])}"
        verdict = Verdict.ERROR
        return Shown(
            fault=name, node=node, when=when, allowed_gap_s=allowed, findings=wrong, verdict=verdict, reason=reason
        )
    trouble = ""
    with Ledger(contract.application(), writers=2, wait_replicas=1) as ledger:
        try:
            ledger.wait_for_acks(ACKS)
            (victims.kill if what == "kill" else victims.freeze)(node)
            before_heal = _await_successor(contract, node) if whom == "master" else ""
            ledger.wait_for_acks(ACKS, ACKS_S)
        except TimeoutError as error:
            trouble, before_heal = str(error), ""
        reviving = time.monotonic()
        wrong = heal(contract, victims)
        healed = round(time.monotonic() - reviving, 3)
    report = ledger.verify()
    ledger.cleanup()
    gap = round(report.longest_gap_ms / 1000, 3)
    if whom == "master" and not trouble and not before_heal:
        trouble = f"no other node became the master within {MASTER_S:g} s"
    problems = [
        *([trouble] if trouble else []),
        *([f"no write was acknowledged for {gap:g} s, allowed {allowed:g} s"] if gap > allowed else []),
        *([f"{len(report.lost_confirmed)} confirmed writes lost"] if report.lost_confirmed else []),
        *([f"after {healed:g} s: {'; '.join(wrong[:3])}"] if wrong else []),
    ]
    text = f"{gap:g} s without a write, {len(report.lost)} of {report.acknowledged} acks lost, healed in {healed:g} s"
    return Shown(
        fault=name,
        node=node,
        when=when,
        allowed_gap_s=allowed,
        gap_s=gap,
        acknowledged=report.acknowledged,
        lost=len(report.lost),
        lost_confirmed=len(report.lost_confirmed),
        healed_s=healed,
        master=before_heal,
        findings=wrong,
        verdict=Verdict.FAIL if problems else Verdict.PASS,
        reason="; ".join(problems) or text,
    )


def _await_successor(contract: OperatorContract, old: str) -> str:
    """The name of the node that is the master instead of `old`; '' when there is none within MASTER_S."""
    end = time.monotonic() + MASTER_S
    while time.monotonic() < end:
        others = [node.name for node in observe(contract).masters if node.name != old]
        if others:
            return others[0]
        time.sleep(0.1)
    return ""


def _names(contract: OperatorContract) -> list[str]:
    return [*(node.name for node in contract.nodes), *(f"sentinel-{n}" for n in range(len(contract.sentinels)))]
