"""The report as one value, and its only spelling as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rollout.evidence import Claim
from rollout.report.inputs import Approval, Failover, Manifest, PhaseRecord
from smoke_tests.verdict import Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Section(_Part):
    """A heading and the ids of its claims."""

    id: str
    title: str
    claims: tuple[str, ...]


class Risk(_Part):
    """A risk, what shows that it is held, and the worst verdict among that."""

    name: str
    answer: str
    claims: tuple[str, ...]
    verdict: Verdict


class AreaScore(_Part):
    """One row of the score: `proven` of `lines` claims passed on evidence; `points` of `weight`."""

    area: str
    weight: int
    proven: int
    lines: int
    points: float


class Report(_Part):
    """Everything that the three renderings show, but the plots."""

    format: int
    unsigned: str = ""  # why nobody's signature stands for its journal; '' when somebody's does, or it has no journal
    manifest: Manifest
    verdict: Verdict
    reasons: tuple[str, ...]
    score: float
    areas: tuple[AreaScore, ...]
    sections: tuple[Section, ...]
    claims: tuple[Claim, ...]
    red_on: dict[str, tuple[str, ...]]  # smoke check -> the seeded faults on which it went red
    risks: tuple[Risk, ...]
    phases: tuple[PhaseRecord, ...]
    failovers: tuple[Failover, ...]
    approvals: tuple[Approval, ...]
    facts: dict[str, str]

    def claim(self, id: str) -> Claim:
        return next(claim for claim in self.claims if claim.id == id)


def to_json(report: Report) -> str:
    """The one way to write it: `verify` compares bytes."""
    return report.model_dump_json(indent=2) + "\n"
