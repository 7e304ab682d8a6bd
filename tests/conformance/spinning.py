"""As root, in a network namespace of its own: a Sentinel whose link holds an ICMP error. See test_spinning.py.

Prints `renewed after <s>`, or `no spin` on a kernel that keeps no such errors. Any other end is a failure.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.deployment import Deployment
from tests.waiting import await_that

TICKS_A_SECOND = 100
SPINNER, PEER = "sentinel-0", "sentinel-2"


def main(home: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    nodes = Deployment(home)
    try:
        nodes.up()
        if not spins_after_an_icmp_error(nodes):
            print("no spin")
            return
        begun = time.monotonic()
        await_that(lambda: "renewing this Sentinel's links" in nodes.log(SPINNER), 40, "a Sentinel that notices")
        await_that(lambda: busy(nodes) < 0.1, 10, "a Sentinel that is idle again")
        nodes.await_converged()
        print(f"renewed after {time.monotonic() - begun:.0f} s")
    finally:
        nodes.down()


def spins_after_an_icmp_error(nodes: Deployment) -> bool:
    """Its attempts to reach the peer are answered as by a Service without a pod, and the last one succeeds later."""
    rule = ["-p", "tcp", "--dport", str(nodes.endpoint(PEER).port), "-j", "REJECT"]
    nodes.kill(PEER)
    for _ in range(5):
        subprocess.run(["iptables", "--append", "OUTPUT", *rule], check=True)
        nodes.start(PEER)
        time.sleep(1.5)  # it tries once a second
        subprocess.run(["iptables", "--delete", "OUTPUT", *rule], check=True)
        time.sleep(2)  # the attempt is repeated after a second
        if busy(nodes) > 0.5:
            return True
        nodes.kill(PEER)
    return False


def busy(nodes: Deployment) -> float:
    """How much of a processor it takes, over a second."""

    def spent() -> int:
        fields = Path(f"/proc/{nodes.pid(SPINNER)}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = spent()
    time.sleep(1)
    return (spent() - before) / TICKS_A_SECOND


if __name__ == "__main__":
    main(Path(sys.argv[1]))
