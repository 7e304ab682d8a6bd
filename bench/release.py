"""What a step of a rollout pays for running from the release's own tree."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from rollout.environments import environment_of
from rollout.errors import RolloutError
from rollout.git import commit_of
from rollout.trees import working_tree
from tools.paths import ROOT


def release(runs: int) -> None:
    """Times the making of a tree of HEAD, and the look at each of its files that comes before every step."""
    with tempfile.TemporaryDirectory() as home:
        try:
            commit = commit_of(ROOT, "HEAD")
        except RolloutError as reason:
            print(f"release: not measured: {reason}")
            return
        took = []
        for _ in range(runs + 1):
            began = time.monotonic()
            tree = working_tree(ROOT, Path(home) / "trees", commit)
            environment_of(tree, ROOT, Path(home) / "environments")
            took.append(time.monotonic() - began)
    print(f"a release's tree: made in {took[0]:.2f} s; before each step {statistics.median(took[1:]):.2f} s")
