"""Runs the smoke suite the way `make smoke` does: in a process of its own, judged by its exit code and its evidence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.contract import OperatorContract, render_env
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a run left: exit code, both streams, the evidence folder, and what it says (None: no evidence was left)."""

    code: int
    output: str
    folder: Path
    evidence: Evidence | None

    def verdicts(self) -> dict[str, Verdict]:
        assert self.evidence is not None, self.output
        return {check.check: check.verdict for check in self.evidence.checks}


class Runner:
    """One folder for the contract and the evidence of any number of runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def smoke(self, contract: OperatorContract, *arguments: str) -> Outcome:
        """Run the suite to its end."""
        process = self.begin(contract, *arguments)
        return self.end(process)

    def begin(self, contract: OperatorContract, *arguments: str, program: str = "") -> subprocess.Popen[str]:
        """Start the suite; `program` is Python to run in place of the module, with the same arguments."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "contract.env"
        path.write_text(render_env(contract.to_env()))
        what = ["-c", program] if program else ["-m", "smoke_tests"]
        return subprocess.Popen(
            [sys.executable, *what, "--contract", path, "--evidence", self._folder / "evidence", *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], already_read: str = "") -> Outcome:
        try:
            output = already_read + process.communicate(timeout=90)[0]
        finally:
            process.kill()
        folder = self._folder / "evidence"
        files = sorted(folder.glob("*/*.json"))
        evidence = Evidence.model_validate_json(files[-1].read_text()) if files else None
        return Outcome(process.returncode, output, folder, evidence)
