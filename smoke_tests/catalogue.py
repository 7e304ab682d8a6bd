"""What is checked: every check's id, claim and threshold, found on the test functions themselves."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.contract import OperatorContract
from smoke_tests.evidence import Threshold

# In the order of their running: what is quick and harmless first, the failover, which moves the master, last.
SUBJECTS = ("contract", "topology", "quorum", "auth", "replication", "persistence", "failover")

Limit = Threshold | Callable[["Question"], Threshold]
Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Question:
    """What a run is asked: about which deployment, and the longest write gap (ms) that its failover may have."""

    contract: OperatorContract
    max_gap_ms: float

    @property
    def replicas(self) -> int:
        return len(self.contract.nodes) - 1


@dataclass(frozen=True)
class Spec:
    """A declared check. `sentinel_only`: it says nothing about a standalone deployment."""

    id: str
    claim: str
    limit: Limit
    sentinel_only: bool
    node_id: str = ""

    def threshold(self, question: Question) -> Threshold:
        return self.limit if isinstance(self.limit, Threshold) else self.limit(question)


def check(id: str, claim: str, limit: Limit, *, sentinel_only: bool = False) -> Callable[[Test], Test]:
    """Declare a test function as a check. `limit` is the threshold, or how it follows from what is declared."""

    def mark(test: Test) -> Test:
        location = f"{Path(inspect.getfile(test))}::{test.__name__}"
        test.spec = Spec(id, claim, limit, sentinel_only, location)  # type: ignore[attr-defined]
        return test

    return mark


def spec_of(test: Any) -> Spec:
    found: Spec = test.spec
    return found


def catalogue() -> tuple[Spec, ...]:
    """Every check, in the order of running."""
    modules = [importlib.import_module(f"smoke_tests.checks.test_{subject}") for subject in SUBJECTS]
    return tuple(spec_of(test) for module in modules for test in vars(module).values() if hasattr(test, "spec"))
