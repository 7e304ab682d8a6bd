"""The node scripts as texts: what one of them sources must not bring a function of a name that it has itself."""

from __future__ import annotations

import re
import subprocess
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


def test_how_a_server_ended_is_known_that_ended_at_once(tmp_path: Path) -> None:
    """Before start.sh waited for it: what it does next depends on the status."""
    for name in ("conf", "data", "run"):
        (tmp_path / name).mkdir()
    server, node_env = tmp_path / "server", tmp_path / "conf" / "node.env"
    server.write_text("#!/bin/sh\nexit 7\n")
    server.chmod(0o700)
    told = {
        "NODE_NAME": "data-0",
        "NODE_KIND": "data",
        "NODE_HOST": "127.0.0.1",
        "NODE_PORT": "1",
        "MODE": "standalone",
    }
    told |= {"TLS": "no", "MASTER_NAME": "m", "DATA_NODES": "127.0.0.1:1", "SENTINELS": "", "SENTINEL_OPTIONS": ""}
    told |= {"DOWN_AFTER_MS": "1000", "SERVER": str(server), "CLI": "/bin/false"}
    told |= {f"{name.upper()}_DIR": str(tmp_path / name) for name in ("conf", "data", "run")}
    node_env.write_text("".join(f"{name}='{value}'\n" for name, value in told.items()))
    (tmp_path / "conf" / "users.acl").touch()
    (tmp_path / "conf" / "operator.password").write_text("x\n")
    command = [str(FOLDER / "start.sh"), str(node_env)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "the server ended by itself, status 7" in done.stderr
