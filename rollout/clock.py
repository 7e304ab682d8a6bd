"""PURE  How far clocks of two machines may be apart before one of them is not believed."""

from __future__ import annotations

from datetime import datetime, timedelta

SKEW = timedelta(minutes=5)


def outside(moment: datetime, since: datetime, until: datetime) -> str:
    """How a moment misses a window, a skew of the clocks allowed for; '' when it does not."""
    if moment < since - SKEW:
        return f"{moment:%Y-%m-%d %H:%M:%S} is before {since:%Y-%m-%d %H:%M:%S}"
    if moment > until + SKEW:
        return f"{moment:%Y-%m-%d %H:%M:%S} is after {until:%Y-%m-%d %H:%M:%S}"
    return ""
