"""What a run leaves behind: one JSON file that a release gate reads, and its rendering as JUnit.

    <folder>/<stack>/<UTC time>.json      Evidence
    <folder>/<stack>/<UTC time>.xml       the same as JUnit, for CI
    <folder>/<stack>/<UTC time>/*.jsonl   raw samples, named with their sha256 in Evidence

The models refuse what contradicts itself: a pass without a figure, a figure that misses its threshold, a verdict that
is better than the checks'. Texts come in already scrubbed of passwords (smoke_tests/scrub.py).
"""

from __future__ import annotations

import operator
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self
from xml.etree import ElementTree

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from smoke_tests.verdict import Verdict, of_run

_COMPARE = {"<=": operator.le, "==": operator.eq, ">=": operator.ge}


_Seconds = Annotated[float, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Threshold(_Model):
    """What a figure is held against."""

    comparison: Literal["<=", "==", ">="]
    value: float
    unit: str

    def holds(self, figure: float) -> bool:
        return bool(_COMPARE[self.comparison](figure, self.value))

    def __str__(self) -> str:
        return f"{self.comparison} {self.value:g}"


def at_most(value: float, unit: str) -> Threshold:
    return Threshold(comparison="<=", value=value, unit=unit)


def exactly(value: float, unit: str) -> Threshold:
    return Threshold(comparison="==", value=value, unit=unit)


class Measured(_Model):
    """A figure, in the threshold's unit."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:.3g} {self.unit}" if self.value < 100 else f"{self.value:.0f} {self.unit}"


class Samples(_Model):
    """A file of raw samples: path relative to the evidence file, digest of its bytes."""

    path: str
    sha256: str


class Check(_Model):
    """One check that ran to its end."""

    check: str
    claim: str
    threshold: Threshold
    measured: Measured | None
    verdict: Verdict
    reason: str
    started: AwareDatetime
    seconds: _Seconds
    command: str
    samples: Samples | None

    @model_validator(mode="after")
    def _is_earned(self) -> Self:
        if self.measured is not None and self.measured.value < 0:
            raise ValueError(f"{self.check}: {self.measured}: no check measures less than nothing")
        if self.verdict is Verdict.PASS and (self.measured is None or not self.threshold.holds(self.measured.value)):
            raise ValueError(f"{self.check}: a pass needs a figure that meets the threshold")
        return self


class NotApplicable(_Model):
    """A check that says nothing about this deployment: it counts neither way."""

    check: str
    claim: str
    reason: str


class Evidence(_Model):
    """One run. `not_run`: checks left out on purpose (--only) or not reached; `trouble`: how the runner failed."""

    stack: str
    mode: Literal["sentinel", "standalone"]
    server: str
    started: AwareDatetime
    seconds: _Seconds
    command: str
    verdict: Verdict
    checks: tuple[Check, ...]
    not_applicable: tuple[NotApplicable, ...]
    not_run: tuple[str, ...]
    interrupted: bool
    trouble: str

    @model_validator(mode="after")
    def _worst_wins(self) -> Self:
        verdicts = [check.verdict for check in self.checks]
        expected = of_run(verdicts, complete=not self.interrupted, broken=bool(self.trouble))
        if self.verdict is not expected:
            raise ValueError(f"the verdict is {self.verdict}, the checks say {expected}")
        return self

    def counts(self) -> Counter[Verdict]:
        return Counter(check.verdict for check in self.checks)


def save(evidence: Evidence, path: Path) -> None:
    """Write `path` (.json) and its JUnit rendering beside it (.xml), each whole or not at all."""
    _replace(path.with_suffix(".xml"), junit(evidence))
    _replace(path, evidence.model_dump_json(indent=2) + "\n")


def junit(evidence: Evidence) -> str:
    """The run as JUnit XML. Inconclusive is an error there: JUnit has no such word, and skipped would look green."""
    counts = evidence.counts()
    suite = ElementTree.Element(
        "testsuite",
        name=f"smoke.{evidence.stack}",
        timestamp=evidence.started.isoformat(),
        time=f"{evidence.seconds:.3f}",
        tests=str(len(evidence.checks) + len(evidence.not_applicable)),
        failures=str(counts[Verdict.FAIL]),
        errors=str(counts[Verdict.ERROR] + counts[Verdict.INCONCLUSIVE] + bool(_run_trouble(evidence))),
        skipped=str(len(evidence.not_applicable)),
    )
    for check in evidence.checks:
        case = _case(suite, check.check, check.seconds)
        if check.verdict is not Verdict.PASS:
            kind = "failure" if check.verdict is Verdict.FAIL else "error"
            text = f"{check.claim}: {_clean(check.reason)}"
            ElementTree.SubElement(case, kind, type=str(check.verdict), message=_clean(check.reason)).text = text
    for each in evidence.not_applicable:
        ElementTree.SubElement(_case(suite, each.check, 0), "skipped", message=f"not applicable: {each.reason}")
    if trouble := _run_trouble(evidence):
        ElementTree.SubElement(_case(suite, "run", 0), "error", type=str(evidence.verdict), message=_clean(trouble))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _run_trouble(evidence: Evidence) -> str:
    """Why the run as a whole proves less than its checks do."""
    if evidence.trouble or not evidence.checks:
        return evidence.trouble or "no check ran"
    return "interrupted" if evidence.interrupted else ""


def _case(suite: ElementTree.Element, check: str, seconds: float) -> ElementTree.Element:
    subject, _, name = check.partition(".")
    return ElementTree.SubElement(suite, "testcase", classname=f"smoke.{subject}", name=name, time=f"{seconds:.3f}")


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold: replies of a server may have any byte."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
