"""PURE  Verdicts, and how several become one: the worst wins, and nothing at all is never a pass."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """From the best to the worst. An error is worse than a failure: a failure has at least been measured."""

    PASS = "pass"  # noqa: S105 - no password
    INCONCLUSIVE = "inconclusive"  # no figure, nothing ran, or not to its end
    FAIL = "fail"  # the deployment does not do what the check claims
    ERROR = "error"  # the suite itself broke: nobody knows


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.ERROR: 2, Verdict.INCONCLUSIVE: 3}

_SEVERITY = tuple(Verdict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of `verdicts`; inconclusive when there are none."""
    return max(verdicts, key=_SEVERITY.index, default=Verdict.INCONCLUSIVE)


def of_check(outcome: Verdict, *, measured: bool) -> Verdict:
    """A check's verdict: one that passed without a measured figure has shown nothing."""
    return outcome if measured else worst([outcome, Verdict.INCONCLUSIVE])


def of_run(checks: Iterable[Verdict], *, complete: bool, broken: bool) -> Verdict:
    """A run's verdict. `complete`: every check asked for ran to its end; `broken`: the runner itself failed."""
    trouble = [Verdict.ERROR] * broken + [Verdict.INCONCLUSIVE] * (not complete)
    return worst([*checks, *trouble])
