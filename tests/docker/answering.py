"""Who answers `open` within a bounded window. `python answering.py SECONDS HOST PORT [HOST PORT]...` prints them.

Only the standard library: it is also run as a program of its own, in another network namespace.
"""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

Address = tuple[str, int]


def answering(targets: list[Address], seconds: float) -> set[Address]:
    """Those of `targets` that answer this process, all tried at once, each for `seconds`."""

    def answers(target: Address) -> bool:
        try:
            with socket.create_connection(target, timeout=seconds) as connection:
                return b"open" in connection.recv(16)
        except OSError:
            return False

    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        return {target for target, answer in zip(targets, pool.map(answers, targets), strict=True) if answer}


if __name__ == "__main__":
    words = sys.argv[2:]
    wanted = [(host, int(port)) for host, port in zip(words[::2], words[1::2], strict=True)]
    for host, port in sorted(answering(wanted, float(sys.argv[1]))):
        print(host, port)
