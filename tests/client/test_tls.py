"""Whom a client trusts under TLS, against a tiny Redis that has a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from client.links import open_node, open_probe, open_sentinel
from client.options import Options
from infra import certificates
from infra.certificates import Authority
from infra.contract import Contract, Endpoint
from tests.client.fakes import contract
from tests.client.tiny_redis import TinyRedis

Open = Callable[[Contract, Options, Endpoint], redis.Redis]


@pytest.fixture
def authority() -> Authority:
    return certificates.first_authority("test", None, certificates.utc_now())


@pytest.fixture
def port(server: TinyRedis, authority: Authority, tmp_path: Path) -> int:
    """Of a node that shows a certificate for 127.0.0.1 by this authority."""
    own = certificates.issue(authority.signer, ["127.0.0.1"], 90, certificates.utc_now())
    (tmp_path / "node.pem").write_text(own.certificate + own.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return int(server.server_address[1])


def ping(opened: Open, at: Endpoint, ca_file: Path | None) -> bool:
    secured = contract(tls=True).model_copy(update={"tls_ca_file": ca_file})
    with closing(opened(secured, Options(), at)) as link:
        return bool(link.ping())


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_text(authority.trust)
    return path


@pytest.fixture
def another(tmp_path: Path) -> Path:
    path = tmp_path / "another.crt"
    path.write_text(certificates.first_authority("test", None, certificates.utc_now()).trust)
    return path


each_kind = pytest.mark.parametrize("opened", [open_node, open_probe, open_sentinel])


@each_kind
def test_a_node_of_the_contracts_authority_is_trusted_under_its_own_name(
    opened: Open, port: int, trusted: Path
) -> None:
    assert ping(opened, Endpoint("127.0.0.1", port), trusted)
    with pytest.raises(redis.ConnectionError, match="Hostname mismatch"):
        ping(opened, Endpoint("localhost", port), trusted)


@each_kind
def test_with_an_authority_in_the_contract_those_of_the_system_count_for_nothing(
    opened: Open, port: int, trusted: Path, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    assert ping(opened, Endpoint("127.0.0.1", port), None)  # without one in the contract they are all there is
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        ping(opened, Endpoint("127.0.0.1", port), another)


def test_an_authority_that_is_renewed_in_its_file_counts_from_then_on(port: int, trusted: Path, another: Path) -> None:
    good = trusted.read_text()
    trusted.write_text(another.read_text())
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        ping(open_node, Endpoint("127.0.0.1", port), trusted)
    trusted.write_text(good)
    assert ping(open_node, Endpoint("127.0.0.1", port), trusted)
