"""What one check hands in while it runs: its figure, a remark, its raw samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoke_tests.evidence import Measured, Samples, Threshold
from smoke_tests.scrub import Scrubber


class NotAsClaimed(AssertionError):
    """The figure misses its threshold. The message says what was seen instead."""


@dataclass
class Result:
    """Filled by the check, read by the recorder."""

    threshold: Threshold
    measured: Measured | None = None
    reason: str = ""
    samples: Samples | None = None

    def measure(self, figure: float, reason: str = "") -> None:
        """Record the check's one figure and a remark on it. Raises NotAsClaimed when it misses its threshold."""
        if self.measured is not None:
            raise RuntimeError("a check measures one figure")
        self.measured = Measured(value=round(figure, 3), unit=self.threshold.unit)
        self.reason = reason
        if not self.threshold.holds(self.measured.value):
            raise NotAsClaimed(reason or f"{self.measured}, wanted {self.threshold}")


def listing(items: Sequence[object], most: int = 5) -> str:
    """The first few of `items`, for a reason that people read; the samples have them all."""
    more = f"; and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(map(str, items[:most])) + more


@dataclass(frozen=True)
class SampleFolder:
    """Where raw samples go: one file per subject, beside the evidence file."""

    folder: Path
    scrub: Scrubber = field(repr=False)

    def lines(self, name: str, samples: Iterable[Any]) -> Samples:
        """Keep each sample as one line of JSON."""
        text = "".join(json.dumps(_plain(sample)) + "\n" for sample in samples)
        path = self.path(name)
        path.write_text(self.scrub(text), encoding="utf-8")
        return self.seal(path)

    def path(self, name: str) -> Path:
        self.folder.mkdir(exist_ok=True)
        return self.folder / f"{name}.jsonl"

    def seal(self, path: Path) -> Samples:
        """Name a file that was written here, with its digest."""
        return Samples(path=f"{self.folder.name}/{path.name}", sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _plain(value: Any) -> Any:
    """What JSON can hold: mappings with text keys, lists, numbers; all else as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(map(str, value))
    return value if value is None or isinstance(value, int | float | bool) else str(value)
