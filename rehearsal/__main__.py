"""A whole rollout in minutes, on stacks of its own: make rehearsal ARGS=docker (or process)

From nothing to all clients under live load, then two releases that are made to fail and roll back by themselves. Real
stacks, the project's own commands, generated secrets; everything is removed at the end, also when it fails.

docker    staging, canary and prod on this machine's Docker engine; production's gateway shares its clients
process   three stacks of processes: without a gateway there is no share and no standalone contract to roll back to
"""

from __future__ import annotations

import argparse
import signal
import sys

from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from rehearsal.place import RehearsalError, made
from rehearsal.stage import Stage, docker, processes
from rehearsal.story import Seen, Story
from rollout.errors import RolloutError
from tools.errors import ToolError

LEFT_OUT = "left out on target process: share, rehearsal and standalone (no gateway), firewall"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=("docker", "process"), default="docker")
    parser.add_argument("--image", default="", help="docker: the nodes' image, by its id or digest")
    options = parser.parse_args(arguments)
    # A cancelled job takes its stacks down like an impatient user's does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    story = None
    try:
        stage = _stage(options.target, options.image)
        with made() as place:
            say(f"stacks {place.mark}staging, {place.mark}canary, {place.mark}prod; target {stage.target}")
            story = Story(place, stage, say)
            story.play()
            say("removing the stacks ...")
    except (RehearsalError, RolloutError, ToolError, TimeoutError, RedisError) as error:
        _show(console, story.seen if story else Seen())
        console.print(f"error: {error}", soft_wrap=True, markup=False)
        return 1
    except KeyboardInterrupt:
        say("interrupted; the stacks were removed")
        return 130
    _show(console, story.seen)
    if not stage.shares:
        say(LEFT_OUT)
    return 0 if story.seen.holds else 1


def _stage(target: str, image: str) -> Stage:
    """Raises RehearsalError without a Docker engine or an image for the nodes."""
    if target == "process":
        return processes()
    import docker as engine
    from docker.errors import DockerException, ImageNotFound

    from tools.images import SETTINGS, build

    try:
        client = engine.from_env()
        if not image:
            tags = [tag for each in client.images.list() for tag in each.tags if "redis:" in tag or "valkey:" in tag]
            if not tags:
                raise RehearsalError("the engine has no image of Redis or Valkey\n  fix: --image ID, after docker pull")
            image = sorted(tags)[0]
        images = {"image": str(client.images.get(image).id)} | {key: build(name) for key, name in SETTINGS.items()}
    except ImageNotFound:
        raise RehearsalError(f"the engine has no image {image}\n  fix: docker pull it, or --image ID") from None
    except DockerException as error:
        raise RehearsalError(f"{error}\n  fix: start a Docker engine, or ARGS=process") from None
    return docker(images)


def _show(console: Console, seen: Seen) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "measured", "wanted"):
        table.add_column(heading, overflow="fold")
    for what, measured, wanted, holds in seen.rows:
        table.add_row("ok" if holds else "FAIL", what, measured, wanted)
    console.print(table, markup=False)


if __name__ == "__main__":
    sys.exit(main())
