"""Tells people about phase changes through a webhook (Slack-compatible JSON). Never in the rollout's way.

The URL is a secret: whoever has it can post. It comes from $ROLLOUT_WEBHOOK_URL and appears nowhere else.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from rollout.entries import Entry

VARIABLE = "ROLLOUT_WEBHOOK_URL"
_TIMEOUT_S = 5.0
_TEXTS = {
    "started": "started with release {release}",
    "phase-done": "phase {phase} is proven",
    "waiting": "waits for approval of {phase}: rollout approve --name NAME --reason REASON",
    "rollback-ordered": "ROLLING BACK: {reason}",
    "served": "production during the rollback: {reason}",
    "ended": "ended: {end}; {reason}",
    "paused": "paused: {reason}",
    "resumed": "goes on",
}

Notify = Callable[[str], None]


def text_of(project: str, entry: Entry) -> str | None:
    """The message about an entry; None for what nobody need be told.

    With the journal's head at this entry: who has been told it can tell a journal that was cut or written anew.
    """
    template = _TEXTS.get(entry.kind)
    if template is None:
        return None
    text = template.format_map(entry.data)
    return f"rollout {project} ({entry.run}) {text} [journal: entry {entry.number}, head {entry.head}]"


def webhook(url: str) -> Notify:
    """A notifier that posts to the URL. It raises NotSent."""

    def post(text: str) -> None:
        if not url.startswith(("https://", "http://")):
            raise NotSent(f"{VARIABLE} is no http(s) URL")
        body = json.dumps({"text": text}).encode()
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
                return
        except (OSError, HTTPException, ValueError) as error:
            # The error's text may hold the URL.
            raise NotSent(f"{type(error).__name__} {getattr(error, 'code', '')}".strip()) from None

    return post


class NotSent(Exception):
    """The message did not go out. The text says why, without the URL."""
