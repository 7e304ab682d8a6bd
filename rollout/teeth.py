"""Shows seeded faults to the smoke checks: a green check that has never been red proves little.

The faults and the scratch topology come from the caller; `python -m tests.smoke.show_teeth FILE` brings both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.contract import OperatorContract, render_env
from rollout.report.inputs import Teeth, Tooth
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict

PROJECT = Path(__file__).resolve().parents[1]
SMOKE_S = 120

# Runs the named checks against a contract; None when no evidence was left.
Smoke = Callable[[OperatorContract, Sequence[str]], Evidence | None]


@dataclass(frozen=True)
class Fault:
    """A way to break the scratch topology, undone when its context ends, and the checks that must go red meanwhile."""

    name: str
    seed: Callable[[], AbstractContextManager[OperatorContract]]
    checks: tuple[str, ...]


def show(faults: Iterable[Fault], smoke: Smoke, done: Callable[[Sequence[Tooth]], None]) -> tuple[Tooth, ...]:
    """Seed one fault after the other and run its checks; `done` is told of each.

    A fault that cannot be seeded or undone leaves teeth that did not go red, with the reason: one broken fault does
    not hide what the others show.
    """
    found: list[Tooth] = []
    for fault in faults:
        try:
            with fault.seed() as contract:
                evidence = smoke(contract, fault.checks)
            teeth = [_tooth(fault, check, evidence) for check in fault.checks]
        except Exception as error:
            reason = f"the fault could not be shown: {type(error).__name__}"
            teeth = [_none(fault, check, reason) for check in fault.checks]
        done(teeth)
        found += teeth
    return tuple(found)


def save(teeth: Sequence[Tooth], command: str, path: Path) -> None:
    """Write what was seen as the report's `teeth` input, whole or not at all."""
    new = path.with_name(path.name + ".new")
    run = Teeth(when=datetime.now(UTC), command=command, teeth=tuple(teeth))
    new.write_text(run.model_dump_json(indent=2) + "\n", encoding="utf-8")
    new.replace(path)


def run_smoke(contract: OperatorContract, checks: Sequence[str]) -> Evidence | None:
    """The smoke suite in a process of its own. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory() as home:  # only its owner can read it
        path, evidence = Path(home) / "contract.env", Path(home) / "evidence"
        path.write_text(render_env(contract.to_env()), encoding="utf-8")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "smoke_tests",
                "--contract",
                path,
                "--evidence",
                evidence,
                "--only",
                ",".join(checks),
            ],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SMOKE_S,
            check=False,
        )
        left = sorted(evidence.glob("*/*.json"))
        return Evidence.model_validate_json(left[-1].read_text(encoding="utf-8")) if left else None


def _tooth(fault: Fault, check: str, evidence: Evidence | None) -> Tooth:
    """Only a fail is red: a suite that broke has not seen the fault."""
    ran = [each for each in evidence.checks if each.check == check] if evidence else []
    if not ran:
        return _none(fault, check, "the check did not run")
    verdict, reason = ran[0].verdict, ran[0].reason
    return Tooth(check=check, broken=fault.name, went_red=verdict is Verdict.FAIL, verdict=verdict, reason=reason)


def _none(fault: Fault, check: str, reason: str) -> Tooth:
    return Tooth(check=check, broken=fault.name, went_red=False, verdict=None, reason=reason)
