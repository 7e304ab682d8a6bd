"""A whole rollout in minutes, on stacks of its own: make rehearsal ARGS=kubernetes (or docker, process)

From nothing to all clients under live load, then releases that are made to fail and roll back by themselves. Real
stacks, the project's own commands, generated secrets; everything is removed at the end, also when it fails.

kubernetes  staging on this machine's Docker engine, canary and production in the cluster of $KUBECONFIG or --kubeconfig
docker      staging, canary and prod on this machine's Docker engine; production's gateway shares its clients
process     three stacks of processes: without a gateway there is no share and no standalone contract to roll back to
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from rehearsal.crowd_pods import nodes_of
from rehearsal.place import RehearsalError, made
from rehearsal.stage import Stage, docker, kubernetes, processes
from rehearsal.story import Seen, Story
from rehearsal.troubles import EVERY, FEW
from rollout.errors import RolloutError
from tools import kubectl
from tools.errors import ToolError

LEFT_OUT = "left out on target process: share, rehearsal and standalone (no gateway), firewall"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=("docker", "kubernetes", "process"), default="docker")
    parser.add_argument("--image", default="", help="docker: the nodes' image, by its id or digest")
    parser.add_argument("--kubeconfig", default=os.environ.get("KUBECONFIG", "~/.kube/config"), help="kubernetes")
    parser.add_argument(
        "--load", default="", help="kubernetes: a command that puts images into the nodes; their tags are added to it"
    )
    parser.add_argument(
        "--triggers", choices=("few", "all"), default="few", help="all: each one that there is, at canary and at prod"
    )
    options = parser.parse_args(arguments)
    # A cancelled job takes its stacks down like an impatient user's does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    story = None
    try:
        stage = _stage(options)
        with made() as place:
            say(f"stacks {place.mark}staging, {place.mark}canary, {place.mark}prod; target {stage.target}")
            story = Story(place, stage, say, EVERY if options.triggers == "all" else FEW)
            story.play()
            say("removing the stacks ...")
    except (RehearsalError, RolloutError, ToolError, TimeoutError, RedisError) as error:
        _show(console, story.seen if story else Seen())
        console.print(f"error: {error}", soft_wrap=True, markup=False)
        return 1
    except KeyboardInterrupt:
        _show(console, story.seen if story else Seen())
        say("interrupted; the stacks were removed")
        return 130
    _show(console, story.seen)
    if not stage.shares:
        say(LEFT_OUT)
    return 0 if story.seen.holds else 1


def _stage(options: argparse.Namespace) -> Stage:
    """Raises RehearsalError without a Docker engine, an image for the nodes, or the cluster."""
    if options.target == "process":
        return processes()
    import docker as engine
    from docker.errors import DockerException, ImageNotFound

    from tools.images import SETTINGS, build, build_sample

    image = options.image
    try:
        client = engine.from_env()
        if not image:
            tags = [tag for each in client.images.list() for tag in each.tags if "redis:" in tag or "valkey:" in tag]
            if not tags:
                raise RehearsalError("the engine has no image of Redis or Valkey\n  fix: --image ID, after docker pull")
            image = sorted(tags)[0]
        images = {"image": str(client.images.get(image).id)} | {key: build(name) for key, name in SETTINGS.items()}
        if options.target == "docker":
            return docker(images)
        sample = build_sample()
        tags = [str((client.images.get(each).tags or [each])[0]) for each in (*images.values(), sample)]
    except ImageNotFound:
        raise RehearsalError(f"the engine has no image {image}\n  fix: docker pull it, or --image ID") from None
    except DockerException as error:
        raise RehearsalError(f"{error}\n  fix: start a Docker engine, or ARGS=process") from None
    if options.load:
        _load([*shlex.split(options.load), *tags])
    kubeconfig = str(Path(options.kubeconfig).expanduser().absolute())
    nodes = nodes_of(
        json.loads(kubectl.run(["kubectl", "--kubeconfig", kubeconfig, "get", "nodes", "-o", "json"]))["items"]
    )
    return kubernetes(images, sample, kubeconfig, [*nodes.values(), _address_towards(next(iter(nodes.values())))])


def _load(command: list[str]) -> None:
    """Raises RehearsalError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RehearsalError(f"`{shlex.join(command)}` ended with {done.returncode}: {done.stderr.strip()[-300:]}")


def _address_towards(node: str) -> str:
    """Which address this machine has there. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((node, 9))
        return str(link.getsockname()[0])


def _show(console: Console, seen: Seen) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "measured", "wanted"):
        table.add_column(heading, overflow="fold")
    for what, measured, wanted, holds in seen.rows:
        table.add_row("ok" if holds else "FAIL", what, measured, wanted)
    console.print(table, markup=False)


if __name__ == "__main__":
    sys.exit(main())
