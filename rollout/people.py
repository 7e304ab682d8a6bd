"""Who starts a rollout and who approves it: two people, unless the plan says otherwise."""

from __future__ import annotations

import getpass
import os
import unicodedata
from collections.abc import Mapping
from typing import Any

# What CI systems call whoever began the job.
_ACTORS = ("ROLLOUT_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID")
# And the run that the job is of.
_RUNS = ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_ID")


def actor() -> str:
    """Who runs this command, as far as the system knows: CI's actor, else the login's name; '' when nobody says."""
    named = next((os.environ[name] for name in _ACTORS if os.environ.get(name)), "")
    try:
        return named or getpass.getuser()
    except (KeyError, OSError):
        return ""


def ci_run() -> str:
    """The id of the CI run that this command is a part of; '' outside of CI."""
    return next((os.environ[name] for name in _RUNS if os.environ.get(name)), "")


def same(one: str, other: str) -> bool:
    """Whether two names are one person's."""
    return _plain(one) == _plain(other)


def refusal(approval: Mapping[str, Any], started: Mapping[str, Any], *, may_be_same: bool) -> str:
    """Why an approval (`name`, `reason`, `by`) of a rollout (`by`) does not count; '' when it does."""
    name, reason, by = (str(approval.get(key) or "") for key in ("name", "reason", "by"))
    if not _plain(name):
        return "no name was given: an approval is somebody's"
    if not _plain(reason):
        return "no reason was given"
    starter = _plain(str(started.get("by") or ""))
    if not may_be_same and starter and starter in (_plain(name), _plain(by)):
        return f"{starter} started this rollout, and who starts cannot approve"
    return ""


def _plain(text: str) -> str:
    """As people compare names: no matter of case, blanks, or how a letter is coded; nothing that cannot be seen."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", text) if char.isprintable() or char.isspace())
    return " ".join(seen.split()).casefold()
