"""`down` leaves nothing that serves, and `up` takes in hand what is half dead, whatever happened before."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from client.connect import connect
from tests.deployment import await_that
from tests.engine.stack import Stack, await_converged, master_of

pytestmark = pytest.mark.engine


def kill_supervisor(stack: Stack, name: str) -> int:
    """Only the server of the node is left, which goes on to serve. Returns its pid."""
    run = stack.nodes / name / "run"
    os.kill(int((run / "supervisor.pid").read_text()), signal.SIGKILL)
    return int((run / "server.pid").read_text())


def listening(port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def test_a_half_dead_node_survives_a_failed_up_in_the_state_and_no_down(new_stack: Stack) -> None:
    new_stack.make("up")
    contract = new_stack.contract()
    server = kill_supervisor(new_stack, "data-1")
    new_stack.configure(new_stack.settings | {"quorum": "9"})
    assert "quorum" in new_stack.make("up", fails=True)
    assert Path(f"/proc/{server}").exists(), "the failed `up` touched it"
    assert "is gone" in new_stack.make("down")
    assert new_stack.processes() == {}
    assert not any(listening(node.endpoint.port) for node in contract.nodes)


def test_up_takes_in_hand_what_is_half_dead_and_what_lost_its_folder(stack: Stack) -> None:
    contract = stack.contract()
    master = master_of(contract)
    with connect(contract) as client:
        client.set("kept", "yes")
    for name in (master, "sentinel-1"):
        kill_supervisor(stack, name)
    shutil.rmtree(stack.nodes / next(node.name for node in contract.nodes if node.name != master))
    stack.make("up")
    await_converged(contract)
    for name in (master, "sentinel-1"):
        supervisor = int((stack.nodes / name / "run" / "supervisor.pid").read_text())
        assert Path(f"/proc/{supervisor}").exists()
    with connect(contract) as client:
        assert client.get("kept") == "yes"
    stack.up_unchanged()


@pytest.mark.nightly
def test_down_ends_nodes_that_no_state_and_no_record_knows(new_stack: Stack) -> None:
    """A state that was lost, and run folders that somebody tidied away."""
    new_stack.make("up")
    ports = [node.endpoint.port for node in new_stack.contract().nodes]
    shutil.rmtree(new_stack.state / "pulumi" / ".pulumi" / "stacks")
    shutil.rmtree(new_stack.nodes / "data-2" / "run")
    output = new_stack.make("down")
    assert "data-0, data-1, data-2, sentinel-0" in output
    await_that(lambda: new_stack.processes() == {}, 5, "the end of everything")
    assert not any(map(listening, ports))
