"""Measures on this machine, side by side in one run: python -m bench [PART...] [--runs N]; parts: see --help."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from bench import docker_up, gateway, kubernetes_up
from bench.deploy import deploy
from bench.engine import Unavailable, engine
from bench.failover import crash, fenced, measure, plain
from bench.release import release
from infra.targets.servers import find_servers
from tests.deployment import deployed
from tests.docker import images

PARTS = ["release", "deploy", "failover", "docker", "kubernetes"]


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


def on_docker(image: str, runs: int) -> None:
    """What `make up`, gateway and TLS cost on Docker; a line with the reason where there is no engine to ask."""
    try:
        with engine(image) as (client, settings):
            docker_up.compare(client, settings, runs)
            gateway.compare(client, settings, runs)
    except Unavailable as reason:
        print(f"docker: not measured: {reason}")


def on_kubernetes(image: str, runs: int) -> None:
    """What `make up` costs on Kubernetes; a line with the reason where there is no cluster to ask."""
    try:
        kubernetes_up.compare(image, runs)
    except Unavailable as reason:
        print(f"kubernetes: not measured: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    parser.add_argument(
        "--runs", type=int, default=7, help="runs of each kind of failover (default 7); of the others half as many"
    )
    parser.add_argument(
        "--image", default=images.REDIS, help="docker, kubernetes: the nodes' image (default %(default)s)"
    )
    options = parser.parse_args()
    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)
    print(f"{servers.flavour} {servers.version} ({servers.source}), {os.cpu_count()} cores")
    parts = options.parts or PARTS
    if "release" in parts:
        release(options.runs)
    if "deploy" in parts:
        deploy()
    if "failover" in parts:
        failover(options.runs)
    if "docker" in parts:
        on_docker(options.image, max(3, options.runs // 2))
    if "kubernetes" in parts:
        on_kubernetes(options.image, max(3, options.runs // 2))


if __name__ == "__main__":
    main()
