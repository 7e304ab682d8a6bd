"""Which stack is meant, and where its files are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tools.errors import ToolError
from tools.paths import ROOT, state_folder

PROJECT = "redis-sentinel"
# Only this stack gets a backend, a passphrase and passwords of its own making.
DEV = "dev"


@dataclass(frozen=True)
class Stack:
    """A stack by name, with the folder that holds everything we write: `$REDIS_STATE_DIR`, default `.state`."""

    name: str
    state: Path
    committed_config: Path

    @property
    def is_dev(self) -> bool:
        return self.name == DEV

    @property
    def folder(self) -> Path:
        return self.state / self.name

    @property
    def config(self) -> Path:
        """The file that Pulumi reads and writes: for dev a copy, so that no salt or ciphertext gets committed."""
        return self.folder / f"Pulumi.{self.name}.yaml" if self.is_dev else self.committed_config


def choose(name: str) -> Stack:
    """The stack with this name. Raises ToolError when the name or its configuration file is not there.

    `$STACK_CONFIG_FILE` names another configuration file than the committed `Pulumi.<stack>.yaml`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise ToolError(f"{name!r} is not a stack's name\n  fix: letters, digits, '_' and '-', such as STACK=dev")
    committed = Path(os.environ.get("STACK_CONFIG_FILE") or ROOT / f"Pulumi.{name}.yaml").absolute()
    if not committed.is_file():
        known = ", ".join(sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")))
        raise ToolError(f"stack '{name}' has no file {committed.name}\n  fix: create it, or choose one of: {known}")
    return Stack(name, state_folder(), committed)
