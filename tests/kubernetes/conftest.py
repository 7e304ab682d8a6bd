"""The lab's cluster for the tests. Skips where it is not; in CI beside the lab that is a failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker import images
from tests.docker.conftest import engine as engine
from tests.docker.conftest import helper_images as helper_images
from tests.engine.stack import await_converged
from tests.kubernetes.lab import LAB, get, let_answers_pass, load_images
from tests.kubernetes.stack import KubernetesStack, brought_up


@pytest.fixture(scope="session")
def cluster() -> None:
    """Three ready nodes and the provider's plugin."""
    try:
        ready = [node for node in get("nodes")["items"] if _is_ready(node)]
    except (AssertionError, OSError) as error:
        _missing(f"no Kubernetes cluster answers: {error}")
    if len(ready) < 3:
        _missing(f"{len(ready)} nodes of the cluster are ready, and three are needed")
    found = subprocess.run(["sh", "-c", "ls ~/.pulumi/plugins"], capture_output=True, text=True, check=False).stdout
    if "resource-kubernetes-v" not in found:
        _missing("no Pulumi plugin for Kubernetes: pulumi plugin install resource kubernetes 4.28.0")
    let_answers_pass()


def _is_ready(node: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true" and LAB.exists():
        pytest.fail(f"the lab is here, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster_images(cluster: None, engine: Any, helper_images: dict[str, str]) -> dict[str, str]:
    """The settings that name images; every node has them. `next`: a new release of the server."""
    ids = {"image": images.redis_image(engine), "next": images.next_redis_image(engine)}
    ids["gatewayImage"] = helper_images["gatewayImage"]
    tags = [str(engine.images.get(each).tags[0]) for each in ids.values()]
    load_images(tags)
    return ids


@pytest.fixture(scope="package")
def shared(
    tmp_path_factory: pytest.TempPathFactory, cluster_images: dict[str, str], binaries: None
) -> Iterator[tuple[KubernetesStack, dict[str, str]]]:
    """A stack under TLS, up: gateway and policies on, 1 master, 2 replicas, 3 Sentinels; and its settings."""
    with brought_up(tmp_path_factory.mktemp("kubernetes"), cluster_images) as made:
        assert made.restarts() == 0, "a first `up` restarts nothing"
        yield made, made.settings


@pytest.fixture(scope="module")
def stack(shared: tuple[KubernetesStack, dict[str, str]]) -> KubernetesStack:
    """The package's stack as it was brought up: what the module before has changed is undone by an `up`."""
    made, born = shared
    if made.settings != born:
        made.configure(born)
        made.make("up")
    await_converged(made.contract())
    return made
