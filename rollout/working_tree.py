"""A release's tree with its environment: where its commands run, and what they are told of the project."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout.errors import RolloutError

COMMAND_SECONDS = 3600.0
# They name modules and environments of whoever called us.
_OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "STACK_CONFIG_FILE")


@dataclass(frozen=True)
class WorkingTree:
    """`folder`: the commit's files, with `.venv`; `state`: the project's state folder, whichever tree works on it."""

    commit: str
    folder: Path
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """For commands that run in it."""
        theirs = {name: value for name, value in os.environ.items() if name not in _OURS}
        return theirs | {"REDIS_STATE_DIR": str(self.state)}

    def python(
        self, arguments: Sequence[str], more: Mapping[str, str] | None = None, *, apart: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS` with the release's Python."""
        return self.run([str(self.folder / ".venv" / "bin" / "python"), *arguments], more, apart=apart)

    def run(
        self, command: Sequence[str], more: Mapping[str, str] | None = None, *, apart: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """The command to its end, both its outputs in one unless `apart`. Raises RolloutError when it does not end."""
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env={**self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if apart else subprocess.STDOUT,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except OSError as error:
            raise RolloutError(f"`{shlex.join(command)}` could not be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise RolloutError(f"`{shlex.join(command)}` had not ended after {COMMAND_SECONDS:.0f} s") from None
