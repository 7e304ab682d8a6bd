"""The laws' tests take `deployment`: the same tests on every target's nodes.

A target more is a package's fixture that yields its `Nodes`, and one more of the parameters of `nodes`. A stack ends
with the package: as long as it runs, it takes its part of the machine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.targets import DOCKER, KUBERNETES
from tests.deployment import Deployment, deployed
from tests.docker.conftest import engine as engine
from tests.docker.conftest import helper_images as helper_images
from tests.docker.conftest import plugin as plugin
from tests.kubernetes.conftest import cluster as cluster
from tests.kubernetes.conftest import cluster_images as cluster_images
from tests.nodes import Nodes

if TYPE_CHECKING:
    from tests.docker.nodes import DockerNodes
    from tests.kubernetes.nodes import KubernetesNodes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The node scripts are the same everywhere: all laws are tried on processes, and by night on the other targets too.

    In the gate these run what may differ there, marked `everywhere`: how nodes end, come back, hang and are reached.
    """
    for item in items:
        elsewhere = item.get_closest_marker("docker") or item.get_closest_marker("kubernetes")
        if elsewhere and Path(__file__).parent in item.path.parents and not item.get_closest_marker("everywhere"):
            item.add_marker(pytest.mark.nightly)


@pytest.fixture
def own(tmp_path: Path, binaries: None) -> Iterator[Deployment]:
    """Nodes of the test's own, a process each: nobody else has what it does to their files."""
    yield from deployed(tmp_path / "nodes")


@pytest.fixture(scope="package")
def nodes_with_files(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[Deployment]:
    yield from deployed(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def kept(nodes_with_files: Deployment) -> Iterator[Deployment]:
    """A process each, healed before the test; what it does to their files is undone after it."""
    nodes_with_files.heal()
    files = {path: path.read_text() for path in nodes_with_files.home.glob("*/conf/*")}
    properties = copy.deepcopy(dict(nodes_with_files.properties))
    yield nodes_with_files
    nodes_with_files.properties = properties
    for path, text in files.items():
        path.write_text(text)
    for name in nodes_with_files.names:
        nodes_with_files.cont(name)
        nodes_with_files.run(name, "apply.sh")


@pytest.fixture(scope="package")
def docker_nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerNodes]:
    """A stack of `make up` on the Docker engine, with TLS if this machine's CLI can: handovers are asked for by it."""
    client: Any = request.getfixturevalue("engine")
    settings: dict[str, str] = request.getfixturevalue("helper_images")
    request.getfixturevalue("plugin")
    request.getfixturevalue("binaries")

    from infra.targets.servers import find_servers
    from tests.docker import images
    from tests.docker.nodes import DockerNodes
    from tests.docker.stack import DockerStack

    tls = str(find_servers().tls).lower()
    image = images.redis_image(client)
    with DockerStack(tmp_path_factory.mktemp("docker"), client, image=image, tls=tls, **settings).brought_up() as stack:
        yield DockerNodes(stack)


@pytest.fixture(scope="package")
def kubernetes_nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubernetesNodes]:
    """A stack of `make up` on the cluster, with TLS if this machine's CLI can: handovers are asked for by it."""
    images: dict[str, str] = request.getfixturevalue("cluster_images")
    request.getfixturevalue("binaries")

    from tests.kubernetes.nodes import KubernetesNodes
    from tests.kubernetes.stack import brought_up

    with brought_up(tmp_path_factory.mktemp("kubernetes"), images) as stack, closing(KubernetesNodes(stack)) as nodes:
        yield nodes


@pytest.fixture(
    scope="package",
    params=[
        pytest.param("process_nodes", id="process", marks=pytest.mark.deployment),
        DOCKER,
        KUBERNETES,
    ],
)
def nodes(request: pytest.FixtureRequest) -> Nodes:
    """Each target's nodes, made when the first test wants them."""
    made: Nodes = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def deployment(nodes: Nodes) -> Nodes:
    """1 master, 2 replicas and 3 Sentinels, converged. A test may kill and stop what it likes."""
    nodes.heal()
    return nodes
