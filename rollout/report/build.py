"""Manifest and raw files -> the report. The same input gives the same bytes: `verify` counts on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollout.evidence import Claim
from rollout.gate import decide
from rollout.report.catalogue import LINES, RISKS, SECTIONS, WEIGHTS
from rollout.report.figures import claim_of, figures, red_on, smoke_claims
from rollout.report.inputs import Manifest
from rollout.report.journaled import plan_of
from rollout.report.model import AreaScore, Report, Risk, Section
from rollout.report.raw import Read, read
from rollout.report.required import required
from smoke_tests.verdict import Verdict, worst

FORMAT = 1


def build(manifest: Manifest, root: Path) -> Report:
    """The report on the files of `manifest`, which are below `root`. Never raises for their content."""
    return build_from(manifest, read(manifest, root))


def build_from(manifest: Manifest, found: Read) -> Report:
    """The same, of files that have been read."""
    measured = figures(found)
    lines = {line.id: claim_of(line, measured.get(line.by, [])) for line in LINES}
    smoke = smoke_claims(found)
    claims = (*lines.values(), *smoke, *found.damaged)
    plan = plan_of(found)
    decision = decide(claims, required(plan))
    areas = _areas(lines)
    return Report(
        format=FORMAT,
        unsigned=plan.signing.missing if plan else "",
        manifest=manifest,
        verdict=decision.verdict,
        reasons=decision.reasons,
        score=round(sum(area.points for area in areas), 1),
        areas=areas,
        sections=(
            *(
                Section(id=id, title=title, claims=tuple(line.id for line in LINES if line.section == id))
                for id, title in SECTIONS.items()
            ),
            Section(id="smoke", title="Smoke checks", claims=tuple(claim.id for claim in smoke)),
            Section(id="damaged", title="Damaged evidence", claims=tuple(claim.id for claim in found.damaged)),
        ),
        claims=claims,
        red_on=red_on(found),
        risks=tuple(_risk(*risk, lines) for risk in RISKS),
        phases=tuple(each for _, phases in found.phases for each in phases),
        failovers=tuple(each for _, failovers in found.failovers for each in failovers),
        approvals=tuple(each for _, approvals in found.approvals for each in approvals),
        facts=found.facts,
    )


def _areas(lines: Mapping[str, Claim]) -> tuple[AreaScore, ...]:
    """Only lines that passed on evidence count."""
    rows = []
    for area, weight in WEIGHTS.items():
        claims = [lines[line.id] for line in LINES if line.area == area]
        proven = sum(claim.verdict is Verdict.PASS for claim in claims)
        points = round(weight * proven / len(claims), 2)
        rows.append(AreaScore(area=area, weight=weight, proven=proven, lines=len(claims), points=points))
    return tuple(rows)


def _risk(name: str, answer: str, ids: tuple[str, ...], lines: Mapping[str, Claim]) -> Risk:
    return Risk(name=name, answer=answer, claims=ids, verdict=worst(lines[id].verdict for id in ids))
