"""Whether a report still says what its raw files say: everything is worked out again and compared, byte by byte."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rollout.evidence import digest
from rollout.report.build import build
from rollout.report.model import Report, to_json

SUMS = "SHA256SUMS"


def verify(report_json: Path) -> list[str]:
    """What is wrong with the report; nothing when it holds. The raw files are looked for beside it."""
    try:
        content = report_json.read_bytes()
        told = Report.model_validate_json(content)
    except OSError as error:
        return [f"{report_json} cannot be read: {error.strerror}"]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return [f"{report_json} is no report: {'.'.join(map(str, first['loc']))}: {first['msg']}"]
    again = build(told.manifest, report_json.parent)
    damaged = [claim.reason for claim in again.claims if claim.id.startswith("evidence.")]
    problems = [*damaged, *_differences(told, again)]
    if not problems and content != to_json(again).encode():
        problems.append(f"{report_json.name} was changed in what is not a claim")
    return [*problems, *_renderings(report_json.parent)]


def _differences(told: Report, again: Report) -> list[str]:
    found = []
    if told.verdict is not again.verdict:
        found.append(f"the report says {told.verdict}, its evidence says {again.verdict}")
    if told.score != again.score:
        found.append(f"the report scores {told.score}, its evidence {again.score}")
    now = {claim.id: claim for claim in again.claims}
    before = {claim.id: claim for claim in told.claims}
    found += [f"{id}: the report has no such claim, its evidence has" for id in now if id not in before]
    found += [f"{id}: not in the evidence" for id in before if id not in now]
    found += [f"{id}: the evidence says otherwise" for id in now if id in before and before[id] != now[id]]
    return found


def _renderings(folder: Path) -> list[str]:
    """The files for people must be those that were written with the JSON."""
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return [f"{SUMS} is missing or damaged"]
    found = []
    for line in lines:
        noted, _, name = line.partition("  ")
        path = folder / Path(name).name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif digest(path.read_bytes()) != noted:
            found.append(f"{name} was changed")
    named = {line.partition("  ")[2] for line in lines}
    return [
        *found,
        *(f"{SUMS} does not name {name}" for name in ("report.json", "report.md", "report.html") if name not in named),
    ]
