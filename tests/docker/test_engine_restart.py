"""The Docker engine restarts, is killed, or its host loses power: everything is back as it was, by itself.

On an engine of the test's own, through the setting `dockerHost`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from client.connect import connect
from client.ledger import Ledger
from client.ledger_report import LedgerReport
from infra.targets import nftables
from tests.deployment import await_that
from tests.docker import images
from tests.docker.enforcement import assert_enforced
from tests.docker.own_engine import OwnEngine
from tests.docker.stack import DockerStack
from tests.engine.stack import findings_of, master_of

# With a busy disk a server keeps in memory for so long what WAIT has confirmed, and here all nodes end at once.
UNWRITTEN_S = 2
pytestmark = [pytest.mark.docker, pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def own(engine: Any, helper_images: dict[str, str]) -> Iterator[OwnEngine]:
    """An engine of the test's own, with the shared one's images; the test is on its host's network."""
    missing = [name for name in ("dockerd", "unshare", "nsenter", "nft") if shutil.which(name) is None]
    if missing or os.geteuid():
        pytest.skip(f"a second Docker engine needs root and these programs; missing: {missing}")
    made = OwnEngine()
    try:
        made.start()
        made.load([engine.images.get(name) for name in (images.REDIS, *helper_images.values())])
        with made.entered():
            yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def restarted(
    tmp_path_factory: pytest.TempPathFactory,
    engine: Any,
    own: OwnEngine,
    plugin: None,
    helper_images: dict[str, str],
    binaries: None,
) -> DockerStack:
    """A stack on that engine, up. It needs no removal: its host ends."""
    stack = DockerStack(
        tmp_path_factory.mktemp("restart"),
        own.engine,
        image=images.redis_image(engine),
        dockerHost=own.unix,
        **helper_images,
    )
    stack.make("secrets")
    stack.make("up")
    return stack


def test_a_stack_is_deployed_on_the_engine_that_the_setting_names(
    restarted: DockerStack, own: OwnEngine, engine: Any
) -> None:
    assert len(restarted.ids()) == 8
    with pytest.raises(NotFound):
        engine.containers.get(f"redis-{restarted.name}-data-0")
    assert findings_of(restarted.contract()) == ()
    assert_enforced(restarted)


def terminate(own: OwnEngine) -> None:
    own.stop(signal.SIGTERM)


def kill(own: OwnEngine) -> None:
    own.stop(signal.SIGKILL)


def cut_the_power(own: OwnEngine) -> None:
    own.cut_the_power()
    assert tables() == ""


@pytest.mark.parametrize("ended", [terminate, kill, cut_the_power])
def test_a_restart_of_the_engine_brings_everything_back(
    restarted: DockerStack, own: OwnEngine, ended: Callable[[OwnEngine], None], tmp_path: Path
) -> None:
    contract = restarted.contract()
    before = restarted.ids()
    with connect(contract) as client:
        client.set("written-before", ended.__name__)
    with Ledger(contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        begun, begun_s = time.monotonic(), ledger.elapsed_s()
        ended(own)
        stopped = time.monotonic()
        own.start()
        started = time.monotonic()
        await_that(lambda: not findings_of(contract), 180, "agreement")
        agreed = time.monotonic()
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(
        f"engine: {ended.__name__}: down after {stopped - begun:.1f} s, answers after {started - stopped:.1f} s more, "
        f"all agree after {agreed - started:.1f} s more; {report}; plain acks lost {len(report.lost)}, "
        f"confirmed ones {len(report.lost_confirmed)}; failed attempts {dict(report.errors)}"
    )
    assert [key for key, at_s in lost_at(ledger, report, tmp_path).items() if at_s < begun_s - UNWRITTEN_S] == []
    with connect(contract) as client:
        assert client.get("written-before") == ended.__name__
    master_of(contract)
    assert restarted.ids() == before
    await_that(lambda: nftables.table_name(restarted.name) in tables(), 15, "the firewall's tables")
    assert_enforced(restarted)
    assert findings_of(contract) == ()
    restarted.assert_unchanged()


def lost_at(ledger: Ledger, report: LedgerReport, folder: Path) -> dict[str, float]:
    """When each lost key had been confirmed, in seconds since the writers started."""
    acks = map(json.loads, ledger.dump(folder / "acks.jsonl").read_text().splitlines())
    times = {f"{ack['writer']}:{ack['seq']}": ack["t_ms"] / 1000 for ack in acks}
    return {key: times[key.split(":", 2)[2]] for key in report.lost_confirmed}


def tables() -> str:
    """The nftables tables of the network that this test is on."""
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def test_a_remote_engine_is_used_over_tls_and_only_with_a_certificate(
    tmp_path: Path, restarted: DockerStack, own: OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `dockerHost: tcp://` does elsewhere: here over the loopback of the engine's host."""
    stack = DockerStack(tmp_path, own.engine, dockerHost=own.tcp, mode="standalone", **restarted.images)
    stack.make("secrets")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # docker-py would trust these instead of ca.pem
        monkeypatch.delenv(name, raising=False)
    own.write_certificates(tmp_path / "a-stranger's")
    shutil.copy(own.certificates / "ca.pem", tmp_path / "a-stranger's")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "a-stranger's"))
    # In the words of who asks first, the provider's (which depend on its build) or docker-py's: not all of them say
    # which part of the handshake failed.
    refused = stack.make("up", fails=True)
    assert any(words in refused for words in ("docker daemon", "bad certificate", "none that answers")), refused
    assert stack.ids() == {}
    monkeypatch.setenv("DOCKER_CERT_PATH", str(own.certificates))
    stack.make("up")
    assert len(stack.ids()) == 3
    with connect(stack.contract()) as client:
        assert client.set("over", "tcp")
    stack.assert_unchanged()
    stack.make("down", f"CONFIRM={stack.name}")
    assert stack.ids() == {}
