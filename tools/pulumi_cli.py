"""Calls of pulumi that answer quickly: their output is captured, a failure becomes one error."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.errors import ToolError
from tools.paths import ROOT

CALL_SECONDS = 120


def call(
    arguments: list[str], environment: Mapping[str, str], *, place: Path = ROOT, secret_input: str | None = None
) -> str:
    """Standard output of `pulumi ARGUMENTS`. `secret_input` goes to its standard input. Raises ToolError."""
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    shown = "pulumi " + " ".join(arguments)
    try:
        # A closed stdin instead of the terminal: nothing here may wait for a person.
        done = subprocess.run(
            command,
            cwd=place,
            env=dict(environment),
            input=secret_input or "",
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"`{shown}` did not answer within {CALL_SECONDS} s\n  fix: try again") from None
    if done.returncode != 0:
        raise ToolError(f"`{shown}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
