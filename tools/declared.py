"""Settings that a rollout changes: into the stack's file first, so that a later `up` does not undo them."""

from __future__ import annotations

from tools.deployment import Deployment
from tools.errors import ToolError
from tools.pulumi_cli import call
from tools.stack_config import read_config
from tools.stacks import PROJECT, Stack


def setting(stack: Stack, key: str, default: str = "") -> str:
    """What the stack's file says, as text."""
    return str((read_config(stack.config).get("config") or {}).get(f"{PROJECT}:{key}", default))


def namespace_of(stack: Stack) -> str:
    """Where the stack is on Kubernetes."""
    from infra.setting_rules import kubernetes_label  # here: most of its users are on no cluster

    return setting(stack, "namespace", kubernetes_label(f"redis-{stack.name}"))


def declare(stack: Stack, key: str, value: str) -> None:
    """Set one plain setting. Raises ToolError for dev, whose file nobody but its user writes."""
    if stack.is_dev:
        raise ToolError(
            f"stack 'dev' takes its settings from {stack.committed_config.name}; nothing was changed\n"
            f"  fix: write `{PROJECT}:{key}: {value}` there, then make up"
        )
    call(["config", "set", f"{PROJECT}:{key}", value], Deployment(stack).environment)
