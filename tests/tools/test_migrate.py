"""A migration, interrupted at any command, goes on when it is run again; on real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError

from client.links import open_as
from infra.contract import Endpoint
from infra.targets.servers import find_servers
from tests.deployment import Deployment, await_that, free_ports
from tools import migrate
from tools.errors import ToolError
from tools.migrate import Migration
from tools.stacks import Stack

KEYS = 20


class World:
    """An old server, the stack's only node, and its gateway, which leads to the old one."""

    def __init__(self, home: Path, old: Endpoint) -> None:
        config = home / "Pulumi.staging.yaml"
        config.write_text(f"config:\n  redis-sentinel:canary: {old}\n  redis-sentinel:canaryShare: '100'\n")
        self.deployment = Deployment(home / "nodes", mode="standalone")
        self.migration = Migration(Stack("staging", home, config), self.deployment.contract, old)
        self.old = redis.Redis(old.host, old.port, decode_responses=True)
        self.leads_to_old = True

    @property
    def node(self) -> redis.Redis:
        contract = self.deployment.contract
        return open_as(contract, "operator", contract.nodes[0].endpoint, 5.0)

    def start_again(self) -> None:
        """As before the switch, whatever was left."""
        self.leads_to_old = True
        self.old.config_set("min-replicas-to-write", "0")
        self.old.client_unpause()
        host = self.old.connection_pool.connection_kwargs
        self.node.config_set("masteruser", "")
        self.node.config_set("masterauth", "")
        self.node.replicaof(host["host"], host["port"])
        await_that(lambda: self.node.info("replication")["master_link_status"] == "up", 20, "the node in sync")

    def takes_writes(self) -> list[str]:
        """Who of the two would."""
        masters = []
        if str(self.old.config_get("min-replicas-to-write")["min-replicas-to-write"]) == "0":
            masters.append("old")
        if self.node.info("replication")["role"] == "master":
            masters.append("node")
        return masters


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    old = Endpoint("127.0.0.1", free_ports(1))
    command = [
        str(find_servers().server),
        "--port",
        str(old.port),
        "--bind",
        old.host,
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    command += ["--repl-diskless-sync-delay", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        made = World(tmp_path, old)
        monkeypatch.setattr(migrate, "set_share", lambda _stack, _percent: setattr(made, "leads_to_old", False))
        try:
            await_that(lambda: _answers(made.old), 20, "the old server")
            made.deployment.start("data-0")
            await_that(lambda: _answers(made.node), 20, "the node")
            for key in range(KEYS):
                made.old.set(f"k{key}", "v")
            yield made
        finally:
            made.deployment.down()
            server.kill()


def _answers(link: redis.Redis) -> bool:
    try:
        return bool(link.ping())
    except RedisError:
        return False


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`dies_at(n, error)`: the nth command raises; with `after`, once it was carried out. 0: none does."""
    execute = redis.Redis.execute_command
    at: dict[str, Any] = {"left": 0}

    def counted(self: redis.Redis, *arguments: Any, **options: Any) -> Any:
        at["left"] -= 1
        if at["left"] != 0:
            return execute(self, *arguments, **options)  # type: ignore[no-untyped-call]
        if at["after"]:
            execute(self, *arguments, **options)  # type: ignore[no-untyped-call]
        raise at["error"]

    def set_(number: int, error: BaseException | None = None, *, after: bool = False) -> None:
        at.update(left=number, error=error, after=after)

    monkeypatch.setattr(redis.Redis, "execute_command", counted)
    yield set_
    set_(0)


def test_a_switch_that_ends_anywhere_goes_on_and_there_are_never_two_masters(
    world: World, dies_at: Callable[..., None]
) -> None:
    number, ended = 0, False
    while not ended:
        number += 1
        for error in (KeyboardInterrupt(), redis.TimeoutError("no answer")):
            world.start_again()
            dies_at(number, error, after=True)
            try:
                world.migration.switch()
                ended = True
            except (KeyboardInterrupt, RedisError, ToolError):
                pass
            dies_at(0)
            where = f"command {number}, {type(error).__name__}"
            assert len(world.takes_writes()) <= 1, where
            if not ended:
                world.migration.switch()
            assert world.takes_writes() == ["node"], where
            assert world.node.dbsize() == KEYS, where
            assert not world.leads_to_old, where
            assert world.node.config_get("masteruser") == {"masteruser": "replica"}, where
    assert number > 8, "it has more commands than that"


def test_a_gateway_that_did_not_take_it_is_told_by_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start_again()
    share = migrate.set_share  # type: ignore[attr-defined]

    def refuse(_stack: Stack, _percent: int) -> int:
        raise ToolError("stack 'staging' has no gateway that runs")

    monkeypatch.setattr(migrate, "set_share", refuse)
    with pytest.raises(ToolError, match="the same command, again, goes on from here"):
        world.migration.switch()
    assert world.takes_writes() == ["node"]
    with pytest.raises(ToolError, match="SWITCH=yes goes on"):
        world.migration.follow()
    monkeypatch.setattr(migrate, "set_share", share)
    world.migration.switch()
    assert not world.leads_to_old
    world.migration.switch()  # once more does no harm
    assert world.takes_writes() == ["node"]
    assert world.node.dbsize() == KEYS
