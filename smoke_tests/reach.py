"""Which addresses let a client in: python -m smoke_tests.reach HOST:PORT ...

An address answers when it takes a TCP connection at any time of a bounded window: who is denied gets none.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from infra.contract import Endpoint

WINDOW_S = 5.0
MARK = "@reach "
"""What the one line of the report begins with; JSON follows: address -> whether it answered."""


def reach(addresses: Sequence[str], window_s: float = WINDOW_S) -> dict[str, bool]:
    """Try all addresses at once, each until it answers or the window (seconds) is over."""
    with ThreadPoolExecutor(max_workers=max(1, len(addresses))) as pool:
        answered = pool.map(lambda each: _answers(Endpoint.parse(each), window_s), addresses)
        return dict(zip(addresses, answered, strict=True))


def _answers(at: Endpoint, window_s: float) -> bool:
    end = time.monotonic() + window_s
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((at.host.strip("[]"), at.port), timeout=left):
                return True
        except OSError:
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))  # a refusal comes at once
    return False


def report(addresses: Sequence[str]) -> str:
    """The line that tells who asked."""
    return MARK + json.dumps(reach(addresses))


if __name__ == "__main__":
    print(report(sys.argv[1:]), flush=True)
