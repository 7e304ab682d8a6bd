"""Who was never declared is told no password, whoever names it: INFO of the master, or a Sentinel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from infra.contract import Endpoint
from infra.targets.servers import find_servers
from tests.deployment import PASSWORDS, Deployment, free_ports
from tests.waiting import await_that

pytestmark = pytest.mark.deployment


class Stranger:
    """A server of somebody who has the password of user `replica`: it notes who tries to log in as whom."""

    def __init__(self, port: int) -> None:
        self.endpoint = Endpoint("127.0.0.1", port)
        self.link: Any = redis.Redis(port=port, decode_responses=True)

    def tried(self) -> set[str]:
        return {entry["username"] for entry in self.link.execute_command("ACL", "LOG")}


@contextmanager
def attached(nodes: Deployment, home: Path) -> Iterator[Stranger]:
    port = free_ports(1)
    master = nodes.endpoint(nodes.master())
    home.mkdir()
    config = f"""\
port {port}
dir {home}
save ""
replica-announce-ip 127.0.0.1
replicaof {master.host} {master.port}
masteruser replica
masterauth "{PASSWORDS["replica"]}"
user default on nopass ~* &* +@all
user sentinel on >{PASSWORDS["sentinel"]} ~* &* +@all
"""
    (home / "redis.conf").write_text(config)
    with subprocess.Popen([find_servers().server, home / "redis.conf"], stdout=subprocess.DEVNULL) as process:
        try:
            stranger = Stranger(port)
            await_that(lambda: stranger.link.info("replication")["master_link_status"] == "up", 20, "its sync")
            for sentinel in nodes.sentinels:
                await_that(
                    lambda sentinel=sentinel: f"{port}, flags, slave, " in flat(nodes, sentinel),  # type: ignore[misc]
                    20,
                    f"a Sentinel that knows it: {sentinel}",
                )
            yield stranger
        finally:
            process.kill()


def flat(nodes: Deployment, sentinel: str) -> str:
    replicas = nodes.ask(sentinel, "SENTINEL", "REPLICAS", nodes.contract.master_name)
    fields = [dict(zip(each[::2], each[1::2], strict=True)) for each in replicas]
    return "; ".join(f"{each['port']}, flags, {each['flags']}, {each['master-link-status']}" for each in fields)


def test_a_stranger_hears_of_no_operator_and_is_a_finding(own: Deployment, tmp_path: Path) -> None:
    with attached(own, tmp_path / "stranger") as stranger:
        assert any(f"{stranger.endpoint} is not declared" in each for each in own.findings())
        old = own.master()
        code, output = own.run(old, "handover.sh")
        assert code == 0, output
        assert own.master() not in (old, "")
        target = next(name for name in own.data if name != own.master())
        code, output = own.run(target, "handover.sh", "to-this-node")
        assert code == 0, output
        code, output = own.run("data-0", "handover.sh", "from-undeclared")
        assert code == 0, output
        for sentinel in own.sentinels:
            own.run(sentinel, "forget.sh")
        for name in own.names:
            assert own.run(name, "apply.sh")[0] == 0
        own.stop_planned(own.master())
        assert stranger.tried() == set()


def test_one_that_the_sentinels_name_as_the_master_is_asked_nothing(own: Deployment, tmp_path: Path) -> None:
    """As after it was promoted: nobody here hands over to it or from it."""
    with attached(own, tmp_path / "stranger") as stranger:
        for name in own.data:
            own.ask(name, "CONFIG", "SET", "replica-priority", 0 if name != own.master() else 100)
        await_that(lambda: _promoted(own, stranger), 40, "its promotion")
        code, output = own.run("data-0", "handover.sh", "from-undeclared")
        assert (code, "was never declared" in output) == (1, True), output
        assert stranger.tried() <= {"replica"}, "what a server sends to the master that a Sentinel gave it"


def _promoted(nodes: Deployment, stranger: Stranger) -> bool:
    """Whether every Sentinel names it; else one of them is told to promote the only replica that it may."""
    name, port = nodes.contract.master_name, str(stranger.endpoint.port)
    named = [nodes.ask(each, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)[1] for each in nodes.sentinels]
    if port not in named:
        nodes.ask("sentinel-0", "SENTINEL", "FAILOVER", name)
    return set(named) == {port}
