"""Ways to break a real deployment, each undone at its end. What is yielded is the contract to test it by."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from pydantic import SecretStr
from redis.exceptions import RedisError

from client.connect import connect
from infra.contract import Endpoint, OperatorContract
from tests.deployment import PASSWORDS, Deployment, await_that, free_ports


@contextmanager
def wrong_quorum(deployment: Deployment) -> Iterator[OperatorContract]:
    name, declared = deployment.contract.master_name, deployment.contract.quorum
    deployment.ask("sentinel-1", "SENTINEL", "SET", name, "quorum", 1)
    try:
        yield deployment.contract
    finally:
        deployment.ask("sentinel-1", "SENTINEL", "SET", name, "quorum", declared)


@contextmanager
def orphan_master(deployment: Deployment) -> Iterator[OperatorContract]:
    """Told so again and again: Sentinels repair it after 8 s, and on a busy machine the checks come later."""
    master = _endpoint(deployment, deployment.master())
    orphan = deployment.replicas()[0]
    deployment.ask(orphan, "REPLICAOF", "NO", "ONE")
    done = Event()

    def insist() -> None:
        while not done.wait(0.1):
            with suppress(RedisError, OSError):
                deployment.ask(orphan, "REPLICAOF", "NO", "ONE")

    insisting = Thread(target=insist)
    insisting.start()
    try:
        yield deployment.contract
    finally:
        done.set()
        insisting.join()
        deployment.ask(orphan, "REPLICAOF", master.host, master.port)


@contextmanager
def sentinel_with_wrong_auth_pass(deployment: Deployment) -> Iterator[OperatorContract]:
    name = deployment.contract.master_name

    def set_password(password: str) -> None:
        deployment.ask("sentinel-0", "SENTINEL", "SET", name, "auth-pass", password)
        # Connections that are open stay authenticated.
        for node in deployment.data:
            deployment.ask(node, "CLIENT", "KILL", "USER", "sentinel")

    set_password("wrong" * 4)
    try:
        await_that(lambda: "down" in _flags(deployment, "sentinel-0"), 10, "sentinel-0 to lose sight of the master")
        yield deployment.contract
    finally:
        set_password(PASSWORDS["sentinel"])


@contextmanager
def replica_link_cut(deployment: Deployment) -> Iterator[OperatorContract]:
    replica = deployment.replicas()[0]
    deployment.ask(replica, "CONFIG", "SET", "masterauth", "wrong")
    deployment.ask(replica, "CLIENT", "KILL", "TYPE", "master")
    try:
        yield deployment.contract
    finally:
        deployment.ask(replica, "CONFIG", "SET", "masterauth", PASSWORDS["replica"])


@contextmanager
def replica_stopped(deployment: Deployment) -> Iterator[OperatorContract]:
    """It hangs: its connections stay, its data does not move."""
    replica = deployment.replicas()[0]
    deployment.stop(replica)
    try:
        yield deployment.contract
    finally:
        deployment.cont(replica)


@contextmanager
def sentinel_killed(deployment: Deployment) -> Iterator[OperatorContract]:
    deployment.kill("sentinel-2")
    try:
        yield deployment.contract
    finally:
        deployment.start("sentinel-2")


@contextmanager
def ghost_sentinel(deployment: Deployment) -> Iterator[OperatorContract]:
    """One that all the others know, but that nobody declared and that does not answer: it said hello once."""
    name, master = deployment.contract.master_name, deployment.master()
    at = _endpoint(deployment, master)
    hello = f"127.0.0.1,{free_ports(1)},{secrets.token_hex(20)},0,{name},{at.host},{at.port},0"
    deployment.ask(master, "PUBLISH", "__sentinel__:hello", hello, user="sentinel")
    sentinels = deployment.sentinels
    try:
        for each in sentinels:
            await_that(lambda each=each: _peers(deployment, each) == len(sentinels), 5, f"the ghost at {each}")  # type: ignore[misc]
        yield deployment.contract
    finally:
        for each in sentinels:
            deployment.ask(each, "SENTINEL", "RESET", name)


@contextmanager
def aof_off(deployment: Deployment) -> Iterator[OperatorContract]:
    replica = deployment.replicas()[0]
    deployment.ask(replica, "CONFIG", "SET", "appendonly", "no")
    try:
        yield deployment.contract
    finally:
        deployment.ask(replica, "CONFIG", "SET", "appendonly", "yes")
        await_that(lambda: not _persistence(deployment, replica, "aof_rewrite_in_progress"), 10, "the rewrite's end")


@contextmanager
def snapshot_failed(deployment: Deployment) -> Iterator[OperatorContract]:
    """A folder is where the snapshot should go."""
    replica = deployment.replicas()[0]
    dump = deployment.folder(replica) / "data" / "dump.rdb"
    dump.unlink(missing_ok=True)
    (dump / "in-the-way").mkdir(parents=True)
    deployment.ask(replica, "CONFIG", "SET", "save", "1 1")
    try:
        with connect(deployment.contract.application()) as client:
            client.set("worth-a-snapshot", "1", ttl_s=60)
        await_that(lambda: _persistence(deployment, replica, "rdb_last_bgsave_status") == "err", 10, "a failed save")
        yield deployment.contract
    finally:
        shutil.rmtree(dump)
        deployment.kill(replica)
        deployment.start(replica)


def acl(node: str, pattern: str, replacement: str) -> Callable[[Deployment], Any]:
    """A break: a node's users.acl with a change, loaded."""

    @contextmanager
    def changed(deployment: Deployment) -> Iterator[OperatorContract]:
        file = deployment.folder(node) / "conf" / "users.acl"
        good = file.read_text()
        bad = re.sub(pattern, replacement, good, flags=re.MULTILINE)
        assert bad != good, f"{pattern} is not in {good}"
        try:
            file.write_text(bad)
            deployment.ask(node, "ACL", "LOAD")
            yield deployment.contract
        finally:
            file.write_text(good)
            deployment.ask(node, "ACL", "LOAD")

    return changed


def contract_with(**wrong: Callable[[], object]) -> Callable[[Deployment], Any]:
    """A break: the deployment is as it should be, the contract tells it wrong."""

    @contextmanager
    def changed(deployment: Deployment) -> Iterator[OperatorContract]:
        yield deployment.contract.model_copy(update={name: value() for name, value in wrong.items()})

    return changed


def wrong_secret() -> SecretStr:
    return SecretStr("not-the-password")


def _endpoint(deployment: Deployment, name: str) -> Endpoint:
    return next(node.endpoint for node in deployment.topology.nodes if node.name == name)


def _flags(deployment: Deployment, sentinel: str) -> str:
    reply = deployment.ask(sentinel, "SENTINEL", "MASTER", deployment.contract.master_name)
    return str(reply[reply.index("flags") + 1])


def _peers(deployment: Deployment, sentinel: str) -> int:
    return len(deployment.ask(sentinel, "SENTINEL", "SENTINELS", deployment.contract.master_name))


def _persistence(deployment: Deployment, node: str, field: str) -> object:
    info: dict[str, object] = deployment.ask(node, "INFO", "persistence", user="monitor")
    return info[field]
