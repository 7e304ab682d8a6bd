"""Raw files -> what they say. A file that cannot be believed or read becomes a claim that cannot pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar
from xml.etree import ElementTree

from pydantic import BaseModel, TypeAdapter

from prober.samples import Sample, SamplesDamaged, samples_in
from rollout.evidence import Claim, EvidenceError, RawFile, load, not_measured, verdict_of
from rollout.report.bound import is_bound, samples_are_bound, smoke_is_bound, tests_are_bound
from rollout.report.inputs import (
    Approval,
    Failover,
    Input,
    Manifest,
    Measurement,
    PhaseRecord,
    QuorumAnswer,
    Teeth,
)
from smoke_tests.evidence import Evidence, exactly
from smoke_tests.verdict import Verdict

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_FACTS = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class TestRun:
    """What a JUnit file counts."""

    executed: int
    failed: int
    skipped: int


@dataclass(frozen=True)
class Read:
    """Every input's content, beside the input that it came from; `damaged` are the claims of those that have none."""

    smoke: list[tuple[Input, Evidence]] = field(default_factory=list)
    junit: list[tuple[Input, TestRun]] = field(default_factory=list)
    samples: list[tuple[Input, list[Sample]]] = field(default_factory=list)
    failovers: list[tuple[Input, list[Failover]]] = field(default_factory=list)
    measurements: list[tuple[Input, list[Measurement]]] = field(default_factory=list)
    quorum: list[tuple[Input, list[QuorumAnswer]]] = field(default_factory=list)
    teeth: list[tuple[Input, Teeth]] = field(default_factory=list)
    phases: list[tuple[Input, list[PhaseRecord]]] = field(default_factory=list)
    approvals: list[tuple[Input, list[Approval]]] = field(default_factory=list)
    journal: list[tuple[Input, bytes]] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    damaged: list[Claim] = field(default_factory=list)

    def samples_of(self, *kinds: str) -> list[Sample]:
        """In the order of the manifest."""
        return [sample for given, samples in self.samples if given.kind in kinds for sample in samples]

    def inputs_of(self, *kinds: str) -> list[Input]:
        return [given for given, _ in self.samples if given.kind in kinds]


def read(manifest: Manifest, root: Path) -> Read:
    """Read every input of the manifest."""
    found = Read()
    for given in manifest.inputs:
        try:
            _read(given, load(root, given.raw), root, manifest, found)
        except EvidenceError as error:
            found.damaged.append(_damaged(given, verdict_of(error), str(error)))
        except SamplesDamaged as error:
            found.damaged.append(_damaged(given, Verdict.FAIL, str(error)))
        except (ValueError, ElementTree.ParseError) as error:
            # Pydantic's message quotes the input, which may be anything.
            said = type(error).__name__
            found.damaged.append(_damaged(given, Verdict.ERROR, f"{given.raw.path} is no {given.kind} file ({said})"))
    return found


def _read(given: Input, content: bytes, root: Path, manifest: Manifest, found: Read) -> None:
    match given.kind:
        case "smoke":
            evidence = Evidence.model_validate_json(content)
            smoke_is_bound(given, evidence)
            _check_samples(given, evidence, root)
            found.smoke.append((given, evidence))
        case "junit":
            suite = ElementTree.fromstring(content)  # noqa: S314 - by its hash, and parsed without fetching anything
            tests_are_bound(given, suite, manifest.release)
            found.junit.append((given, _test_run(suite)))
        case "baseline" | "canary" | "soak":
            samples = list(samples_in(content, given.raw.path))
            _check_release(given, samples, manifest)
            samples_are_bound(given, samples)
            found.samples.append((given, samples))
        case "failovers":
            found.failovers.append((given, _lines(content, Failover.model_validate_json)))
        case "measurements":
            found.measurements.append((given, _lines(content, Measurement.model_validate_json)))
        case "quorum":
            found.quorum.append((given, _lines(content, QuorumAnswer.model_validate_json)))
        case "teeth":
            teeth = Teeth.model_validate_json(content)
            is_bound(given, teeth.when)
            found.teeth.append((given, teeth))
        case "phases":
            found.phases.append((given, _lines(content, PhaseRecord.model_validate_json)))
        case "approvals":
            found.approvals.append((given, _lines(content, Approval.model_validate_json)))
        case "journal":
            found.journal.append((given, content))
        case "facts":
            found.facts.update(_FACTS.validate_python(json.loads(content)))


def _check_release(given: Input, samples: list[Sample], manifest: Manifest) -> None:
    """Samples of another release say nothing about this one. Raises EvidenceError."""
    wanted = manifest.baseline_release if given.kind == "baseline" else manifest.release
    if others := {sample.release for sample in samples} - {wanted}:
        raise EvidenceError(f"{given.raw.path} has samples of {', '.join(sorted(others))}, wanted {wanted}")


def _check_samples(given: Input, evidence: Evidence, root: Path) -> None:
    """The raw samples beside the suite's evidence file. Raises EvidenceError."""
    for sample_file in smoke_samples(given, evidence):
        load(root, sample_file)


def smoke_samples(given: Input, evidence: Evidence) -> list[RawFile]:
    """The suite's raw files by their path below the evidence's root."""
    folder = PurePosixPath(given.raw.path).parent
    named = [check.samples for check in evidence.checks if check.samples is not None]
    return [raw.model_copy(update={"path": (folder / raw.path).as_posix()}) for raw in named]


def _lines(content: bytes, parse: Callable[[bytes], T]) -> list[T]:
    """One value a line. Raises ValueError for a last line that was cut: these files are written whole."""
    if content and not content.endswith(b"\n"):
        raise ValueError("the last line was cut")
    return [parse(line) for line in content.splitlines()]


def _test_run(root: ElementTree.Element) -> TestRun:
    """Counted from the cases themselves: a suite's own totals may say anything."""
    cases = list(root.iter("testcase"))
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    return TestRun(executed=len(cases) - skipped, failed=failed, skipped=skipped)


def _damaged(given: Input, verdict: Verdict, reason: str) -> Claim:
    claim = not_measured(
        f"evidence.{given.kind}.{given.raw.path}", "the raw file is what was hashed", exactly(0, "changes"), reason
    )
    return claim.model_copy(update={"verdict": verdict})
