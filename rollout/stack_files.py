"""A release's stack files: its own settings, with the secrets in use; what a command declares goes back to the project.

Pulumi reads and writes one file for a stack. The release's must not be changed, and the project's lies in a working
copy that may be at another commit, edited or not: so each command gets a file of its own, made from both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from rollout.entries import canonical, digest
from rollout.errors import RolloutError
from tools.declared import declare
from tools.private_files import replace
from tools.stack_config import of_release, operated_of, read_config, secrets_of, settings_of
from tools.stacks import PROJECT, Stack


class StackFiles:
    """The stack files of one release. `tree`: its working tree; `home`: where the files for its commands are made."""

    def __init__(self, tree: Path, home: Path, root: Path, state: Path) -> None:
        self._tree = tree
        self._home = home
        self._root = root
        self._state = state

    def digests(self, stack: str) -> dict[str, str]:
        """What decides what is deployed, and what may be replaced in between: `configuration`, `secrets`."""
        content = self._content(stack)
        return {
            "configuration": digest(canonical(settings_of(content))),
            "secrets": digest(canonical(secrets_of(content))),
        }

    def stack(self, name: str) -> Stack:
        """The stack as the release has it, its file made anew. Raises RolloutError, ToolError."""
        file = self._home / f"Pulumi.{name}.yaml"
        replace(file, yaml.safe_dump(self._content(name), sort_keys=False))
        return Stack(name, self._state, file)

    @contextmanager
    def lent(self, name: str) -> Iterator[Path]:
        """The stack's file for one command; what it declares in it is declared in the project's file, too."""
        stack = self.stack(name)
        before = operated_of(read_config(stack.committed_config))
        try:
            yield stack.committed_config
        finally:
            after = operated_of(read_config(stack.committed_config))
            for key, value in after.items():
                if before.get(key) != value:
                    self.declare(name, key.removeprefix(f"{PROJECT}:"), str(value))

    def declare(self, name: str, key: str, value: str) -> None:
        """Into the project's file, which every later command of any release reads."""
        declare(Stack(name, self._state, self._ours(name)), key, value)

    def _content(self, name: str) -> dict[str, Any]:
        file = self._tree / f"Pulumi.{name}.yaml"
        if not file.is_file():
            raise RolloutError(f"release {self._tree.name} has no {file.name}\n  fix: commit the stack's file")
        committed, ours = read_config(file), read_config(self._ours(name))
        return of_release(committed, ours or committed)

    def _ours(self, name: str) -> Path:
        return Path(os.environ.get("STACK_CONFIG_FILE") or self._root / f"Pulumi.{name}.yaml").absolute()
