"""What an engine consists of, and why a candidate is refused."""

from __future__ import annotations

VERSION = "3.259.0"
CLI = "pulumi"
# The language host, the script it starts for every program, and the server of dynamic providers.
HELPERS = ("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")


class EngineRefused(Exception):
    """A source has no engine that serves. `str()` is the reason."""
