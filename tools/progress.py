"""Progress for people: plain lines on standard error, so that standard output stays for results."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]

HEARTBEAT_SECONDS = 15.0


def timed(topic: str) -> Say:
    """A printer of lines `topic: [seconds since now] message`."""
    started = time.monotonic()

    def say(message: str) -> None:
        print(f"{topic}: [{time.monotonic() - started:5.1f} s] {message}", file=sys.stderr, flush=True)

    return say


@contextmanager
def heartbeat(say: Say, message: str, every: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Repeat the message every so many seconds while the block runs, so that a long step is seen to live."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every):
            say(message)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
