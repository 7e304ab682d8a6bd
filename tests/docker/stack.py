"""A stack of a test's own on the Docker engine: the README's commands, own backend, own network."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types
from docker.errors import NotFound

from client.ledger import Ledger
from client.ledger_report import LedgerReport
from tests.engine.stack import ROOT, Stack, await_converged
from tests.nodes import LOST_ELECTION


def shipped(stack: str) -> dict[str, str]:
    """The settings of the stack's file as it is in this repository."""
    content = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    texts = {key.partition(":")[2]: value for key, value in content["config"].items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in texts.items()}


class OwnStack(Stack):
    """`make` on a stack that has a name and a state of its own."""

    def __init__(self, home: Path) -> None:
        self.name = f"t{secrets.token_hex(3)}"
        super().__init__(home)

    @property
    def environment(self) -> dict[str, str]:
        backend = {"PULUMI_BACKEND_URL": f"file://{self.home / 'backend'}", "PULUMI_CONFIG_PASSPHRASE": "test"}
        return os.environ | super().environment | backend

    def configure(self, settings: dict[str, str]) -> None:
        """Change the settings; what Pulumi keeps in the file beside them, salt and passwords, stays."""
        self.settings = settings
        content = (yaml.safe_load(self.config.read_text()) if self.config.exists() else None) or {}
        kept = {key: value for key, value in (content.get("config") or {}).items() if isinstance(value, dict)}
        ours = {f"redis-sentinel:{key}": value for key, value in settings.items()}
        self.config.write_text(yaml.safe_dump(content | {"config": kept | ours}))

    def set(self, **settings: str) -> None:
        self.configure(self.settings | settings)

    @property
    def images(self) -> dict[str, str]:
        """The settings that name images, for another stack with the same ones."""
        return {key: value for key, value in self.settings.items() if key.lower().endswith("image")}

    def previewed(self, output: str) -> dict[str, int]:
        """A preview's summary, in the words of an update's: {'replaced': 6, 'updated': 7}."""
        summary = output.rpartition("Resources:")[2]
        planned = {verb: int(count) for count, verb in re.findall(r"(\d+) to (\w+)", summary)}
        rest = {word: int(count) for count, word in re.findall(r"(\d+) (unchanged|changes)", summary)}
        return {f"{verb.rstrip('e')}ed": count for verb, count in planned.items()} | rest

    @contextmanager
    def brought_up(self) -> Iterator[Self]:
        """Up with generated passwords; whatever comes of it, nothing is left."""
        try:
            self.make("secrets")
            self.make("up")
            self._born = self.settings
            yield self
        finally:
            self.remove_everything()

    def as_born(self) -> Self:
        """Converged, with its first settings: what a module before has changed is undone by an `up`."""
        if self.settings != self._born:
            self.configure(self._born)
            self.make("up")
        await_converged(self.contract())
        return self

    def remove_everything(self) -> None:
        """Whatever a failed test left."""
        raise NotImplementedError

    def up_under_load(self, *command: str, through_gateway: bool = False) -> tuple[str, LedgerReport]:
        """`make COMMAND` (default up) while four writers write; what it printed, and what they saw."""
        contract = self.contract()
        if through_gateway:
            contract = contract.model_copy(update={"sentinel_enabled": False, "sentinels": ()})
        with Ledger(contract) as ledger:
            ledger.wait_for_acks(200)
            output = self.make(*(command or ("up",)))
            ledger.wait_for_acks(200)
        report = ledger.verify()
        ledger.cleanup()
        print(f"{' '.join(command) or 'up'}: {report}; gaps {[round(gap.ms) for gap in report.gaps]} ms")
        return output, report


class DockerStack(OwnStack):
    """`make` on a stack of the Docker engine, with a network of its own."""

    def __init__(self, home: Path, client: Any, **settings: str) -> None:
        self.client = client
        subnet = f"10.{random.randrange(210, 250)}.{random.randrange(256)}"  # noqa: S311
        # The host itself is a client, so that the test can be one; so is the network's upper half.
        clients = json.dumps([f"{subnet}.1/32", f"{subnet}.128/25"])
        self.stranger = f"{subnet}.60"
        super().__init__(home)
        self.configure({"target": "docker", "subnet": f"{subnet}.0/24", "clients": clients} | settings)
        (home / "backend").mkdir()

    def container(self, node: str) -> Any:
        return self.client.containers.get(f"redis-{self.name}-{node}")

    def ids(self) -> dict[str, str]:
        """Every container of the stack by name."""
        found = self.client.containers.list(all=True, filters={"label": f"redis-sentinel.stack={self.name}"})
        return {container.name: container.id for container in found}

    def lost_elections(self, since: int) -> int:
        """Rounds since a time (s since the epoch) in which no Sentinel got a majority to lead the failover."""
        logs = [str(self.container(f"sentinel-{index}").logs(since=since)) for index in range(3)]
        return max(log.count(LOST_ELECTION) for log in logs)

    def assert_unchanged(self) -> None:
        """One more `up` does nothing, and every container is the same one."""
        before = self.ids()
        self.up_unchanged()
        assert self.ids() == before

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
            host = self.settings.get("dockerHost", "")
            docker_firewall.remove({"host": host, "image": image, "table": nftables.table_name(self.name)})
