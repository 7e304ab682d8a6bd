"""The gateway's port on the Docker host, asked from other machines: declared clients are served, others get nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.docker import images
from tests.docker.elsewhere import machine
from tests.docker.stack import DockerStack
from tests.engine.stack import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Long enough for a SYN that is dropped to be sent again.
ASK = """
import os, redis
from client.links import open_probe
from client.options import Options
from infra.contract import Contract
contract = Contract.from_env(os.environ)
node = open_probe(contract, Options(probe_timeout_s=3, probe_connect_timeout_s=3), contract.standalone)
try:
    print("served" if node.set("published", "1", ex=60) else "refused")
except redis.TimeoutError:
    print("silence")
"""
Ask = Callable[[str], str]


@pytest.fixture
def published(
    tmp_path_factory: pytest.TempPathFactory, engine: Any, plugin: None, helper_images: dict[str, str], binaries: None
) -> Iterator[tuple[DockerStack, dict[str, str], Ask]]:
    """A stack with TLS, published where two machines reach it; their addresses by name; what one of them gets."""
    tag, third = secrets.token_hex(3), secrets.randbelow(250)
    host = f"10.251.{third}.1"
    addresses = {"client": f"10.251.{third}.10", "stranger": f"10.251.{third}.11"}
    with ExitStack() as cleanup:
        enter = {
            who: cleanup.enter_context(machine(f"pub{who[0]}{tag}", address, host))
            for who, address in addresses.items()
        }
        stack = DockerStack(
            tmp_path_factory.mktemp("docker"),
            engine,
            image=images.valkey_image_with_tls(engine),
            tls="true",
            **helper_images,
        )
        cleanup.callback(stack.remove_everything)
        declared = [*json.loads(stack.settings["clients"]), f"{addresses['client']}/32"]
        stack.set(gatewayPublish=f"{host}:16379", clients=json.dumps(declared))
        stack.make("secrets")
        stack.make("up")

        def ask(who: str) -> str:
            # What docs/gateway.md tells applications on other hosts to use.
            env = stack.contract().application().to_env()
            env |= {"REDIS_SENTINEL_ENABLED": "false", "REDIS_HOST": host, "REDIS_PORT": "16379"}
            command = [*enter[who], sys.executable, "-c", ASK]
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=30, check=True
            )
            return done.stdout.strip()

        yield stack, addresses, ask


def test_the_published_port_serves_declared_clients_of_other_hosts_alone(
    published: tuple[DockerStack, dict[str, str], Ask],
) -> None:
    stack, addresses, ask = published
    assert (ask("client"), ask("stranger")) == ("served", "silence")
    stack.assert_unchanged()

    stack.container("gateway").restart()  # Docker writes its own rules for the port anew
    assert (ask("client"), ask("stranger")) == ("served", "silence")

    # And it is the declaration that decides: the other way round at once, without a container of the gateway's changed.
    swapped = stack.settings["clients"].replace(f'"{addresses["client"]}/32"', f'"{addresses["stranger"]}/32"')
    before = stack.ids()
    stack.set(clients=swapped)
    stack.make("up")
    changed = {name for name, id_ in stack.ids().items() if before[name] != id_}
    assert changed == {f"redis-{stack.name}-firewall"}
    assert (ask("client"), ask("stranger")) == ("silence", "served")
