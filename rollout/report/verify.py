"""Whether a report can be believed: nothing in it is taken at its word, and nothing outside its folder is read.

Everything is worked out again from the raw files and compared, byte by byte, the renderings for people too; the raw
files are held against the journal, the journal against the plan, and its head against one that was told outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from securesystemslib.signer import Key

from rollout.evidence import EvidenceError, below
from rollout.report import journaled, signed
from rollout.report.build import build_from
from rollout.report.model import Report
from rollout.report.raw import Read, read
from rollout.report.write import rendered


def verify(
    report_json: Path,
    heads: Collection[str] = (),
    now: datetime | None = None,
    keys: Mapping[str, Key] | None = None,
) -> list[str]:
    """What is wrong with the report; nothing when it holds. The raw files are looked for beside it.

    `heads`: what the journal's head was at some time, as told outside of it; `now`: nothing may be of later; `keys`:
    who signs the journal, by name. Without any it is held against the keys that its own plan lists.
    """
    try:
        told, found, again = _redone(report_json)
    except EvidenceError as error:
        return [str(error)]
    problems = list(_contents(report_json.parent, told, found, again))
    now = now or datetime.now(UTC)
    problems += journaled.problems(told.manifest, told.verdict, found, report_json.parent, now)
    problems += signed.problems(found, report_json, keys or {})
    problems += [f"the journal never had the head {head}" for head in sorted(set(heads) - heads_of(found))]
    return list(dict.fromkeys(problems))


def contents(report_json: Path) -> list[str]:
    """Only whether the report is what its raw files say, whatever they are: of a report without a journal."""
    try:
        told, found, again = _redone(report_json)
    except EvidenceError as error:
        return [str(error)]
    return list(_contents(report_json.parent, told, found, again))


def heads_of(found: Read) -> set[str]:
    """Every head that the report's journal has had."""
    try:
        return {entry.head for entry in journaled.entries_of(found)}
    except ValueError:
        return set()


def _redone(report_json: Path) -> tuple[Report, Read, Report]:
    """The report as it is told, what its raw files hold, and the report that follows from them."""
    folder = report_json.parent
    try:
        told = Report.model_validate_json(_content(folder, report_json.name))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EvidenceError(f"{report_json} is no report: {where}: {first['msg']}") from None
    found = read(told.manifest, folder)
    return told, found, build_from(told.manifest, found)


def _contents(folder: Path, told: Report, found: Read, again: Report) -> Iterator[str]:
    yield from (claim.reason for claim in again.claims if claim.id.startswith("evidence."))
    differences = list(_differences(told, again))
    yield from differences
    for name, content in rendered(again, found).items():
        try:
            if _content(folder, name) != content and not (differences and name == "report.json"):
                yield f"{name} was changed: it is not what the evidence says"
        except EvidenceError as error:
            yield str(error)


def _content(folder: Path, name: str) -> bytes:
    try:
        return below(folder, name).read_bytes()
    except OSError as error:
        raise EvidenceError(f"{name} cannot be read: {error.strerror}") from None


def _differences(told: Report, again: Report) -> Iterator[str]:
    if told.verdict is not again.verdict:
        yield f"the report says {told.verdict}, its evidence says {again.verdict}"
    if told.score != again.score:
        yield f"the report scores {told.score}, its evidence {again.score}"
    now = {claim.id: claim for claim in again.claims}
    before = {claim.id: claim for claim in told.claims}
    yield from (f"{id}: the report has no such claim, its evidence has" for id in now if id not in before)
    yield from (f"{id}: not in the evidence" for id in before if id not in now)
    yield from (f"{id}: the evidence says otherwise" for id in now if id in before and before[id] != now[id])
