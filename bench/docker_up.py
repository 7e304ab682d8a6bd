"""`make up` on Docker, from nothing to a quorum, against the same containers started without any of it.

The other side is what `docker compose up --wait` does, without the plugin: the engine's API makes the network, the
volumes and the containers, each with the configuration that the stack's own had, and starts them all at once. Their
files lie there beforehand, as a Compose user's do.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.engine import stack
from infra.targets.docker_control import FILES, await_probe, write_files
from tests.deployment import await_that
from tests.docker.stack import DockerStack

HEALTHY_S = 60


@dataclass(frozen=True)
class _Container:
    """What one container is made of, and the files that it had been given."""

    name: str
    config: dict[str, Any]
    volumes: dict[str, str]
    files: tuple[tuple[str, bytes], ...]
    """Archives, and the folder that each belongs into."""


def compare(client: Any, images: dict[str, str], runs: int) -> None:
    """Prints both times of each run, and the ratio of the medians."""
    ups, plains = [], []
    for run in range(runs):
        with stack(client, images) as deployed:
            begun = time.monotonic()
            deployed.make("up")
            ups.append(time.monotonic() - begun)
            network, containers = _described(deployed)
            deployed.make("down", f"CONFIRM={deployed.name}")
            quorum, healthy = _started(client, deployed, network, containers)
            plains.append(quorum)
        print(
            f"  {run + 1}/{runs}: make up {ups[-1]:.1f} s; the same {len(containers)} containers, all at once: quorum "
            f"after {quorum:.1f} s, every health check good (what `compose up --wait` waits for) after {healthy:.1f} s",
            flush=True,
        )
    up, plain = statistics.median(ups), statistics.median(plains)
    print(f"make up on docker, from nothing: median {up:.1f} s, the plain containers {plain:.1f} s: {up / plain:.1f}x")


def _described(deployed: DockerStack) -> tuple[dict[str, Any], list[_Container]]:
    found = [deployed.client.containers.get(name) for name in deployed.ids()]
    network = deployed.client.networks.get(f"redis-{deployed.name}").attrs
    return network, [_description(container) for container in found]


def _description(container: Any) -> _Container:
    attributes = container.attrs
    networks = attributes["NetworkSettings"]["Networks"].items()
    endpoints = {name: {"IPAMConfig": each["IPAMConfig"]} for name, each in networks if each["IPAMConfig"]}
    config = attributes["Config"] | {
        "HostConfig": attributes["HostConfig"],
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    volumes = {mount["Destination"]: mount["Name"] for mount in attributes["Mounts"] if mount["Type"] == "volume"}
    # The guard has no volume: its two files are in its own file system.
    files = [FILES] if FILES in volumes else ["/guard.sh", "/rules.nft"]
    archives = tuple((path.rpartition("/")[0] or "/", _archive(container, path)) for path in files)
    return _Container(container.name, config, volumes, archives)


def _archive(container: Any, path: str) -> bytes:
    chunks, _ = container.get_archive(path)
    return b"".join(chunks)


def _started(
    client: Any, deployed: DockerStack, network: dict[str, Any], containers: list[_Container]
) -> tuple[float, float]:
    """Seconds until the nodes agree, and until every health check is good."""
    nodes = [each.name for each in containers if "-data-" in each.name or "-sentinel-" in each.name]
    with ExitStack() as cleanup:
        for each in containers:
            _fill(client, each)
        with ThreadPoolExecutor(max_workers=len(containers)) as pool:
            begun = time.monotonic()
            client.api.create_network(network["Name"], driver=network["Driver"], ipam=network["IPAM"])
            cleanup.callback(deployed.remove_everything)
            list(pool.map(lambda each: _run(client, each), containers))
            # What the last resource of `make up` waits for: CKQUORUM on every Sentinel is part of it.
            list(pool.map(lambda name: await_probe(client, name, "agreed"), nodes))
            quorum = time.monotonic() - begun
            await_that(lambda: _unhealthy(client, containers) == (), HEALTHY_S, "good health checks")
            return quorum, time.monotonic() - begun


def _fill(client: Any, each: _Container) -> None:
    """Make the volumes, the files in theirs, with owners and modes."""
    if not each.volumes:
        return
    write_files(client, each.config["Image"], each.volumes, {})
    binds = {volume: {"bind": path, "mode": "rw"} for path, volume in each.volumes.items()}
    helper = client.containers.create(each.config["Image"], entrypoint=["/bin/true"], volumes=binds)
    try:
        _put(client, helper.id, each)
    finally:
        helper.remove(force=True)


def _put(client: Any, container: str, each: _Container) -> None:
    for folder, archive in each.files:
        client.api.put_archive(container, folder, archive)


def _run(client: Any, each: _Container) -> None:
    made = client.api.create_container_from_config(each.config, each.name)
    if not each.volumes:
        _put(client, made["Id"], each)
    client.api.start(made["Id"])


def _unhealthy(client: Any, containers: list[_Container]) -> tuple[str, ...]:
    found = {each.name: client.containers.get(each.name).attrs["State"] for each in containers}
    return tuple(name for name, state in found.items() if state.get("Health", {}).get("Status") != "healthy")
