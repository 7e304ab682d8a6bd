"""PURE  Claims -> one verdict with its reasons. Nothing at all is never a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rollout.evidence import NOT_MEASURED, Claim
from smoke_tests.verdict import Verdict, worst


@dataclass(frozen=True)
class Decision:
    """The verdict and why it is no better; a pass has no reasons."""

    verdict: Verdict
    reasons: tuple[str, ...]


def decide(claims: Sequence[Claim], required: Collection[str]) -> Decision:
    """Judge every claim; `required` are ids without which nothing passes.

    A claim that is not required and that nobody measured counts neither way. One that was measured always counts.
    """
    if not required:
        return Decision(Verdict.INCONCLUSIVE, ("nothing was required: a gate that asks for nothing proves nothing",))
    known = Counter(claim.id for claim in claims)
    twice = [f"{id}: claimed {count} times" for id, count in known.items() if count > 1]
    missing = [f"{id}: {NOT_MEASURED}" for id in sorted(required) if id not in known]
    counted = [claim for claim in claims if claim.id in required or claim.reason != NOT_MEASURED]
    bad = sorted((claim for claim in counted if claim.verdict is not Verdict.PASS), key=_worst_first)
    trouble = [Verdict.ERROR] * bool(twice) + [Verdict.INCONCLUSIVE] * bool(missing)
    verdict = worst([*(claim.verdict for claim in counted), *trouble])
    return Decision(verdict, (*twice, *map(_reason, bad), *missing))


def _worst_first(claim: Claim) -> tuple[int, str]:
    return -list(Verdict).index(claim.verdict), claim.id


def _reason(claim: Claim) -> str:
    said = claim.reason or f"{claim.measured}, wanted {claim.threshold} {claim.threshold.unit}"
    return f"{claim.id}: {claim.verdict}: {said}"
