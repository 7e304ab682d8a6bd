"""Law 4: an interrupted `up` is finished by the next one; two at once are not possible."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deployment import await_that
from tests.engine.stack import Stack, findings_of

pytestmark = pytest.mark.engine


def pulumi_pid(stack: Stack) -> int:
    """The engine's pid, 0 when it does not run (yet)."""
    return next((pid for pid, line in stack.processes().items() if line.split("/")[-1].startswith("pulumi up")), 0)


def parent_of(pid: int) -> int:
    """0 for a process that has ended meanwhile."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def assert_only_nodes_run(stack: Stack) -> None:
    """A supervisor for each of the six nodes, a server under each, and nothing that no supervisor has started."""

    def only_nodes() -> bool:
        found = stack.processes()
        roots = [line for pid, line in found.items() if parent_of(pid) not in found and Path(f"/proc/{pid}").exists()]
        assert len(roots) == 6 and all("bin/start.sh" in line for line in roots), roots
        assert sum("-server" in line.split(" ")[0] for line in found.values()) == 6, found
        return True

    await_that(only_nodes, 10, "six nodes and nothing else")


BY_NIGHT = [0.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("seconds", [1.5, *(pytest.param(seconds, marks=pytest.mark.nightly) for seconds in BY_NIGHT)])
def test_a_killed_up_is_finished_by_the_next_one(new_stack: Stack, seconds: float) -> None:
    first = new_stack.start("up")
    pid = await_that(lambda: pulumi_pid(new_stack), 60, "pulumi up")
    time.sleep(seconds)  # the point of the interruption, not a wait for anything
    os.kill(pid, signal.SIGKILL)
    first.communicate(timeout=60)
    assert first.returncode != 0
    new_stack.make("up")
    assert findings_of(new_stack.contract()) == ()
    assert_only_nodes_run(new_stack)
    new_stack.up_unchanged()


@pytest.mark.nightly
def test_a_checkpoint_whose_attributes_a_kill_left_empty_is_no_dead_end(stack: Stack) -> None:
    """Pulumi empties and rewrites them beside every checkpoint: a kill in between is rare, and was met."""
    pids = stack.pids()
    (attributes,) = (stack.state / "pulumi" / ".pulumi" / "stacks").rglob("dev.json.attrs")
    attributes.write_text("")
    stack.up_unchanged()
    assert stack.pids() == pids


def test_ctrl_c_ends_an_up_without_a_traceback_and_the_next_one_finishes_it(new_stack: Stack) -> None:
    first = new_stack.start("up")
    await_that(lambda: "data-0" in new_stack.pids(), 60, "the first node")
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: the engine, its hosts and the program at once
    output, _ = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "Traceback" not in output, output
    new_stack.make("up")
    assert findings_of(new_stack.contract()) == ()
    assert_only_nodes_run(new_stack)


@pytest.mark.nightly
def test_an_interrupted_program_leaves_the_explaining_to_the_engine(new_stack: Stack) -> None:
    """As the engine does it to a program that still waits when a resource has failed."""

    def program() -> int:
        found = new_stack.processes().items()
        return next((pid for pid, line in found if "pulumi-language-python-exec" in line), 0)

    first = new_stack.start("up")
    await_that(lambda: "data-0" in new_stack.pids(), 60, "the first node")
    os.kill(program(), signal.SIGINT)
    output, _ = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "Traceback" not in output, output
    new_stack.make("up")
    assert findings_of(new_stack.contract()) == ()


def test_a_second_up_at_the_same_time_is_refused_and_down_leaves_no_process_no_port_and_no_node(
    new_stack: Stack,
) -> None:
    first = new_stack.start("up")
    await_that(lambda: pulumi_pid(new_stack), 60, "pulumi up")
    refused = new_stack.make("up", fails=True)
    assert "up" in refused
    assert "pid" in refused
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    ports = [node.endpoint.port for node in new_stack.contract().nodes]
    new_stack.make("down")
    assert new_stack.processes() == {}
    listening = Path("/proc/net/tcp").read_text()
    assert not any(f":{port:04X} 00000000:0000 0A" in listening for port in ports)
    assert not list(new_stack.nodes.glob("*")) if new_stack.nodes.exists() else True
    assert "nothing to do" in new_stack.make("down")
