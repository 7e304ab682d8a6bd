"""PURE  Durations as people write them: 500ms, 5s, 30m, 48h, 7d."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h|d)")


def parse(text: str) -> float:
    """Seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("a number with ms, s, m, h or d, such as 48h")
    return float(match[1]) * _UNITS[match[2]]


def show(seconds: float) -> str:
    """Short, for people: the largest unit that leaves at least 1, one digit after the point."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.1f}".removesuffix(".0") + unit
    return f"{seconds:.1f}".removesuffix(".0") + "s"
