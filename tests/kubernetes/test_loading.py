"""A data set that loads for longer than an unwell container may live: the node is left alone until it has loaded."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.connect import connect
from client.links import open_as
from tests.docker.images import REDIS
from tests.engine.stack import await_converged, master_of
from tests.kubernetes.lab import load_images
from tests.kubernetes.stack import KubernetesStack, brought_up
from tests.waiting import await_that

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(1500)]

KEYS, DELAY_US = 10_000, 8000
"""80 s, in which the server answers nobody for 8 s at a time: it looks after its clients every 1024 commands."""
LOADED = re.compile(r"DB loaded from incr file \S+: ([\d.]+) seconds")
BUDGET_S = 60
"""What both probes give a container that does not answer: 60 s to start, 6 times 10 s afterwards."""

# The server, made slow at loading and nothing else. While it loads its master's data set it looks after its clients
# every KiB instead of every 2 MiB, which for a set as slow as this one comes to the same time.
SLOW = f"""\
FROM {REDIS}
USER 0
RUN server=$(command -v redis-server) && mv "$server" "$server-itself" && {{ \\
    echo '#!/bin/sh'; \\
    echo 'case "$*" in *--sentinel*) exec redis-server-itself "$@" ;; esac'; \\
    echo 'exec redis-server-itself "$@" --key-load-delay {DELAY_US} --loading-process-events-interval-bytes 1024'; \\
    }} >"$server" && chmod 755 "$server"
USER 999
"""


@pytest.fixture
def slow(tmp_path: Path, engine: Any, cluster_images: dict[str, str], binaries: None) -> Iterator[KubernetesStack]:
    """A stack of its own, whose servers load slowly: they would not get far with what other tests have left."""
    image, _ = engine.images.build(fileobj=io.BytesIO(SLOW.encode()), tag="local/redis:slow", rm=True)
    load_images(["local/redis:slow"])
    with brought_up(tmp_path, cluster_images | {"image": str(image.id)}) as made:
        yield made


def test_a_node_that_loads_for_long_is_never_restarted(slow: KubernetesStack) -> None:
    contract = slow.contract()
    client = connect(contract)

    def fill(link: Any) -> None:
        with link.pipeline(transaction=False) as many:
            for key in range(KEYS):
                many.set(f"filled:{key}", "x" * 1000)
            many.execute()

    client.call(fill, deadline_s=120)
    replica = next(node for node in contract.nodes if node.name != master_of(contract))

    born = slow.uids()[replica.name]

    def link_status() -> object:
        with closing(open_as(contract, "operator", replica.endpoint, 2.0)) as link:
            return dict(link.info("replication"))["master_link_status"]

    def log() -> str:
        return slow.kubectl("logs", replica.name, "-c", "server")

    await_converged(contract)
    slow.kubectl("delete", "pod", replica.name, "--grace-period=0", "--force")
    await_that(lambda: slow.uids().get(replica.name) not in (None, born), 60, "a new pod")
    uid, begun = slow.uids()[replica.name], time.monotonic()
    # The pod that was deleted answers for a moment.
    await_that(lambda: LOADED.search(log()), 600, "a new pod that has loaded its own data")
    await_that(lambda: link_status() == "up", 600, "a replica that has loaded its master's data, too")
    loads = [float(each) for each in LOADED.findall(log())]
    print(
        f"{replica.name} is back after {time.monotonic() - begun:.0f} s; its data took it {loads} s to load, "
        f"containers restarted: {slow.restarts()}"
    )
    assert max(loads, default=0) > BUDGET_S + 10
    assert slow.restarts() == 0
    assert slow.uids()[replica.name] == uid
    await_converged(contract)
