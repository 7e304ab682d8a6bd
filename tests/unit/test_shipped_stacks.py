"""The stack files as they are shipped, with image names alone laid over."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import program
from infra.targets.servers import Servers
from tests.docker.stack import shipped
from tests.unit.mocked_engine import run
from tests.unit.samples import declared

IMAGE = "sha256:" + "a" * 64
IMAGES = {"image": IMAGE, "gatewayImage": IMAGE, "firewallImage": IMAGE}
KEPT = {
    "dev": {"identity", "data-0"},
    "staging": {"identity", "authority", "network", "data-0-data"},
}


@pytest.mark.parametrize("protect", ["as shipped", "true"])
@pytest.mark.parametrize("stack", KEPT)
def test_a_shipped_stack_protects_what_holds_data_and_identity_alone(
    stack: str, protect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers(Path("/x/valkey-server"), Path("/x/valkey-cli"), "9.1.2", "valkey", False, "tests")
    monkeypatch.setattr("infra.targets.process.find_servers", lambda: servers)
    monkeypatch.setenv("REDIS_STATE_DIR", "/nowhere")
    settings = shipped(stack) | (IMAGES if stack != "dev" else {})
    if protect == "true":
        settings["protect"] = "true"
    made = run(lambda: program.RedisSentinel(f"redis-{stack}", stack, declared(stack, **settings)))
    kept = KEPT[stack] if settings.get("protect") == "true" else set()
    assert {each.name for each in made.registered if each.protect} == kept


@pytest.mark.parametrize("stack", ["canary", "prod"])
def test_a_shipped_stack_of_a_cluster_is_complete_but_for_its_images(stack: str) -> None:
    settings = declared(stack, **(shipped(stack) | {"image": IMAGE, "gatewayImage": IMAGE}))
    assert (settings.target, settings.protect) == ("kubernetes", stack == "prod")
