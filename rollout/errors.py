"""What a person can act on: one message with its remedy, and an exit code; never a traceback, never a secret."""

from __future__ import annotations

from tools.errors import BUSY, FAILED, ToolError

__all__ = ["BUSY", "FAILED", "RolloutError"]


class RolloutError(ToolError):
    """Why nothing was done, or nothing more. `str()` is the whole message for the user."""
