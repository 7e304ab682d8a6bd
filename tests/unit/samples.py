"""A good configuration with recognisable passwords, for the tests of what is made from it."""

from __future__ import annotations

from infra.settings import USERS, Settings, parse

MARKER = "MaRkEr-5f0c2"
PASSWORDS = {user: f"{MARKER}-{user}-Zx8" for user in USERS}


def declared(stack: str = "dev", **overrides: str) -> Settings:
    """The settings of a stack of the process target; `overrides` by camelCase key, as in its YAML."""
    passwords = {f"{user}Password": password for user, password in PASSWORDS.items()}
    return parse(stack, {"target": "process"} | passwords | overrides)
