"""A run that somebody ends before its time: a user with Ctrl-C, or a CI system that cancels its job."""

from __future__ import annotations

import signal


class Interruption:
    """Handles SIGINT and SIGTERM from now on: KeyboardInterrupt, and `asked` stays true.

    Python throws the exception in wherever the program is, and drops it where nobody can catch it, as in a finalizer:
    then the next check does not begin, and nothing that was run after it counts as complete.
    """

    def __init__(self) -> None:
        self.asked = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._handle)

    def raise_again(self) -> None:
        """KeyboardInterrupt, if it has been dropped."""
        if self.asked:
            raise KeyboardInterrupt

    def _handle(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt
