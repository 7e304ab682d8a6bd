"""Fixtures for everyone. `deployment`: six real nodes shared by a test module and healed before each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.targets.servers import find_servers
from tests.deployment import Deployment, deployed


@pytest.fixture(scope="session", autouse=True)
def _binaries_on_hand() -> None:
    """What `make` does for its commands: name the server found and the CLI that goes with it."""
    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory, _binaries_on_hand: None) -> Iterator[Deployment]:
    yield from deployed(tmp_path_factory.mktemp("nodes"))


@pytest.fixture
def deployment(_shared: Deployment) -> Deployment:
    """1 master, 2 replicas and 3 Sentinels, converged. A test may kill and stop what it likes."""
    _shared.heal()
    return _shared


@pytest.fixture
def fresh_deployment(tmp_path: Path, _binaries_on_hand: None) -> Iterator[Deployment]:
    """Six nodes for one test alone: for what leaves traces that healing the processes does not undo."""
    yield from deployed(tmp_path)
