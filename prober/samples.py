"""PURE  What the prober saw of one operation, and how its files are read back.

A folder of samples holds `samples-<first sequence>.jsonl`, one JSON object a line, in the order of time. A file that
the prober has closed has its SHA-256 beside it (`.sha256`, as sha256sum writes and checks it); one without is being
written, or its prober was killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Literal

import pydantic.dataclasses
from pydantic import AwareDatetime, Field, ValidationError

PATTERN = "samples-*.jsonl"


class SamplesDamaged(Exception):
    """A sample file is not what the prober wrote. The message names the file and what is wrong."""


# What no clock, counter or name of ours exceeds. A file is anybody's until it was read: NaN, Infinity and what is below
# zero are refused here, so that nothing behind it has to ask again.
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Seconds = Annotated[float, Field(ge=0, le=1e10)]
_Milliseconds = Annotated[float, Field(ge=0, le=1e9)]
# Names are told in messages of one line: nothing in them controls a terminal or begins another line.
_Name = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]+$")]
_Text = Annotated[str, Field(max_length=2000)]


@pydantic.dataclasses.dataclass(
    frozen=True, slots=True, config=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
)
class Sample:
    """One operation through the contract.

    `sequence` counts up and goes on after a restart. `monotonic_s` is when the operation began, by a clock that
    counts from the boot that `boot_id` names: times of one boot can be compared, whatever was done to the wall
    clock. `wall` is the same moment in UTC, for people. `latency_ms` is the whole operation, its retries within a
    second included; None when it failed, and for what a prober reads back at its end, as fast as it can: that is
    nobody's pace. `lost_acks` counts the acknowledged writes that this operation found missing: they sum up over
    samples. `master` (host:port) is the node that the client was connected to. `epoch` is the Sentinels'
    configuration epoch, None in standalone mode or when no Sentinel has answered lately. `release` is what is
    deployed. `stack` is whose contract the prober goes by; None when the contract did not tell.

    A week has six million of them: 0.3 KB each in memory, where a BaseModel takes 1.5.
    """

    sequence: _Count
    boot_id: _Name
    monotonic_s: _Seconds
    wall: AwareDatetime
    operation: Literal["write", "read"]
    ok: bool
    latency_ms: _Milliseconds | None
    error: _Text | None
    lost_acks: _Count
    master: _Name | None
    epoch: _Count | None
    release: _Name
    stack: _Name | None = None


@dataclass(frozen=True)
class SampleFile:
    """One file of samples. `sha256` is what the prober noted when it closed the file; None while it is open."""

    path: Path
    sha256: str | None


_FORMAT = pydantic.TypeAdapter(Sample)


def sample_of(line: bytes | str) -> Sample:
    """Raises pydantic.ValidationError for a line that is no sample."""
    return _FORMAT.validate_json(line)


class InOrder:
    """Samples as one prober takes them: the sequence rises, a boot's clock never goes back, no boot comes again."""

    def __init__(self) -> None:
        self._last: Sample | None = None
        self._ended: set[str] = set()

    def problem(self, sample: Sample) -> str:
        """What is wrong with the next sample; '' when it follows. One that does not is not remembered."""
        last = self._last
        if last is not None:
            if sample.sequence <= last.sequence:
                return f"sequence {sample.sequence} after {last.sequence}"
            if sample.boot_id in self._ended:
                return f"boot {sample.boot_id} again, after another one"
            if sample.boot_id != last.boot_id:
                self._ended.add(last.boot_id)
            elif sample.monotonic_s < last.monotonic_s:
                return f"the clock goes back, from {last.monotonic_s} s to {sample.monotonic_s} s"
        self._last = sample
        return ""


def samples_in(content: bytes, name: str, order: InOrder | None = None) -> Iterator[Sample]:
    """The samples of a file's whole lines. Raises SamplesDamaged with the line's number.

    `order`: what was read before this file, if anything.
    """
    order = order or InOrder()
    complete = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            sample = sample_of(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = _printable(".".join(str(part) for part in first["loc"]))
            problem = f"{where}: {first['msg']}" if where else first["msg"]
            raise SamplesDamaged(f"{name}, line {number} is no sample: {problem}") from None
        if problem := order.problem(sample):
            raise SamplesDamaged(f"{name}, line {number} does not follow: {problem}")
        yield sample


def line_of(sample: Sample) -> bytes:
    """As it stands in a file, with the line's end."""
    return _FORMAT.dump_json(sample) + b"\n"


def sample_files(folder: Path) -> list[SampleFile]:
    """The folder's files, oldest first; none for a folder that does not exist."""
    return [SampleFile(path, _noted_digest(path)) for path in sorted(folder.glob(PATTERN))]


def read_samples(folder: Path, after: int = -1) -> Iterator[Sample]:
    """Every sample of the folder with a larger sequence than `after`, oldest first.

    A file whose successor begins there at the latest is not opened: a folder may hold days of samples, and more than a
    machine has memory for. Raises SamplesDamaged for a closed file that has changed and for a line that is no sample or
    does not follow.
    The last line of a file may be torn, which is how a killed prober or a cut of power leaves it: it is left out.
    """
    files, order = sample_files(folder), InOrder()
    for file, following in zip_longest(files, files[1:]):
        if following and _first_sequence(following.path) <= after + 1:
            continue
        for sample in samples_of(file, order):
            if sample.sequence > after:
                yield sample


def newest_samples(folder: Path) -> Iterator[Sample]:
    """Every sample of the folder, newest first. A file is opened when its turn comes. Raises as `read_samples`."""
    for file in reversed(sample_files(folder)):
        yield from reversed(list(samples_of(file)))


def digest_path(path: Path) -> Path:
    """Where the digest of a closed file is."""
    return path.with_name(path.name + ".sha256")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def samples_of(file: SampleFile, order: InOrder | None = None) -> Iterator[Sample]:
    """The samples of one file. Raises as `read_samples`."""
    content = _content(file.path)
    if content is None:
        return
    if file.sha256 not in (None, digest(content)):
        raise SamplesDamaged(f"{file.path} has changed since it was closed: its SHA-256 is not the noted one")
    yield from samples_in(content, str(file.path), order)


def _content(path: Path) -> bytes | None:
    """None for a file that its prober has removed since the folder was listed: it keeps the newest ones only."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise SamplesDamaged(f"{path} is no file")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SamplesDamaged(f"{path} cannot be read: {error.strerror}") from None


def _printable(text: str) -> str:
    """On one line, and no longer than one: a field's name may be anybody's."""
    return "".join(each if each.isprintable() else "?" for each in text[:100])


def _first_sequence(path: Path) -> int:
    try:
        return int(path.stem.rpartition("-")[2])
    except ValueError:
        raise SamplesDamaged(f"{path} is not named after its first sample's sequence") from None


def _noted_digest(path: Path) -> str | None:
    content = _content(digest_path(path))
    if content is None:
        return None
    try:
        return content.decode("ascii").split()[0]
    except (IndexError, UnicodeDecodeError):
        raise SamplesDamaged(f"{digest_path(path)} holds no SHA-256") from None
