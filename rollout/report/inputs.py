"""What a report is made of: raw files, each with its kind, and what is in them.

kind          content
smoke         the smoke suite's evidence (JSON); its own raw samples are checked with it
junit         a test run's JUnit XML; `name` says which: unit, integration, failover, performance or load
baseline      the prober's samples (JSONL) of what runs now
canary        the same of the new release, taken at the same time
soak          the same while a phase soaks
failovers     one Failover a line
measurements  one Measurement a line: every other figure, by the ids that rollout/report/catalogue.py asks for
quorum        one QuorumAnswer a line: CKQUORUM, asked while watching
teeth         what rollout/teeth.py wrote
phases        one PhaseRecord a line
approvals     one Approval a line
journal       the journal's entries, one a line, from the first one of all to the last before the report
facts         a JSON object of texts: the configuration to be shown, no secrets
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rollout.evidence import RawFile
from smoke_tests.verdict import Verdict

Kind = Literal[
    "smoke",
    "junit",
    "baseline",
    "canary",
    "soak",
    "failovers",
    "measurements",
    "quorum",
    "teeth",
    "phases",
    "approvals",
    "journal",
    "facts",
]


# No figure of ours is below zero: one that were could make up for another.
_Figure = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Input(_Record):
    """One raw file. `command`: what made it, and `when`; `phase`: staging, canary or prod.

    What it is bound to: it has to be of this `stack` and of the time from `since` to `until`, its step's.
    """

    kind: Kind
    phase: str
    raw: RawFile
    when: AwareDatetime
    command: str
    name: str = ""
    stack: str = ""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class Manifest(_Record):
    """The whole input of a report. Samples of any other release than these are refused."""

    project: str
    release: str
    baseline_release: str
    made: AwareDatetime
    inputs: tuple[Input, ...]


class Measurement(_Record):
    """One figure that something measured."""

    id: str
    value: _Figure
    unit: str
    when: AwareDatetime
    command: str
    note: str = ""


class Failover(_Record):
    """One failover under the acked-write ledger: planned or a crash; times as the client saw them."""

    when: AwareDatetime
    phase: str
    kind: Literal["planned", "crash"]
    old: str
    new: str
    gap_ms: _Figure
    completed_s: _Figure
    acknowledged: _Count
    lost: _Count


class QuorumAnswer(_Record):
    """One CKQUORUM: whether every Sentinel asked said OK."""

    when: AwareDatetime
    ok: bool


class PhaseRecord(_Record):
    """One phase as the journal has it; soak in credited seconds."""

    phase: str
    stack: str
    began: AwareDatetime
    ended: AwareDatetime | None
    required_soak_s: _Figure
    credited_soak_s: _Figure
    verdict: Verdict
    note: str = ""


class Approval(_Record):
    """One sign-off, bound to what was approved."""

    when: AwareDatetime
    phase: str
    who: str
    reason: str
    plan_sha256: str
    state_sha256: str
    config_epoch: _Count


class Tooth(_Record):
    """A seeded fault (`broken`) shown to one smoke check."""

    check: str
    broken: str
    went_red: bool
    verdict: Verdict | None
    reason: str


class Teeth(_Record):
    """One run of rollout/teeth.py."""

    when: AwareDatetime
    command: str
    teeth: tuple[Tooth, ...]
