"""kubectl as a stack's settings say: its cluster, never whatever the current context happens to be."""

from __future__ import annotations

import os
import subprocess

from tools.declared import namespace_of, setting
from tools.errors import ToolError
from tools.stacks import Stack

SECONDS = 60


def command(stack: Stack, namespace: str = "", context: str = "") -> list[str]:
    """The command's beginning. `namespace`: the stack's own unless given; `context`: the stack's unless given."""
    words = ["kubectl", "--namespace", namespace or namespace_of(stack)]
    if context := context or setting(stack, "kubeContext"):
        words += ["--context", context]
    if kubeconfig := setting(stack, "kubeconfig"):
        words += ["--kubeconfig", os.path.expanduser(kubeconfig)]  # noqa: PTH111 - a text for kubectl
    return words


def run(words: list[str], seconds: float = SECONDS, said: str = "") -> str:
    """What it printed. `said`: its standard input. Raises ToolError."""
    return output(words, seconds, said).decode(errors="replace")


def output(words: list[str], seconds: float = SECONDS, said: str = "") -> bytes:
    """The same, byte by byte."""
    try:
        done = subprocess.run(words, capture_output=True, timeout=seconds, check=False, input=said.encode())
    except FileNotFoundError:
        raise ToolError("kubectl is not on PATH\n  fix: install it") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"kubectl did not end within {seconds:g} s; run the command again") from None
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()
        raise ToolError(f"kubectl: {complaint or f'status {done.returncode}'}")
    return done.stdout
