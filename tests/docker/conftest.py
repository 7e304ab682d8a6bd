"""A Docker engine for the tests: the one that answers, else the lab's where there is one."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException

from tests.docker import images
from tests.docker.elsewhere import Elsewhere, machine
from tests.docker.stack import DockerStack, shipped

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


@pytest.fixture(scope="package")
def elsewhere() -> Iterator[Elsewhere]:
    """Two machines, `client` and `stranger`, that reach this host by an address of its own."""
    tag, third = secrets.token_hex(3), secrets.randbelow(250)
    host = f"10.251.{third}.1"
    addresses = {"client": f"10.251.{third}.10", "stranger": f"10.251.{third}.11"}
    with ExitStack() as cleanup:
        enter = {
            who: cleanup.enter_context(machine(f"pub{who[0]}{tag}", address, host))
            for who, address in addresses.items()
        }
        yield Elsewhere(host, addresses, enter)


@pytest.fixture(scope="package")
def secured(
    tmp_path_factory: pytest.TempPathFactory,
    engine: Any,
    plugin: None,
    helper_images: dict[str, str],
    binaries: None,
    elsewhere: Elsewhere,
) -> Iterator[DockerStack]:
    """Pulumi.staging.yaml as it is shipped: with TLS, protected. Published where the machine `client` is a client.

    The test's own are the addresses, and the images.
    """
    stack = DockerStack(tmp_path_factory.mktemp("tls"), engine, image=images.redis_image(engine), **helper_images)
    stack.configure(shipped("staging") | stack.settings)
    declared = [*json.loads(stack.settings["clients"]), f"{elsewhere.addresses['client']}/32"]
    stack.set(gatewayPublish=f"{elsewhere.host}:16379", clients=json.dumps(declared))
    with stack.brought_up() as made:
        yield made
