"""The environment in which pulumi runs: the engine, our virtual environment, the stack's backend and passphrase."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.engine import Engine
from tools.errors import ToolError
from tools.paths import VENV
from tools.private_files import create_once, private_folder
from tools.stacks import Stack

SELF_MANAGED = ("file://", "s3://", "gs://", "azblob://", "postgres://")


def environment(stack: Stack, engine: Engine, theirs: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    """What pulumi gets, from `theirs` (os.environ). Raises ToolError when a stack other than dev lacks a backend."""
    ours = {name: value for name, value in theirs.items() if name != "PYTHONHOME"}
    ours |= {
        "PATH": os.pathsep.join([str(engine.pulumi.parent), str(VENV / "bin"), theirs.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(VENV),  # the language host finds the program's Python by it
        "REDIS_STATE_DIR": str(stack.state),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_OPTION_STACK": stack.name,
        "PULUMI_OPTION_CONFIG_FILE": str(stack.config),
    }
    if stack.is_dev:
        return _for_dev(stack, ours)
    _require_backend(stack, ours, config)
    return ours


def passphrase_file(stack: Stack) -> Path:
    """The dev stack's passphrase: a secret of this machine."""
    return stack.state / f"{stack.name}.passphrase"


def ensure_passphrase(stack: Stack, state_exists: bool) -> None:
    """Make the dev stack's passphrase on first use. Raises ToolError when an existing state has lost its own."""
    file = passphrase_file(stack)
    if file.is_file():
        return
    if state_exists:
        raise ToolError(
            f"the state of stack '{stack.name}' is there, but its passphrase {file} is gone: nobody can read it\n"
            f"  fix: put the file back; or end the stack's processes and remove {stack.state} to start anew"
        )
    create_once(file, secrets.token_urlsafe(32))


def backend_folder(stack: Stack, theirs: Mapping[str, str]) -> Path | None:
    """The folder of a file backend, where locks and checkpoints can be looked at; None for any other backend."""
    if stack.is_dev:
        return stack.state / "pulumi"
    url = theirs.get("PULUMI_BACKEND_URL") or _login(theirs)
    return Path(url.removeprefix("file://")).expanduser().absolute() if url.startswith("file://") else None


def _for_dev(stack: Stack, ours: dict[str, str]) -> dict[str, str]:
    home = private_folder(stack.state / "pulumi-home")
    _share_plugins(home, ours)
    # A passphrase or a token of the user's would take precedence over ours.
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN"):
        ours.pop(name, None)
    return ours | {
        "PULUMI_BACKEND_URL": f"file://{private_folder(stack.state / 'pulumi')}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file(stack)),
        "PULUMI_HOME": str(home),  # its logs and its workspace: nothing of dev's lands in the user's ~/.pulumi
    }


def _share_plugins(home: Path, theirs: Mapping[str, str]) -> None:
    """Provider plugins are large: use those that the user has."""
    plugins = _user_home(theirs) / "plugins"
    link = home / "plugins"
    if plugins.is_dir():
        with suppress(FileExistsError):  # made before, or by another command just now
            link.symlink_to(plugins)


def _user_home(theirs: Mapping[str, str]) -> Path:
    return Path(theirs.get("PULUMI_HOME") or Path.home() / ".pulumi").absolute()


def _login(theirs: Mapping[str, str]) -> str:
    """The backend that `pulumi login` chose; '' when there was none."""
    try:
        content = json.loads((_user_home(theirs) / "credentials.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(content.get("current") or "")


def _require_backend(stack: Stack, theirs: Mapping[str, str], config: Mapping[str, Any]) -> None:
    url = theirs.get("PULUMI_BACKEND_URL") or _login(theirs)
    if not url and not theirs.get("PULUMI_ACCESS_TOKEN"):
        raise ToolError(
            f"stack '{stack.name}' needs a backend for its state, and none is chosen\n"
            "  fix: set PULUMI_BACKEND_URL, or run `pulumi login`"
        )
    given = any(theirs.get(name) for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"))
    by_passphrase = str(config.get("secretsprovider") or "passphrase") == "passphrase"
    if url.startswith(SELF_MANAGED) and by_passphrase and not given:
        raise ToolError(
            f"stack '{stack.name}' encrypts its secrets with a passphrase, and none is given\n"
            "  fix: set PULUMI_CONFIG_PASSPHRASE_FILE (a file with it) or PULUMI_CONFIG_PASSPHRASE"
        )
