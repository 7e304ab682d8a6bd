"""Fixtures for everyone. `deployment`: six real nodes shared by all tests and healed before each."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import SLACK

if TYPE_CHECKING:  # at run time only where nodes are wanted: importing Pulumi takes a second
    from tests.deployment import Deployment


# Of a `make test ARGS=...` around us: the tests' own `make failover` would take it for theirs.
for _name in ("ARGS", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(_name, None)


def pytest_configure() -> None:
    """Beside others, writers that leave them some of the machine: 400 writes a second show a gap as well as 1,500."""
    if SLACK > 1:
        from client.ledger import Ledger

        (Ledger.__init__.__kwdefaults__ or {})["interval_s"] = 0.01


@pytest.fixture(scope="session", autouse=True)
def tested_release(pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]) -> None:
    """A JUnit file names the commit that it tested: a report takes it for no other."""
    if pytestconfig.getoption("xmlpath"):
        record_testsuite_property("release", _git("rev-parse", "HEAD") + ("-dirty" if _git("status", "-s") else ""))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@pytest.fixture(scope="session")
def binaries() -> None:
    """What `make` does for its commands: name the server found and the CLI that goes with it."""
    from infra.targets.servers import find_servers

    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)


@pytest.fixture(scope="session")
def process_nodes(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[Deployment]:
    from tests.deployment import deployed

    yield from deployed(tmp_path_factory.mktemp("nodes"))


@pytest.fixture
def deployment(process_nodes: Deployment) -> Deployment:
    """1 master, 2 replicas and 3 Sentinels, converged. A test may kill and stop what it likes."""
    process_nodes.heal()
    return process_nodes


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Why tests were skipped: a line a reason, however many tests share it."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")
