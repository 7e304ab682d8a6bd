"""The report as one HTML file: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rollout.report.markdown import figure, remark
from rollout.report.model import Report
from rollout.report.plots import plots
from rollout.report.raw import Read


def to_html(report: Report, read: Read, json_sha256: str) -> str:
    """`json_sha256` is the digest of the report's JSON, which `verify` checks."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counts = {verdict: sum(c.verdict == verdict for c in report.claims) for verdict in ("pass", "fail", "error")}
    unmeasured = sum(claim.measured is None for claim in report.claims)
    drawn = {title: Markup(svg) for title, svg in plots(report, read).items()}  # noqa: S704 - drawn by us
    return (
        environment.get_template("report.html.j2").render(
            report=report,
            made=report.manifest.made,
            plots=drawn,
            sha256=json_sha256,
            counts=counts,
            unmeasured=unmeasured,
            figure=figure,
            remark=lambda claim: remark(report, claim),
            lines={claim.id: claim for claim in report.claims},
        )
        + "\n"
    )
