"""The rollout's command line on real stacks that nobody probes: python -m tests.rollout.short_rollout COMMAND

What reads and changes a stack's deployment is the project's own. Smoke suite and prober, which have tests of their own
and take their time, are made up.
"""

# ruff: noqa: ARG002 - the parameters are those of what is replaced

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prober.samples import Sample
from rollout.cli import make_app
from rollout.project_releases import ProjectReleases
from rollout.project_stacks import ProjectStacks
from rollout.stacks import Outcome
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import sample


class Unprobed(ProjectStacks):
    """Real but for what watches it."""

    def smoke(self, stack: str) -> Outcome:
        return Outcome(Verdict.PASS, "made up", files={"smoke.txt": b"made up"})

    def drift(self, stack: str) -> Outcome:
        return Outcome(Verdict.PASS, "made up", files={"drift.txt": b"made up"})

    def quorum(self, stack: str) -> bool | None:
        return True

    def samples(self, folder: str, after: int) -> list[Sample]:
        wall = datetime.now(UTC)
        return [sample(after + 1 + n, release=self._tree.commit, wall=wall) for n in range(2200)]

    def newest(self, folder: str) -> Iterator[Sample]:
        yield sample(0, release=self._tree.commit)


class Releases(ProjectReleases):
    """The project's, with such stacks."""

    made_of = Unprobed


if __name__ == "__main__":
    make_app(Releases)()
