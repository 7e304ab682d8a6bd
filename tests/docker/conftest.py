"""A Docker engine for the tests: the one that answers, else the lab's where there is one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException

from tests.docker import images
from tests.docker.stack import DockerStack

LAB = Path(__file__).resolve().parents[3] / "shared" / "lab" / "lab"


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A client of the engine. Skips where there is none; in CI beside the lab that is a failure."""
    try:
        client = docker.from_env()
        client.ping()
        client.images.get(images.REDIS)
    except DockerException as error:
        if os.environ.get("CI") == "true" and LAB.exists():
            pytest.fail(f"the lab is here, but not its Docker engine with {images.REDIS}: {error}")
        pytest.skip(f"no Docker engine with the image {images.REDIS} answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def plugin() -> None:
    """The docker provider's plugin, which the lab brings."""
    found = subprocess.run(["sh", "-c", "ls ~/.pulumi/plugins"], capture_output=True, text=True, check=False).stdout
    if "resource-docker-v" not in found:
        if os.environ.get("CI") == "true" and LAB.exists():
            pytest.fail("the lab is here, but not its plugin for Docker")
        pytest.skip("no Pulumi plugin for Docker: pulumi plugin install resource docker 5.1.0")


@pytest.fixture(scope="session")
def helper_images(engine: Any) -> dict[str, str]:
    return images.helper_images()


StackOn = Callable[[str], AbstractContextManager[DockerStack]]


@pytest.fixture(scope="session")
def stack_on(
    tmp_path_factory: pytest.TempPathFactory, engine: Any, plugin: None, helper_images: dict[str, str], binaries: None
) -> StackOn:
    """A stack on this image, up for as long as it is used."""
    return lambda image: DockerStack(
        tmp_path_factory.mktemp("docker"), engine, image=image, **helper_images
    ).brought_up()


@pytest.fixture(scope="package")
def redis_stack(stack_on: StackOn, engine: Any) -> Iterator[DockerStack]:
    with stack_on(images.redis_image(engine)) as made:
        yield made


@pytest.fixture(scope="package")
def valkey_stack(stack_on: StackOn, engine: Any) -> Iterator[DockerStack]:
    with stack_on(images.valkey_image(engine)) as made:
        yield made


@pytest.fixture(scope="module")
def stack(redis_stack: DockerStack) -> DockerStack:
    """A stack on Redis, up: gateway and firewall on, 1 master, 2 replicas, 3 Sentinels."""
    return redis_stack.as_born()


@pytest.fixture(scope="module")
def valkey(valkey_stack: DockerStack) -> DockerStack:
    """The same on Valkey."""
    return valkey_stack.as_born()
