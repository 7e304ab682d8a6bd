"""What goes on beside a test until the test is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def meanwhile(work: Callable[[Event], None]) -> Iterator[None]:
    """`work` in a thread, told to stop at the end by the event that it gets; it has 10 s for that."""
    stop = Event()
    thread = Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
