"""The gateway's port on the Docker host, asked from other machines: declared clients are served, others get nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docker.elsewhere import Elsewhere
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


def ask(stack: DockerStack, elsewhere: Elsewhere, who: str) -> str:
    """What a machine gets from the published port; the way is the one that docs/gateway.md tells applications."""
    env = stack.contract().application().to_env()
    env |= {"REDIS_SENTINEL_ENABLED": "false", "REDIS_HOST": elsewhere.host, "REDIS_PORT": "16379"}
    command = [*elsewhere.enter[who], sys.executable, "-c", ASK]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def answers(stack: DockerStack, elsewhere: Elsewhere) -> tuple[str, str]:
    return ask(stack, elsewhere, "client"), ask(stack, elsewhere, "stranger")


def test_the_published_port_serves_declared_clients_of_other_hosts_alone(
    secured: DockerStack, elsewhere: Elsewhere
) -> None:
    stack, addresses = secured, elsewhere.addresses
    assert answers(stack, elsewhere) == ("served", "silence")
    stack.assert_unchanged()

    stack.container("gateway").restart()  # Docker writes its own rules for the port anew
    assert answers(stack, elsewhere) == ("served", "silence")

    # And it is the declaration that decides: the other way round at once, without a container of the gateway's changed.
    swapped = stack.settings["clients"].replace(f'"{addresses["client"]}/32"', f'"{addresses["stranger"]}/32"')
    before = stack.ids()
    stack.set(clients=swapped)
    stack.make("up")
    changed = {name for name, id_ in stack.ids().items() if before[name] != id_}
    assert changed == {f"redis-{stack.name}-firewall"}
    assert answers(stack, elsewhere) == ("silence", "served")
