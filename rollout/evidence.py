"""Claims with what proves them, and raw files that are read only when they are what was hashed.

A raw file is named by its path below one folder (`root`) and by the SHA-256 of its bytes. The words of a verdict and
"the worst wins" are the smoke suite's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

from smoke_tests.evidence import Measured, Samples, Threshold
from smoke_tests.verdict import Verdict, worst

NOT_MEASURED = "not measured"

# A file of raw evidence: `path` below the evidence's root, in POSIX form, and the SHA-256 of its bytes.
RawFile = Samples


class EvidenceError(Exception):
    """A raw file cannot be believed. The message names the file and what is wrong."""


class EvidenceMissing(EvidenceError):
    """It is not there."""


class EvidenceChanged(EvidenceError):
    """Its bytes are not those that were hashed."""


class Claim(BaseModel):
    """One statement, what it is held against, what was measured, and the raw files that show it.

    `when`: the moment of measuring; `command`: how to measure it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str
    statement: str
    threshold: Threshold
    measured: Measured | None
    verdict: Verdict
    reason: str
    when: AwareDatetime | None
    command: str
    raw: tuple[RawFile, ...]

    @model_validator(mode="after")
    def _is_earned(self) -> Self:
        if self.verdict is not Verdict.PASS:
            return self
        if self.measured is None or self.measured.unit != self.threshold.unit:
            raise ValueError(f"{self.id}: a pass needs a figure in the threshold's unit")
        if not self.threshold.holds(self.measured.value):
            raise ValueError(f"{self.id}: {self.measured} is no pass, wanted {self.threshold}")
        if not (self.raw and self.when and self.command):
            raise ValueError(f"{self.id}: a pass needs a raw file, its time and its command")
        return self

    @property
    def has_evidence(self) -> bool:
        """Whether a figure was measured and kept."""
        return self.measured is not None and bool(self.raw)


def not_measured(id: str, statement: str, threshold: Threshold, reason: str = NOT_MEASURED) -> Claim:
    """The claim that nobody has measured: inconclusive."""
    return Claim(
        id=id,
        statement=statement,
        threshold=threshold,
        measured=None,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        when=None,
        command="",
        raw=(),
    )


def held_against(threshold: Threshold, figure: float) -> Verdict:
    """Pass or fail by the figure alone."""
    return Verdict.PASS if threshold.holds(figure) else Verdict.FAIL


def digest(content: bytes) -> str:
    """The SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def seal(root: Path, path: Path) -> RawFile:
    """Name a file below `root` by what it holds now. Raises EvidenceError when it is elsewhere or cannot be read."""
    try:
        name = path.relative_to(root).as_posix()
    except ValueError:
        raise EvidenceError(f"{path} is not below {root}") from None
    return RawFile(path=name, sha256=digest(_bytes_of(below(root, name), name)))


def load(root: Path, raw: RawFile) -> bytes:
    """The file's bytes, if they are what was hashed. Raises EvidenceMissing, EvidenceChanged or EvidenceError."""
    content = _bytes_of(below(root, raw.path), raw.path)
    if digest(content) != raw.sha256:
        raise EvidenceChanged(f"{raw.path} was changed: its SHA-256 is {digest(content)}, noted was {raw.sha256}")
    return content


def below(root: Path, name: str) -> Path:
    """The path of a file below `root`. Raises EvidenceError when it leads out, or when a part of it is a link."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
        raise EvidenceError(f"{name!r} leads out of the evidence's folder")
    path = root
    for part in pure.parts:
        path = path / part
        if path.is_symlink():
            raise EvidenceError(f"{name} is or goes through a link, which may lead anywhere")
    return path


def recheck(claim: Claim, root: Path) -> Claim:
    """The claim, made worse when a raw file of it is gone (inconclusive) or was changed (fail)."""
    problems = list(_problems(claim.raw, root))
    if not problems:
        return claim
    reasons = "; ".join([*(str(problem) for problem in problems), *([claim.reason] if claim.reason else [])])
    verdict = worst([claim.verdict, *map(verdict_of, problems)])
    return claim.model_copy(update={"verdict": verdict, "reason": reasons})


def verdict_of(problem: EvidenceError) -> Verdict:
    """What is gone shows nothing; what was changed or leads astray is somebody's doing."""
    return Verdict.INCONCLUSIVE if isinstance(problem, EvidenceMissing) else Verdict.FAIL


def _problems(files: tuple[RawFile, ...], root: Path) -> list[EvidenceError]:
    found: list[EvidenceError] = []
    for raw in files:
        try:
            load(root, raw)
        except EvidenceError as error:
            found.append(error)
    return found


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise EvidenceMissing(f"{name} is missing") from None
    except OSError as error:
        raise EvidenceMissing(f"{name} cannot be read: {error.strerror}") from None
