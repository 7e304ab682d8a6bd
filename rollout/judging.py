"""PURE  Samples and what else was seen while soaking -> claims -> one verdict with reasons, by triggers and gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from prober.samples import Sample
from rollout.evidence import Claim, RawFile
from rollout.gate import decide
from rollout.stacks import Outcome
from smoke_tests.evidence import Check, Evidence
from smoke_tests.verdict import Verdict, worst

if TYPE_CHECKING:
    from rollout.triggers import Finding

COMMAND = "make probe"
# Without these no soak passes. Lost writes and errors are asked of every sample, unrest of every epoch.
ALWAYS = ("trigger.error-rate", "trigger.lost-acks", "trigger.sentinels")


@dataclass(frozen=True)
class Seen:
    """What a soak rests on. `baseline`: production's samples; None where there is nothing to compare with.

    `before`: production's own last ones under the release before, `since`: as many from the step's beginning; none
    elsewhere.
    `planned_failovers`: controlled ones that the journal has while the samples were taken. `quorum`: CKQUORUM's
    answers, one for each look that could ask. `drill`: the checks of the phase's controlled failover; None when its
    plan has none. `raw`: the files that hold the samples; `when`: the last look.
    """

    samples: Sequence[Sample]
    baseline: Sequence[Sample] | None = None
    before: Sequence[Sample] = ()
    since: Sequence[Sample] = ()
    planned_failovers: int = 0
    quorum: Sequence[bool] = ()
    drill: Sequence[Check] | None = None
    raw: tuple[RawFile, ...] = field(default=())
    when: datetime | None = None


def judge(seen: Seen) -> Outcome:
    """What the triggers say, decided by the gate: what had to be measured and was not is no pass."""
    # Here: the statistics take a second or more to import, which every other command would pay for.
    from rollout import triggers

    if not seen.samples:
        return Outcome(Verdict.INCONCLUSIVE, "no samples")
    findings = [*triggers.watch(seen.samples, seen.planned_failovers), triggers.quorum(seen.quorum)]
    if seen.baseline is not None:
        findings += triggers.compare(seen.baseline, seen.samples)
    if seen.drill is not None:
        findings.append(triggers.failover(seen.drill))
    # These may stop production and never hold it back: what chance explains now, no later sample decides.
    earlier = triggers.against_before(seen.before, seen.since) if seen.before else ()
    findings += [finding for finding in earlier if finding.fired]
    claims = [_claim(finding, seen) for finding in findings]
    required = {*ALWAYS, *(claim.id for claim in claims)}
    decision = decide(claims, required)
    asked = {each.id: each for each in (*findings, *earlier)}
    figures = {f"{each.id}, {each.measured.unit}": each.measured.value for each in asked.values() if each.measured}
    reason = "; ".join(decision.reasons) or f"{len(seen.samples)} samples, {len(asked)} triggers did not fire"
    return Outcome(decision.verdict, reason, figures=figures)


def checks_of(files: Mapping[str, bytes]) -> list[Check]:
    """The checks of every smoke run among files of evidence; none where no file is one."""
    found: list[Check] = []
    for name, content in sorted(files.items()):
        if name.endswith(".json"):
            try:
                found += Evidence.model_validate_json(content).checks
            except ValidationError:
                continue
    return found


def judge_drill(outcome: Outcome) -> Outcome:
    """A controlled failover passes only when its own checks, in its evidence, say that it works."""
    from rollout import triggers

    finding = triggers.failover(checks_of(outcome.files))
    verdict = worst([outcome.verdict, finding.verdict])
    if verdict is outcome.verdict:
        return outcome
    reason = f"{finding.id}: {finding.verdict}: {finding.reason}"
    return Outcome(verdict, reason, outcome.command, outcome.figures, outcome.files)


def _claim(finding: Finding, seen: Seen) -> Claim:
    """The finding on its raw files; one that nothing backs cannot pass."""
    backed = bool(seen.raw and seen.when and finding.measured)
    verdict = finding.verdict if backed or finding.verdict is not Verdict.PASS else Verdict.INCONCLUSIVE
    figure = f"{finding.measured or 'no figure'}, wanted {finding.threshold}"
    return Claim(
        id=finding.id,
        statement=finding.statement,
        threshold=finding.threshold,
        measured=finding.measured,
        verdict=verdict,
        reason=f"{figure}; {finding.reason}" + ("" if backed or finding.measured is None else "; no raw file"),
        when=seen.when,
        command=COMMAND,
        raw=seen.raw,
    )
