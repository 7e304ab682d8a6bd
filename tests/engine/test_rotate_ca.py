"""`make rotate-ca` on the process target: another key, no outage, and the old CA is worth nothing afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client.ledger import Ledger
from infra import certificates
from infra.tls import CA_FILE
from tests.conformance.test_tls import tls_server
from tests.engine.conftest import taken_down
from tests.engine.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    found = tls_server()
    if found is None:
        pytest.skip("no server with TLS on this machine")
    monkeypatch.setenv("REDIS_SERVER_BINARY", str(found.server))
    monkeypatch.setenv("REDIS_CLI_BINARY", str(found.cli))
    yield from taken_down(Stack(tmp_path, tls="true"))


def test_the_ca_gets_another_key_under_load_and_the_old_one_counts_for_nothing(secured: Stack) -> None:
    secured.make("up")
    old = (secured.nodes / CA_FILE).read_text()
    with Ledger(secured.contract()) as ledger:
        ledger.wait_for_acks(100)
        output = secured.make("rotate-ca", "PAUSE=yes")
        assert "trusts the next CA, too" in output
        both = (secured.nodes / CA_FILE).read_text()
        assert both.startswith(old) and both != old
        output = secured.make("rotate-ca")
        ledger.wait_for_acks(100)
    report = ledger.verify()
    print(f"CA rotated: {report}")
    assert "trusts the new CA alone" in output
    assert report.lost == ()
    new = (secured.nodes / CA_FILE).read_text()
    assert not certificates.same_key(old, new)
    assert both == old + new
    for node in (secured.nodes / "data-0", secured.nodes / "sentinel-0"):
        assert (node / "conf" / "ca.crt").read_text() == new
    secured.up_unchanged()
