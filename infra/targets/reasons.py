"""PURE  A node's log -> why it is not well, where that is known, with what to do about it; else its telling lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

TAIL = 600
"""Lines to look at: a server that panics says hundreds."""
RECENT = 60
"""Of them, those that count: what a node said before was about something else."""
SHOWN = 6
AGAIN = "then run `make up` again"


@dataclass(frozen=True)
class Reason:
    said: re.Pattern[str]
    what: str
    fix: str


def _reason(said: str, what: str, fix: str) -> Reason:
    return Reason(re.compile(said), what, fix)


_KNOWN = (
    _reason(
        r"No space left on device|[Ss]hort write|Disk quota exceeded",
        "its disk is full",
        f"free space where its data lies, or give it a larger volume, {AGAIN}",
    ),
    _reason(
        r"WRONGPASS|NOAUTH|invalid username-password pair",
        "a peer refuses its password",
        "`make rotate` gives all nodes new ones",
    ),
    _reason(
        r"Address already in use",
        "another process listens at its address",
        f"end that one, or choose other ports, {AGAIN}",
    ),
    _reason(
        r"Permission denied|Read-only file system|Operation not permitted",
        "it may not read or write its files",
        f"give its data folder or volume back to the user that it runs as, {AGAIN}",
    ),
    _reason(
        r"Can't handle RDB format version",
        "its server is older than the one that wrote the data",
        f"give it the image or server of the others, {AGAIN}",
    ),
    _reason(
        r"Cannot allocate memory|Out Of Memory|[Oo]ut of memory|ended by itself, status 137",
        "it was killed, or got no more memory",
        f"set a smaller maxmemory, or give the machine more memory, {AGAIN}",
    ),
)
# `12:S 29 Nov 2026 21:18:33.958 # text`, of which # marks a warning; node scripts begin with an ISO date.
_SERVERS = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ (?P<level>[.*#-]) (?P<text>.*)$")
_SCRIPTS = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \S+ (?P<text>.*)$")
_SHELLS = re.compile(r"^\S+\.sh: (line )?\d+: (?P<text>.*)$")


def of(name: str, where: str, log: str) -> str:
    """What an error says of a node: why it is not well, where that is known, and the telling lines of its log.

    `where`: what its log is called.
    """
    why = known(log)
    lines = "\n".join(telling(log)) or "(no log)"
    return (f"{name}: {why}\n" if why else "") + f"--- the last lines of {where}:\n{lines}"


def known(log: str) -> str:
    """`why: the node's own words`, and on a line of its own the fix; empty when the log tells no known reason."""
    for line in reversed(_recent(log)):
        for reason in _KNOWN:
            if reason.said.search(line):
                return f"{reason.what}: {_text(line)}\n  fix: {reason.fix}"
    return ""


def telling(log: str) -> list[str]:
    """The last lines that say something: warnings and what the node scripts said, each once; else simply the last."""
    lines = _recent(log)
    last: dict[str, str] = {}
    for line in _warnings(lines):
        last.pop(_text(line), None)
        last[_text(line)] = line
    return (list(last.values()) or lines)[-SHOWN:]


def _recent(log: str) -> list[str]:
    """Without a crash's report: its lines have no date, and one may be what an application wrote."""
    lines = log.splitlines()[-TAIL:]
    return [line for line in lines if _match(line)][-RECENT:] or lines[-SHOWN:]


def _warnings(lines: list[str]) -> Iterator[str]:
    for line in lines:
        found = _match(line)
        if found and found.groupdict().get("level", "#") == "#":
            yield line


def _text(line: str) -> str:
    found = _match(line)
    return found["text"] if found else line


def _match(line: str) -> re.Match[str] | None:
    return _SERVERS.match(line) or _SCRIPTS.match(line) or _SHELLS.match(line)
