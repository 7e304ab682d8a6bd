"""What the engine asks of releases: which commit is meant, what it holds, and the stacks as it deploys them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from rollout.plan import Plan
from rollout.stacks import Stacks


class Releases(Protocol):
    """A release is a commit. All may raise RolloutError."""

    def commit(self, name: str) -> str:
        """The full commit that a name stands for ('': what is checked out). Refused when it may not be rolled out."""

    def plan(self, release: str) -> Plan:
        """The commit's own rollout.yaml: the only place that commands come from."""

    def bound(self, release: str, stack: str) -> dict[str, str]:
        """Digests of what would be deployed: `commit`, `tree`, `lock`, `configuration`; and `secrets`."""

    def prune(self, kept: Collection[str]) -> list[str]:
        """Remove from this machine what no release but these needs; a line for each thing. Raises nothing for it."""

    def stacks(self, release: str) -> Stacks:
        """The stacks, worked on from the commit's tree and in its environment; both are made when they are missing."""
