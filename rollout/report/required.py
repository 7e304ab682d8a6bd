"""PURE  Which lines a report cannot pass without: those that the rollout's plan can bring.

What a plan leaves out (a rehearsal without a gateway, clients that nobody counts) is told as not measured, and what was
measured always counts. A report without a plan is asked for everything.
"""

from __future__ import annotations

from rollout.plan import Plan
from rollout.report.catalogue import LINES, Line


def required(plan: Plan | None) -> list[str]:
    """The ids of the lines that must be measured."""
    return [line.id for line in LINES if line.required and (plan is None or _brings(plan, line))]


def _brings(plan: Plan, line: Line) -> bool:
    kinds = {step.kind for _, _, step in plan.steps()}
    source, _, name = line.by.partition(":")
    if source == "junit":
        return name in plan.tests
    if line.id == "canary.share-off":
        opens = any(step.percent for _, _, step in plan.steps())
        return opens and plan.phases["prod"].clients is not None
    needs = {"teeth": "teeth", "faults.failed": "faults", "approval": "approval"}.get(line.id)
    if line.id.startswith("rollback."):
        needs = "rehearsal"
    return needs is None or needs in kinds
