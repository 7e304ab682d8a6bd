"""PURE  Which server can read the data set that another one has written, by the version of its RDB files."""

from __future__ import annotations

import re
from dataclasses import dataclass

# By the first release that writes it. What the two have in common ends with 11: since 9.0 Valkey counts from 80, so
# that neither takes the other's files for its own.
_WRITTEN = {
    "redis": {(7, 0): 10, (7, 2): 11, (7, 4): 12, (8, 2): 13},
    "valkey": {(7, 2): 11, (9, 0): 80},
}
_COMMON = 11


@dataclass(frozen=True)
class Engine:
    """A server: `redis` or `valkey`, and its version."""

    flavour: str
    version: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Engine | None:
        """What `--version` prints (`Valkey server v=8.1.4 ...`), or `str` of one; None for anything else."""
        found = re.search(r"\b(redis|valkey)(?: server v=| )(\d+(?:\.\d+)+)", text, re.IGNORECASE)
        return cls(found[1].lower(), tuple(map(int, found[2].split(".")))) if found else None

    @classmethod
    def of_info(cls, text: str) -> Engine | None:
        """What INFO says of a running server. Valkey tells a version of Redis, too: the one it is compatible with."""
        told = dict(re.findall(r"^(redis_version|valkey_version):(\S+)", text, re.MULTILINE))
        flavour = "valkey" if "valkey_version" in told else "redis"
        return cls.parse(f"{flavour} {told.get(f'{flavour}_version', '')}")

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.version))}"

    @property
    def writes(self) -> int:
        """The version of what it writes."""
        releases = _WRITTEN[self.flavour]
        return max(number for first, number in releases.items() if first <= self.version or first == min(releases))

    def reads(self, other: Engine) -> bool:
        """Whether it can read the other's data set."""
        if self.flavour == other.flavour:
            return other.writes <= self.writes
        return other.writes <= min(self.writes, _COMMON)
