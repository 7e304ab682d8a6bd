"""PURE  Whether evidence is of the stack, the release and the time that its input names; else it is somebody else's.

Every function raises EvidenceError saying how it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from xml.etree import ElementTree

from prober.samples import Sample
from rollout.clock import outside
from rollout.evidence import EvidenceError
from rollout.provenance import foreign_sample, tested
from rollout.report.inputs import Input
from smoke_tests.evidence import Evidence


def is_bound(given: Input, *moments: datetime) -> None:
    """Every moment is of the input's time."""
    if given.since is None or given.until is None:
        raise EvidenceError(f"{given.raw.path} is bound to no time: nothing says of which step it is")
    for moment in moments:
        if how := outside(moment, given.since, given.until):
            raise EvidenceError(f"{given.raw.path} is not of its step's time: {how}")


def smoke_is_bound(given: Input, evidence: Evidence) -> None:
    """The run and each of its checks are of the input's stack and time."""
    if not given.stack or evidence.stack != given.stack:
        raise EvidenceError(
            f"{given.raw.path} is of stack {evidence.stack}, not of {given.stack or 'any that was named'}"
        )
    runs = [(evidence.started, evidence.seconds), *((check.started, check.seconds) for check in evidence.checks)]
    for started, seconds in runs:
        if seconds > timedelta(days=1).total_seconds():
            raise EvidenceError(f"{given.raw.path}: a check that took {seconds:g} s")
        is_bound(given, started, started + timedelta(seconds=seconds))


def samples_are_bound(given: Input, samples: Sequence[Sample]) -> None:
    """The samples are of the input's stack; their wall clock, right to some minutes, is of its time."""
    if problem := foreign_sample(samples, given.stack):
        raise EvidenceError(f"{given.raw.path}: {problem}")
    if samples:
        is_bound(given, min(each.wall for each in samples), max(each.wall for each in samples))


def tests_are_bound(given: Input, suite: ElementTree.Element, release: str) -> None:
    """The test run names this release, and is of the weeks before the report."""
    if (named := tested(suite)) != {release}:
        others = ", ".join(sorted(named)) or "no release that it names"
        raise EvidenceError(f"{given.raw.path} has tests of {others}, wanted {release}")
    stamps = [stamp for each in suite.iter("testsuite") if (stamp := each.get("timestamp"))]
    if not stamps:
        raise EvidenceError(f"{given.raw.path} does not say when its tests ran")
    for stamp in stamps:
        moment = datetime.fromisoformat(stamp)
        if moment.tzinfo is None:
            raise EvidenceError(f"{given.raw.path}: {stamp} has no time zone")
        is_bound(given, moment)
