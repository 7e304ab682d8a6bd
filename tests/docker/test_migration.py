"""An existing Redis under load becomes this stack's data: docs/migration.md, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from client.ledger import Ledger
from tests.deployment import await_that
from tests.docker import images
from tests.docker.stack import DockerStack
from tests.engine.stack import await_converged
from tests.waiting import SLACK

pytestmark = [pytest.mark.docker, pytest.mark.nightly, pytest.mark.timeout(900)]

PASSWORD = "of-the-old-one"


@pytest.fixture
def stack(
    tmp_path: Path, engine: Any, plugin: None, helper_images: dict[str, str], binaries: None
) -> Iterator[DockerStack]:
    """One node and a gateway, and nothing that keeps the node from reaching the old server."""
    alone = {"mode": "standalone", "firewall": "false"}
    with DockerStack(tmp_path, engine, image=images.redis_image(engine), **alone, **helper_images).brought_up() as made:
        yield made


@pytest.fixture
def old(stack: DockerStack) -> Iterator[str]:
    """A Redis without persistence, as caches are run; the applications' user is not on it yet."""
    address = f"{stack.stranger.rpartition('.')[0]}.200"
    container = stack.client.containers.create(
        images.REDIS, ["redis-server", "--requirepass", PASSWORD, "--save", ""], entrypoint=[], name=f"{stack.name}-old"
    )
    try:
        stack.client.networks.get("bridge").disconnect(container)
        stack.client.networks.get(f"redis-{stack.name}").connect(container, ipv4_address=address)
        container.start()
        await_that(lambda: administrator(address).ping(), 20, "the old server")
        yield address
    finally:
        container.remove(force=True)


def administrator(address: str) -> redis.Redis:
    return redis.Redis(address, password=PASSWORD, decode_responses=True, socket_timeout=5)


def test_an_old_redis_is_taken_over_under_load_without_a_lost_write(
    stack: DockerStack, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATE_PASSWORD", PASSWORD)
    server = administrator(old)
    server.set("from-before", "kept")
    # 1. Applications move to the gateway, which leads every one of them to the old server.
    password = stack.contract().password.get_secret_value()
    server.acl_setuser("app", enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"], reset=True)
    alone = stack.settings
    stack.set(workload="cache", canary=f"{old}:6379", canaryReadPort="6379", canaryShare="100")
    stack.make("up")
    application = stack.contract().application(standalone=True)
    with Ledger(application) as ledger:
        ledger.wait_for_acks(500)
        assert int(server.dbsize()) > 400
        # 2. The node follows. Said twice, it is done once.
        assert "in sync" in stack.make("migrate", f"FROM={old}:6379")
        assert "in sync" in stack.make("migrate", f"FROM={old}:6379")
        ledger.wait_for_acks(500)
        # 3. The switch.
        said = stack.make("migrate", f"FROM={old}:6379", "SWITCH=yes")
        ledger.wait_for_acks(500)
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            server.set("too-late", "1")
        assert server.get("from-before") == "kept"
        # 4. Replicas and Sentinels around the node, the firewall again.
        stack.configure(alone | {"mode": "sentinel", "firewall": "true"})
        stack.make("up")
        ledger.wait_for_acks(500)
    report = ledger.verify()
    ledger.cleanup()
    print(f"taken over: {report}\n{said}")
    assert report.lost == ()
    assert report.longest_gap_ms < SLACK * 5000
    await_converged(stack.contract())
    with redis.Redis(application.host, application.port, username="app", password=password, protocol=2) as client:
        assert client.get("from-before") == b"kept"
    stack.smoke()


def test_what_would_lose_data_is_refused_and_changes_nothing(
    stack: DockerStack, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATE_PASSWORD", PASSWORD)
    assert "does not follow" in stack.make("migrate", f"FROM={old}:6379", "SWITCH=yes", fails=True)
    contract = stack.contract()
    node = redis.Redis(
        contract.nodes[0].endpoint.host, username="app", password=contract.password.get_secret_value(), protocol=2
    )
    node.set("ours", "1")
    refused = stack.make("migrate", f"FROM={old}:6379", fails=True)
    assert "would be deleted" in refused
    assert "Traceback" not in refused
    assert node.get("ours") == b"1"
    administrator(old).set("theirs", "1")
    monkeypatch.setenv("MIGRATE_PASSWORD", "wrong")
    assert "fix:" in stack.make("migrate", f"FROM={old}:6379", fails=True)
