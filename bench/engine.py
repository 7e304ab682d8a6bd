"""The Docker engine that the measurements run on, and stacks of their own on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from tests.docker.images import helper_images
from tests.docker.stack import DockerStack


class Unavailable(Exception):
    """Nothing can be measured on Docker here. The message is the reason."""


@contextmanager
def engine(image: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """A client of the engine, and the settings that name images: `image` for nodes. Raises Unavailable."""
    plugins = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"
    if not list(plugins.glob("resource-docker-v*")):
        raise Unavailable("no Pulumi plugin for Docker: pulumi plugin install resource docker 5.1.0")
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise Unavailable(f"no Docker engine answers: {error}") from None
    try:
        yield client, {"image": str(client.images.get(image).id)} | helper_images()
    except ImageNotFound:
        raise Unavailable(f"the engine has no image {image}: name another with --image") from None
    finally:
        client.close()


@contextmanager
def stack(client: Any, images: dict[str, str], **settings: str) -> Iterator[DockerStack]:
    """A stack with a name, a network and a state of its own, its passwords made, nothing deployed; gone afterwards."""
    with tempfile.TemporaryDirectory() as home:
        made = DockerStack(Path(home), client, **images, **settings)
        try:
            made.make("secrets")
            yield made
        finally:
            made.remove_everything()
