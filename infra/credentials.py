"""Per-stack secrets: passwords in the clear for rendering, wrapped as secrets for everything Pulumi keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pulumi

from infra.settings import Settings

T = TypeVar("T")


def passwords(settings: Settings) -> Mapping[str, str]:
    """User -> password, in the clear: only for rendering files that are secret themselves."""
    return {user: secret.get_secret_value() for user, secret in settings.credentials.items()}


def sealed(value: T) -> pulumi.Output[T]:
    """The value as a secret: encrypted in the state, hidden on the screen."""
    return pulumi.Output.secret(value)
