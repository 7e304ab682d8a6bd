"""More nodes and fewer again on Docker, where the firewall has to let a node go in peace."""

from __future__ import annotations

import pytest

from infra.targets.docker_control import execute
from tests.docker.stack import DockerStack
from tests.engine.resizing import resize
from tests.engine.stack import master_of

pytestmark = [pytest.mark.docker, pytest.mark.nightly, pytest.mark.timeout(600)]


def test_a_stack_grows_and_shrinks_without_ghosts_even_when_the_master_goes(valkey: DockerStack) -> None:
    resize(valkey, replicas=4, sentinels=5)
    code, output = execute(valkey.container("data-4"), "handover.sh", "to-this-node")
    assert code == 0, output
    assert master_of(valkey.contract()) == "data-4"
    resize(valkey, replicas=2, sentinels=3)
    before = valkey.ids()
    valkey.up_unchanged()
    assert valkey.ids() == before
