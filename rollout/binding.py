"""PURE  What was previewed and approved, and what is there now -> what moved in between.

One binding, taken when the preview was shown, when it was approved and right before `up`: commit, tree, lock files,
configuration, plan, the preview itself, state and epoch. Secrets are no part of it: they may be replaced at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.history import Run, StepRecord
from rollout.plan import PhaseName

NAMES = {
    "commit": "the release's commit",
    "tree": "the release's files",
    "lock": "the release's lock files",
    "configuration": "the stack's configuration",
    "plan": "the plan",
    "preview": "the preview",
    "state": "the stack's state",
    "epoch": "the Sentinels' configuration epoch",
}
# An `up` that was cut off has moved these itself.
OWN = ("configuration", "state", "epoch")


def moved(shown: Sequence[Mapping[str, Any]], current: Mapping[str, Any], but: Sequence[str] = ()) -> str:
    """What differs between any of the bindings and the current one, in words; '' when nothing does."""
    found = [
        name
        for key, name in NAMES.items()
        if key not in but and any(key not in each or each[key] != current.get(key) for each in shown)
    ]
    return f"{' and '.join(found)} moved" if found else ""


def shown(run: Run, phase: PhaseName) -> list[Mapping[str, Any]]:
    """The binding of the phase's preview, and that of each approval of it."""
    preview = preview_of(run, phase).done
    approved = [run.approvals[each.id].data for each in run.of_phase(phase) if each.id in run.approvals]
    return [data.get("binding", {}) for data in [preview.data if preview else {}, *approved]]


def preview_of(run: Run, phase: PhaseName) -> StepRecord:
    return next(each for each in run.of_phase(phase) if each.step.kind == "preview")


def replaced(run: Run, step: str) -> str:
    """The step before this one, of its phase, since which the stack's secrets are others; '' when they are the same."""
    begun = {each.id: each.begun.data for each in run.of_phase(run.steps[step].phase) if each.begun}
    known = {id: data["secrets"] for id, data in begun.items() if "secrets" in data}
    earlier = [id for id in known if id < step]
    return earlier[-1] if earlier and step in known and known[earlier[-1]] != known[step] else ""
