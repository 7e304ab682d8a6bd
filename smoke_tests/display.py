"""The run as text: a line for each check as it ends, a summary. Colours and the running check only on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.text import Text

from infra.contract import OperatorContract
from smoke_tests.catalogue import Spec
from smoke_tests.evidence import Check, Evidence, NotApplicable
from smoke_tests.verdict import Verdict

_STYLES = {
    Verdict.PASS: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
}
_VERDICT = 13
_CHECK = 27
_FIGURE = 34


class Display:
    """Writes to `console`. Lines are never cut: what a CI log loses is what one needs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: Status | None = None

    def start(self, contract: OperatorContract, count: int) -> None:
        self._line(Text(f"smoke tests of stack '{contract.stack}': {count} checks", style="bold"))

    def begun(self, spec: Spec) -> None:
        if self._console.is_terminal:
            self._running = self._console.status(f"{spec.id}: {spec.claim}")
            self._running.start()

    def ended(self, check: Check) -> None:
        self._clear()
        figure = f"{check.measured or 'no figure'} ({check.threshold})"
        line = Text()
        line.append(f"{check.verdict:<{_VERDICT}}", _STYLES[check.verdict])
        line.append(f"{check.check:<{_CHECK}}{figure:<{_FIGURE}}{check.seconds:6.2f} s  {check.claim}")
        if check.reason and check.verdict is Verdict.PASS:
            line.append(f"; {check.reason}", "dim")
        elif check.reason:
            line.append(f"\n{'':{_VERDICT}}{check.reason}")
        self._line(line)

    def not_applicable(self, checks: Iterable[NotApplicable]) -> None:
        for each in checks:
            self._line(Text(f"{'n/a':<{_VERDICT}}{each.check:<{_CHECK}}not applicable: {each.reason}", "dim"))

    def summary(self, evidence: Evidence, path: Path) -> None:
        """The verdict, why it is no better, what was left out, and where the evidence is."""
        self._clear()
        if evidence.trouble or evidence.interrupted:
            self._line(Text(evidence.trouble or "interrupted before the end", _STYLES[evidence.verdict]))
        if evidence.not_run:
            self._line(Text(f"not run: {', '.join(evidence.not_run)}"))
        counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(evidence.counts().items()))
        line = Text("verdict: ")
        line.append(evidence.verdict, _STYLES[evidence.verdict])
        line.append(f"  {counts or 'no check ran'}")
        if evidence.not_applicable:
            line.append(f", {len(evidence.not_applicable)} not applicable")
        line.append(f"; {evidence.seconds:.1f} s; evidence: {path}")
        self._line(line)

    def _line(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _clear(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None
