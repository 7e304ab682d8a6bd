"""The one error that the command line turns into a message and an exit code."""

from __future__ import annotations

FAILED = 1
BUSY = 3


class ToolError(Exception):
    """Something the user can act on. `str()` is the whole message, its remedy included; never a secret."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)
