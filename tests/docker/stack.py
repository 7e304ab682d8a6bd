"""A stack of a test's own on the Docker engine: the README's commands, own backend, own network."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from tests.engine.stack import Stack


class DockerStack(Stack):
    """`make` on a stack that has a name, a network and a state of its own."""

    def __init__(self, home: Path, client: Any, **settings: str) -> None:
        self.name = f"t{secrets.token_hex(3)}"
        self.client = client
        subnet = f"10.{random.randrange(210, 250)}.{random.randrange(256)}"  # noqa: S311
        # The host itself is a client, so that the test can be one; so is the network's upper half.
        clients = json.dumps([f"{subnet}.1/32", f"{subnet}.128/25"])
        self.stranger = f"{subnet}.60"
        super().__init__(home)
        self.configure({"target": "docker", "subnet": f"{subnet}.0/24", "clients": clients} | settings)
        (home / "backend").mkdir()

    @property
    def environment(self) -> dict[str, str]:
        backend = {"PULUMI_BACKEND_URL": f"file://{self.home / 'backend'}", "PULUMI_CONFIG_PASSPHRASE": "test"}
        return os.environ | super().environment | backend

    def configure(self, settings: dict[str, str]) -> None:
        """Change the settings; what Pulumi keeps in the file beside them, salt and passwords, stays."""
        import yaml  # type: ignore[import-untyped]

        self.settings = settings
        content = (yaml.safe_load(self.config.read_text()) if self.config.exists() else None) or {}
        kept = {key: value for key, value in (content.get("config") or {}).items() if isinstance(value, dict)}
        ours = {f"redis-sentinel:{key}": value for key, value in settings.items()}
        self.config.write_text(yaml.safe_dump(content | {"config": kept | ours}))

    def set(self, **settings: str) -> None:
        self.configure(self.settings | settings)

    def container(self, node: str) -> Any:
        return self.client.containers.get(f"redis-{self.name}-{node}")

    def ids(self) -> dict[str, str]:
        """Every container of the stack by name."""
        found = self.client.containers.list(all=True, filters={"label": f"redis-sentinel.stack={self.name}"})
        return {container.name: container.id for container in found}

    def previewed(self, output: str) -> dict[str, int]:
        """A preview's summary, in the words of an update's: {'replaced': 6, 'updated': 7}."""
        summary = output.rpartition("Resources:")[2]
        planned = {verb: int(count) for count, verb in re.findall(r"(\d+) to (\w+)", summary)}
        rest = {word: int(count) for count, word in re.findall(r"(\d+) (unchanged|changes)", summary)}
        return {f"{verb.rstrip('e')}ed": count for verb, count in planned.items()} | rest

    def kill_nodes(self, *nodes: str) -> None:
        for node in nodes:
            with suppress(Exception):
                self.container(node).kill()

    def start_nodes(self, nodes: list[str]) -> None:
        for node in nodes:
            self.container(node).start()
            time.sleep(0.2)  # not a wait for anything: hosts start their containers one after the other

    def remove_everything(self) -> None:
        """Whatever a failed test left: containers, volumes, network, rules."""
        from infra.targets import docker_firewall, nftables

        for name in self.ids():
            with suppress(NotFound):
                self.client.containers.get(name).remove(force=True)
        for volume in self.client.volumes.list():
            if volume.name.startswith(f"redis-{self.name}-"):
                volume.remove(force=True)
        for network in self.client.networks.list(names=[f"redis-{self.name}"]):
            network.remove()
        image = self.settings.get("firewallImage")
        if image:
            docker_firewall.remove({"host": "", "image": image, "table": nftables.table_name(self.name)})
