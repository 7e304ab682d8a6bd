"""This project's releases: commits of its repository that the allowed branch has, each with a tree of its own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from rollout.environments import environment_of, lock_hash
from rollout.errors import RolloutError
from rollout.git import commit_of, git, is_reachable
from rollout.plan import Plan, read
from rollout.project_stacks import ProjectStacks
from rollout.pruning import prune
from rollout.stack_files import StackFiles
from rollout.trees import VENV, content_of, tree_of, working_tree
from rollout.working_tree import WorkingTree
from tools.paths import ROOT, state_folder
from tools.private_files import private_folder
from tools.stack_config import read_config, same_settings


class ProjectReleases:
    """`plan_file`: which file of a commit is its plan; `branch`: the one that every release must be on."""

    made_of: type[ProjectStacks] = ProjectStacks

    def __init__(self, plan_file: Path, branch: str, root: Path = ROOT) -> None:
        self._plan_file = plan_file
        self._branch = branch
        self._root = root
        self._stacks: dict[str, ProjectStacks] = {}

    def commit(self, name: str) -> str:
        commit = commit_of(self._root, name or "HEAD")
        self._allowed(commit)
        if dirt := self._dirt():
            raise RolloutError(
                f"the working tree has changes that no commit has: {', '.join(dirt[:5])}; nothing was begun\n"
                "  fix: commit them (a release is a commit), or remove them"
            )
        return commit

    def plan(self, release: str) -> Plan:
        release = self._known(release)
        try:
            path = self._plan_file.resolve().relative_to(self._root.resolve()).as_posix()
        except ValueError:
            raise RolloutError(
                f"{self._plan_file} is in no commit of {self._root}; a plan counts as it was committed\n"
                "  fix: name a file of the project with --plan"
            ) from None
        text = content_of(self._root, release, path)
        if text is None:
            raise RolloutError(f"release {release} has no {path}\n  fix: commit it; or name another with --plan")
        return read(text, f"{path} of {release[:12]}")

    def bound(self, release: str, stack: str) -> dict[str, str]:
        release = self._known(release)
        tree = self._tree(release)
        return {
            "commit": release,
            "tree": tree_of(self._root, release),
            "lock": lock_hash(tree),
            **self._files(release, tree).digests(stack),
        }

    def stacks(self, release: str) -> ProjectStacks:
        release = self._known(release)
        tree = self._tree(release)
        venv = environment_of(tree, self._root, private_folder(self._home / "environments"))
        _link(tree / VENV, venv)
        if release not in self._stacks:
            there = WorkingTree(release, tree, state_folder())
            self._stacks[release] = self.made_of(there, self._files(release, tree))
        return self._stacks[release]

    def prune(self, kept: Collection[str]) -> list[str]:
        return prune(self._home, kept)

    @property
    def _home(self) -> Path:
        return private_folder(state_folder() / "releases")

    def _tree(self, release: str) -> Path:
        return working_tree(self._root, self._home / "trees", release)

    def _files(self, release: str, tree: Path) -> StackFiles:
        return StackFiles(tree, self._home / "stack-files" / release, self._root, state_folder())

    def _known(self, release: str) -> str:
        """A release that a journal names: it is looked at as closely as one that a person names."""
        if commit_of(self._root, release) != release:
            raise RolloutError(f"release {release!r} is no full commit\n  fix: rollout start names one by itself")
        self._allowed(release)
        return release

    def _allowed(self, commit: str) -> None:
        if not is_reachable(self._root, commit, self._branch):
            raise RolloutError(
                f"release {commit} is not on branch {self._branch}, the only one that releases come from\n"
                f"  fix: merge it into {self._branch}; in CI fetch the whole history"
            )

    def _dirt(self) -> list[str]:
        """Files that differ from the commit that is checked out. A stack's own secrets and shares are no change."""
        lines = git(self._root, "status", "--porcelain=v1", "--no-renames", "--untracked-files=normal", "-z")
        found = [line.decode(errors="replace") for line in lines.split(b"\0") if line]
        return [line[3:] for line in found if not self._is_operated(line[3:])]

    def _is_operated(self, path: str) -> bool:
        file = self._root / path
        if not (path.startswith("Pulumi.") and path.endswith(".yaml") and file.is_file()):
            return False
        committed = content_of(self._root, "HEAD", path)
        return committed is not None and same_settings(yaml.safe_load(committed) or {}, read_config(file))


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
