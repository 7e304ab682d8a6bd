"""The node scripts as texts: what one of them sources must not bring a function of a name that it has itself."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from infra.targets.base import SCRIPTS as FOLDER
from infra.targets.base import node_scripts

SCRIPTS = {Path(name).name: text for name, text in node_scripts().items() if str(name).endswith(".sh")}
SOURCED = re.compile(r'^\s*\. "\$here/([a-z-]+\.sh)"', re.MULTILINE)
FUNCTION = re.compile(r"^([a-z_]+)\(\)", re.MULTILINE)


def with_all_it_sources(name: str) -> set[str]:
    found = {name}
    for each in SOURCED.findall(SCRIPTS[name]):
        found |= with_all_it_sources(each)
    return found


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_function_takes_the_name_of_another_ones(name: str) -> None:
    """A shell takes the last definition: the other script's would call itself without end, a process each time."""
    places: dict[str, list[str]] = {}
    for script in sorted(with_all_it_sources(name)):
        for function in FUNCTION.findall(SCRIPTS[script]):
            places.setdefault(function, []).append(script)
    assert {function: where for function, where in places.items() if len(where) > 1} == {}


def standalone_node(folder: Path, **told: str) -> Path:
    """The node.env of a data node by itself, in folders of its own."""
    for name in ("conf", "data", "run"):
        (folder / name).mkdir()
        told[f"{name.upper()}_DIR"] = str(folder / name)
    told |= {"NODE_NAME": "data-0", "NODE_KIND": "data", "NODE_HOST": "127.0.0.1", "NODE_PORT": "1"}
    told |= {"MODE": "standalone", "TLS": "no", "MASTER_NAME": "m", "DATA_NODES": "127.0.0.1:1", "SENTINELS": ""}
    told |= {"SENTINEL_OPTIONS": "", "DOWN_AFTER_MS": "1000"}
    node_env = folder / "conf" / "node.env"
    node_env.write_text("".join(f"{name}='{value}'\n" for name, value in told.items()))
    (folder / "conf" / "users.acl").touch()
    (folder / "conf" / "operator.password").write_text("x\n")
    return node_env


def program(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o700)
    return str(path)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(FOLDER / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_how_a_server_ended_is_known_that_ended_at_once(tmp_path: Path) -> None:
    """Before start.sh waited for it: what it does next depends on the status."""
    done = run("start.sh", standalone_node(tmp_path, SERVER=program(tmp_path / "server", "exit 7"), CLI="/bin/false"))
    assert done.returncode == 1
    assert "the server ended by itself, status 7" in done.stderr


def test_one_that_ends_to_read_its_data_between_two_looks_is_alive(tmp_path: Path) -> None:
    cli = program(tmp_path / "cli", f"[ -e {tmp_path}/asked ] && echo PONG; : >{tmp_path}/asked")
    node_env = standalone_node(tmp_path, SERVER="/bin/true", CLI=cli)
    (tmp_path / "run" / "server.pid").write_text(f"{os.getpid()}\n")
    assert run("probe.sh", node_env, "alive").returncode == 0


@pytest.mark.parametrize(("minutes", "ours"), [(59, True), (61, False)])
def test_who_leaves_is_ours_for_an_hour(tmp_path: Path, minutes: int, ours: bool) -> None:
    """An `up` that never came to its end: whoever has that address later is told no password."""
    node_env = standalone_node(tmp_path, SERVER="/bin/true", CLI="/bin/false")
    leaving = tmp_path / "data" / "leaving"
    leaving.write_text("127.0.0.1:2\n")
    then = time.time() - 60 * minutes
    os.utime(leaving, (then, then))
    script = f". {FOLDER}/lib.sh; load_node_env {node_env}; ours 127.0.0.1:2"
    assert (subprocess.run(["sh", "-eu", "-c", script, "x"], check=False, timeout=10).returncode == 0) == ours
