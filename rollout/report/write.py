"""Leaves a report in the folder of its raw files: report.json, report.md, report.html and their SHA256SUMS."""

from __future__ import annotations

from pathlib import Path

from rollout.evidence import digest
from rollout.report.build import build_from
from rollout.report.html import to_html
from rollout.report.inputs import Manifest
from rollout.report.markdown import to_markdown
from rollout.report.model import Report, to_json
from rollout.report.raw import Read, read

SUMS = "SHA256SUMS"


def write(manifest: Manifest, folder: Path) -> Report:
    """Build and write the report. The manifest's raw files are below `folder`. Raises OSError."""
    found = read(manifest, folder)
    report = build_from(manifest, found)
    for name, content in rendered(report, found).items():
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(folder / name)
    return report


def rendered(report: Report, found: Read) -> dict[str, bytes]:
    """Every file of the report by its name, the JSON first. The same report gives the same bytes."""
    text = to_json(report)
    sha256 = digest(text.encode())
    files = {
        "report.json": text.encode(),
        "report.md": to_markdown(report, sha256).encode(),
        "report.html": to_html(report, found, sha256).encode(),
    }
    sums = "".join(f"{digest(content)}  {name}\n" for name, content in files.items())
    return {**files, SUMS: sums.encode()}
