"""Measures on this machine, side by side in one run: python -m bench [deploy] [failover] [--runs N]."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from bench.deploy import deploy
from bench.failover import crash, fenced, measure, plain
from infra.targets.servers import find_servers
from tests.deployment import deployed


def failover(runs: int) -> None:
    """What each kind of failover costs the writers."""
    fewer = max(3, runs // 2)
    with tempfile.TemporaryDirectory() as home:
        for deployment in deployed(Path(home)):
            planned = measure(deployment, "fenced handover", fenced, runs)
            crashed = measure(deployment, "kill -9 of the master", crash, runs)
            fence = measure(deployment, "plain SENTINEL FAILOVER", plain, fewer)
    with tempfile.TemporaryDirectory() as home:
        for deployment in deployed(Path(home), minReplicasToWrite="0"):
            usual = measure(deployment, "the same, minReplicasToWrite 0", plain, fewer)
    print(planned, crashed, fence, usual, sep="\n")
    print(f"gap of the fenced handover: {planned.median_gap_ms / crashed.median_gap_ms:.2f} of a crash's")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["deploy", "failover", []], help="what to measure (default: all)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each kind of failover (default 7)")
    options = parser.parse_args()
    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)
    print(f"{servers.flavour} {servers.version} ({servers.source}), {os.cpu_count()} cores")
    parts = options.parts or ["deploy", "failover"]
    if "deploy" in parts:
        deploy()
    if "failover" in parts:
        failover(options.runs)


if __name__ == "__main__":
    main()
