"""Leaves a report in the folder of its raw files: report.json, report.md, report.html and their SHA256SUMS."""

from __future__ import annotations

from pathlib import Path

from rollout.evidence import digest
from rollout.report.build import build_from
from rollout.report.html import to_html
from rollout.report.inputs import Manifest
from rollout.report.markdown import to_markdown
from rollout.report.model import Report, to_json
from rollout.report.raw import read
from rollout.report.verify import SUMS


def write(manifest: Manifest, folder: Path) -> Report:
    """Build and write the report. The manifest's raw files are below `folder`. Raises OSError."""
    found = read(manifest, folder)
    report = build_from(manifest, found)
    text = to_json(report)
    sha256 = digest(text.encode())
    files = {
        "report.json": text,
        "report.md": to_markdown(report, sha256),
        "report.html": to_html(report, found, sha256),
    }
    sums = "".join(f"{digest(content.encode())}  {name}\n" for name, content in files.items())
    for name, content in {**files, SUMS: sums}.items():
        new = folder / f"{name}.new"
        new.write_text(content, encoding="utf-8")
        new.replace(folder / name)
    return report
