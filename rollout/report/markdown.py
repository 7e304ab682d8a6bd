"""The report as Markdown, for merge requests and job summaries."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.evidence import NOT_MEASURED, Claim
from rollout.report.model import Report


def to_markdown(report: Report, json_sha256: str) -> str:
    """Every claim with its evidence, one table a section."""
    manifest = report.manifest
    unsigned = [f"**Not signed: {_cell(report.unsigned)}.** Whoever can write to the journal can make this up."]
    parts = [
        *(unsigned if report.unsigned else []),
        f"# Release gate report: {_cell(manifest.project)} {_cell(manifest.release)}",
        f"**Verdict: {report.verdict}.** Score {report.score:g} of 100, counting only what is proven. "
        f"{manifest.made:%Y-%m-%d %H:%M} UTC. `report.json` sha256 `{json_sha256}`.",
    ]
    if report.reasons:
        parts.append("Why it is no better:\n\n" + "\n".join(f"- {_cell(reason)}" for reason in report.reasons))
    areas = [(a.area, a.weight, f"{a.proven} of {a.lines}", f"{a.points:g}") for a in report.areas]
    parts += ["## Score", _table(("area", "weight %", "proven lines", "points"), areas)]
    for section in report.sections:
        if not section.claims:
            continue
        parts.append(f"## {section.title}")
        if section.id == "configuration" and report.facts:
            parts.append(_table(("setting", "value"), report.facts.items()))
        if section.id == "phases" and report.phases:
            rows = [
                (
                    p.phase,
                    p.stack,
                    p.began,
                    p.ended or "goes on",
                    p.credited_soak_s,
                    p.required_soak_s,
                    p.verdict,
                    p.note,
                )
                for p in report.phases
            ]
            parts.append(_table(("phase", "stack", "began", "ended", "soak s", "required s", "verdict", "note"), rows))
        if section.id == "sign-off" and report.approvals:
            rows2 = [(a.who, a.phase, a.when, a.reason, a.plan_sha256[:12], a.config_epoch) for a in report.approvals]
            parts.append(_table(("who", "phase", "when", "reason", "plan", "config-epoch"), rows2))
        heads = ("verdict", "claim", "threshold", "measured", "remark", "when", "command", "raw file (sha256)")
        parts.append(_table(heads, (_row(report, id) for id in section.claims)))
    risks = [(risk.verdict, risk.name, risk.answer, ", ".join(risk.claims)) for risk in report.risks]
    parts += ["## Risks", _table(("evidence", "risk", "answer", "shown by"), risks)]
    return "\n\n".join(parts) + "\n"


def remark(report: Report, claim: Claim) -> str:
    """The reason, and for a smoke check the faults on which it has been seen red."""
    said = [claim.reason] if claim.reason else []
    if claim.id.startswith("smoke."):
        faults = [seen for check, seen in report.red_on.items() if claim.id.endswith(f".{check}")]
        said.append(f"went red on: {'; '.join(faults[0])}" if faults else "never seen red")
    return "; ".join(said)


def figure(claim: Claim) -> str:
    """What was measured, to six digits: 99.98 % must not read as 100 %."""
    return f"{claim.measured.value:.6g} {claim.measured.unit}" if claim.measured else NOT_MEASURED


def _row(report: Report, id: str) -> tuple[object, ...]:
    claim = report.claim(id)
    raw = ", ".join(f"{file.path} ({file.sha256})" for file in claim.raw)
    threshold = f"{claim.threshold} {claim.threshold.unit}"
    return (
        claim.verdict,
        f"{claim.statement} [{claim.id}]",
        threshold,
        figure(claim),
        remark(report, claim),
        claim.when or "",
        claim.command,
        raw,
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    """One line, no column of its own, no HTML."""
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(text.split())
