"""Fixtures for everyone. `deployment`: six real nodes shared by all tests and healed before each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # at run time only where nodes are wanted: importing Pulumi takes a second
    from tests.deployment import Deployment


@pytest.fixture(scope="session")
def binaries() -> None:
    """What `make` does for its commands: name the server found and the CLI that goes with it."""
    from infra.targets.servers import find_servers

    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[Deployment]:
    from tests.deployment import deployed

    yield from deployed(tmp_path_factory.mktemp("nodes"))


@pytest.fixture
def deployment(_shared: Deployment) -> Deployment:
    """1 master, 2 replicas and 3 Sentinels, converged. A test may kill and stop what it likes."""
    _shared.heal()
    return _shared


@pytest.fixture
def fresh_deployment(tmp_path: Path, binaries: None) -> Iterator[Deployment]:
    """Six nodes for one test alone: for what leaves traces that healing the processes does not undo."""
    from tests.deployment import deployed

    yield from deployed(tmp_path)
