"""One way to report bad input: every problem at once, each with what was found and the command that fixes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what the user gave us.

    `found` is already safe to print: the caller redacts secrets before making a Problem.
    """

    key: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: found {self.found}; expected {self.expected}\n      fix: {self.remedy}"


class ConfigurationError(Exception):
    """Bad input. `str()` is the whole message for the user: no traceback is needed to understand it."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        self.stack = stack
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"stack '{stack}': {count} in the configuration, nothing was changed\n{lines}")
