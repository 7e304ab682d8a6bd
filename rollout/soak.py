"""PURE  Credited soak: only seconds between two passing prober samples count.

A fold over samples: what it remembers is small and goes into the journal, so that any machine can go on. Time is the
samples' monotonic clock; the wall clock plays no part, so its steps cannot add or take a second.

- a gap (longer than allowed, a failed sample, a restart of the machine) pauses the clock: nothing counts until two
  passing samples follow each other again;
- a role flap (another master, or another configuration epoch), drift and a changed release set it back to 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from prober.samples import Sample

_RESETS_KEPT = 20
_Seconds = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0)]


class Position(BaseModel):
    """The last sample that was seen, as far as the next one is held against it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    boot_id: str
    monotonic_s: float
    passing: bool


class Credit(BaseModel):
    """How much soak has been earned so far, in seconds, and why it is not more."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    release: str
    max_gap_s: _Seconds
    credited_s: _Seconds = 0.0
    samples: _Count = 0
    failed: _Count = 0
    lost_acks: _Count = 0
    pauses: _Count = 0
    resets: tuple[str, ...] = ()
    last: Position | None = None
    master: str | None = None
    epoch: int | None = None

    def add(self, samples: Iterable[Sample]) -> Credit:
        """What is earned after these samples too; those seen before (by sequence) are left out."""
        credit = self
        for sample in samples:
            credit = credit._after(sample)
        return credit

    def reset(self, reason: str) -> Self:
        """Back to 0. The next sample begins anew, with whoever is master then."""
        changes = {"credited_s": 0.0, "last": self._paused(), "master": None, "epoch": None}
        return self.model_copy(update={**changes, "resets": (*self.resets, reason)[-_RESETS_KEPT:]})

    def _paused(self) -> Position | None:
        return self.last.model_copy(update={"passing": False}) if self.last else None

    def _after(self, sample: Sample) -> Credit:
        if self.last and sample.sequence <= self.last.sequence:
            return self
        passing = sample.ok and sample.lost_acks == 0
        counts = {
            "samples": self.samples + 1,
            "failed": self.failed + (not passing),
            "lost_acks": self.lost_acks + sample.lost_acks,
        }
        credit = self.model_copy(update=counts)
        reason = credit._reason_to_reset(sample)
        if reason:
            credit = credit.reset(reason)
        earned = credit._earned(sample) if passing else 0.0
        was_passing = credit.last is not None and credit.last.passing
        right = sample.release == self.release
        return credit.model_copy(
            update={
                "credited_s": credit.credited_s + earned,
                "pauses": credit.pauses
                + (was_passing and earned == 0.0 and not reason and not credit._same_moment(sample)),
                "last": Position(
                    sequence=sample.sequence,
                    boot_id=sample.boot_id,
                    monotonic_s=sample.monotonic_s,
                    passing=passing and right,
                ),
                "master": sample.master or credit.master,
                "epoch": credit.epoch if sample.epoch is None else sample.epoch,
            }
        )

    def _reason_to_reset(self, sample: Sample) -> str:
        where = f"sample {sample.sequence}"
        if sample.release != self.release:
            # Said once, not for each sample of the wrong release.
            return f"{where}: release {sample.release}, not {self.release}" if self._counting else ""
        if self.master and sample.master and sample.master != self.master:
            return f"{where}: role flap, master {self.master} -> {sample.master}"
        if self.epoch is not None and sample.epoch is not None and sample.epoch != self.epoch:
            return f"{where}: role flap, configuration epoch {self.epoch} -> {sample.epoch}"
        return ""

    @property
    def _counting(self) -> bool:
        return self.last is None or self.last.passing

    def _same_moment(self, sample: Sample) -> bool:
        last = self.last
        return last is not None and last.boot_id == sample.boot_id and last.monotonic_s == sample.monotonic_s

    def _earned(self, sample: Sample) -> float:
        """Seconds from the last sample to this one, when both pass and nothing lies between."""
        last = self.last
        if last is None or not last.passing or last.boot_id != sample.boot_id or sample.release != self.release:
            return 0.0
        seconds = sample.monotonic_s - last.monotonic_s
        return seconds if 0.0 < seconds <= self.max_gap_s else 0.0
