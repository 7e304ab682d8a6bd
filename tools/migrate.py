"""Takes over the data of an existing Redis: make migrate STACK=s FROM=10.0.0.9:6379, then again with SWITCH=yes

Without --switch the stack's only node (`mode: standalone`) becomes a replica of the old server and catches up. With it,
writes pause at the old server, the node gets the last of them and becomes a master; if the stack's gateway leads its
clients to the old server (`canary`), it leads them to the node from then on. The old server then refuses writes.

MIGRATE_USER (default: default) and MIGRATE_PASSWORD: who may administer the old server.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from client.contract_file import read_operator_contract
from client.errors import describe
from client.links import open_as
from infra.contract import Endpoint, OperatorContract
from infra.problems import ConfigurationError
from tools.declared import setting
from tools.errors import ToolError
from tools.share import set_share
from tools.stacks import Stack, choose

# The old server's writes are held at most so long; a switch that needs more gives up and moves nothing.
PAUSE_MS = 10_000
CATCH_UP_S = 5.0
# A sync is given up when nothing of it has moved for so long.
STALLED_S = 120.0
# More replicas than there can be: from then on every write is refused, and reads go on.
NEVER = 1000


class Migration:
    """The stack's node and the old server. Every method may raise ToolError or RedisError."""

    def __init__(self, stack: Stack, contract: OperatorContract, old: Endpoint) -> None:
        if contract.sentinel_enabled:
            raise ToolError(
                f"stack '{stack.name}' has Sentinels, which would undo this; nothing was changed\n"
                "  fix: a new stack with `mode: standalone`, migrate, then `mode: sentinel` (docs/migration.md)"
            )
        self._stack, self._contract, self._old = stack, contract, old

    def follow(self) -> None:
        """The node becomes a replica of the old server and catches up."""
        with self._servers() as (old, node):
            _expect_master(old, f"the old server {self._old}")
            if not self._follows(node):
                if self._promoted(old, node):
                    raise ToolError(
                        "the switch has taken place, but for its end; nothing was changed\n"
                        "  fix: the same command with SWITCH=yes goes on"
                    )
                if node.dbsize():
                    raise ToolError(
                        f"stack '{self._stack.name}' has data of its own, which would be deleted; nothing was changed\n"
                        "  fix: migrate into a new stack"
                    )
                user, password = _login()
                node.config_set("masteruser", "" if user == "default" else user)
                node.config_set("masterauth", password)
                if self._contract.tls:
                    node.config_set("tls-replication", "no")
                node.replicaof(self._old.host, self._old.port)
            print(f"{self._contract.nodes[0].name} follows {self._old}", flush=True)
            self._await_sync(node)
            print(f"in sync, {node.dbsize()} keys; next: the same command with SWITCH=yes")

    def switch(self) -> None:
        """The node becomes the master, and nothing that the old server acknowledged is missing.

        Interrupted anywhere, it goes on when it is called again.
        """
        with self._servers() as (old, node):
            _expect_master(old, f"the old server {self._old}")
            if self._promoted(old, node):
                print(f"{self._contract.nodes[0].name} is the master already: doing the rest", flush=True)
                self._finish(old, node)
                return
            if not self._follows(node) or node.info("replication")["master_link_status"] != "up":
                raise ToolError(
                    f"the node does not follow {self._old}, or is not in sync; nothing was changed\n"
                    "  fix: the same command without SWITCH=yes, first"
                )
            began = time.monotonic()
            old.client_pause(PAUSE_MS, all=False)
            try:
                wanted = int(old.info("replication")["master_repl_offset"])
                _await(lambda: _offset(node) >= wanted, f"the node has not got offset {wanted}, nothing was moved")
                _promote(old, node)
                self._lead_here(node)
            finally:
                old.client_unpause()
            print(f"writes were held {time.monotonic() - began:.2f} s")
            self._finish(old, node)

    def _lead_here(self, node: redis.Redis) -> None:
        """What makes the node, a master now, the one whom clients get to. Can be done again."""
        self._own_again(node)
        if self._gateway_leads_to_old():
            try:
                set_share(self._stack, 0)
            except ToolError as error:
                raise ToolError(
                    f"{error}\n{self._contract.nodes[0].name} is the master and {self._old} refuses writes, but the "
                    "gateway leads there still: the same command, again, goes on from here"
                ) from None

    def _gateway_leads_to_old(self) -> bool:
        return setting(self._stack, "canary") == str(self._old)

    def _finish(self, old: redis.Redis, node: redis.Redis) -> None:
        """Everything after the promotion. Can be done again."""
        _refuse_writes(old)
        self._lead_here(node)
        old.client_unpause()
        old.client_kill_filter(_type="normal", skipme=True)
        print(f"{self._contract.nodes[0].name} is the master, {node.dbsize()} keys")
        print(f"{self._old} refuses writes and goes on answering reads")
        leads = self._gateway_leads_to_old()
        moved = "" if leads else "move the applications to this stack's contract now; then "
        print(f"next: {moved}set `mode: sentinel`, make up STACK={self._stack.name}")

    def _own_again(self, node: redis.Redis) -> None:
        """What following a stranger had changed."""
        node.config_set("masteruser", "replica")
        node.config_set("masterauth", self._contract.users["replica"].get_secret_value())
        if self._contract.tls:
            node.config_set("tls-replication", "yes")

    @contextmanager
    def _servers(self) -> Iterator[tuple[redis.Redis, redis.Redis]]:
        user, password = _login()
        old = redis.Redis(
            host=self._old.host,
            port=self._old.port,
            username=user,
            password=password or None,
            decode_responses=True,
            socket_timeout=10,
            socket_connect_timeout=5,
            protocol=2,
        )
        with closing(old), closing(open_as(self._contract, "operator", self._contract.nodes[0].endpoint, 10.0)) as node:
            yield old, node

    def _promoted(self, old: redis.Redis, node: redis.Redis) -> bool:
        """Whether an earlier switch made the node the master: the old server refuses writes, as nobody else asks it to.

        One that takes writes again has what the node lacks.
        """
        return node.info("replication")["role"] == "master" and _refuses_writes(old)

    def _follows(self, node: redis.Redis) -> bool:
        state = node.info("replication")
        at = f"{state.get('master_host')}:{state.get('master_port')}"
        return state["role"] == "slave" and at == str(self._old)

    def _await_sync(self, node: redis.Redis) -> None:
        """Bounded by progress, not by time: nobody knows how much there is."""
        seen, since = "", time.monotonic()
        while True:
            state = node.info("replication")
            if state["master_link_status"] == "up":
                return
            left, loading = state.get("master_sync_left_bytes", -1), node.info("persistence")
            now = f"{left} bytes to come, {loading.get('loading_loaded_bytes', 0)} loaded"
            if now != seen:
                print(f"  {now}", flush=True)
                seen, since = now, time.monotonic()
            if time.monotonic() - since > STALLED_S:
                raise ToolError(
                    f"the sync has stood still for {STALLED_S:.0f} s: {now}\n  fix: look at the node's log; a firewall "
                    "that lets the node out to the old server, and MIGRATE_USER's right to replicate, are needed"
                )
            time.sleep(1)


def _login() -> tuple[str, str]:
    return os.environ.get("MIGRATE_USER", "default"), os.environ.get("MIGRATE_PASSWORD", "")


def _expect_master(server: redis.Redis, name: str) -> None:
    role = server.info("replication")["role"]
    if role != "master":
        raise ToolError(f"{name} says role:{role}, expected master; nothing was changed\n  fix: name the master")


def _promote(old: redis.Redis, node: redis.Redis) -> None:
    """The old server refuses writes first: whoever dies in between leaves one that takes writes, or none."""
    names = ("min-replicas-max-lag", "min-replicas-to-write")
    before = {name: str(old.config_get(name)[name]) for name in names}
    if _refuses_writes(old):  # by an earlier attempt, which knew what was there before
        before = dict(zip(names, ("10", "0"), strict=True))
    _refuse_writes(old)
    try:
        node.replicaof("NO", "ONE")
    except RedisError:
        # An order without an answer may have been taken: only if the node says that it is a replica, it was not.
        if node.info("replication")["role"] == "master":
            return
        for name in names:
            old.config_set(name, before[name])
        raise


def _refuse_writes(old: redis.Redis) -> None:
    old.config_set("min-replicas-max-lag", "10")
    old.config_set("min-replicas-to-write", str(NEVER))


def _refuses_writes(old: redis.Redis) -> bool:
    return str(old.config_get("min-replicas-to-write")["min-replicas-to-write"]) == str(NEVER)


def _offset(node: redis.Redis) -> int:
    return int(node.info("replication")["slave_repl_offset"])


def _await(condition: Callable[[], bool], trouble: str) -> None:
    end = time.monotonic() + CATCH_UP_S
    while not condition():
        if time.monotonic() > end:
            raise ToolError(f"within {CATCH_UP_S:.0f} s {trouble}\n  fix: run it again when less is written")
        time.sleep(0.01)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.migrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contract", type=Path, required=True, help="the operator's (make migrate brings it)")
    parser.add_argument("--from", dest="old", required=True, help="the old server, HOST:PORT")
    parser.add_argument("--switch", default="", choices=("", "yes"))
    options: Any = parser.parse_args(arguments)
    # A cancelled switch lifts the pause, as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        contract = read_operator_contract(options.contract)
        migration = Migration(choose(contract.stack), contract, Endpoint.parse(options.old))
        if options.switch:
            migration.switch()
        else:
            migration.follow()
    except (ConfigurationError, ToolError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except RedisError as error:
        print(
            f"error: {describe(error)}\n  fix: see that both servers answer, and who MIGRATE_USER is", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command, again, goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
