"""Passwords, certificates and the mode of a running stack changed on the cluster, under four writers."""

from __future__ import annotations

from contextlib import closing

import pytest
import redis

from client.connect import connect
from tests.engine.certificates import let_certificates_age, nodes, served
from tests.engine.stack import findings_of, master_of
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(900)]


def test_passwords_are_rotated_without_an_error_and_the_old_ones_end(stack: KubernetesStack) -> None:
    old = stack.contract()
    _, report = stack.up_under_load("rotate")
    assert report.lost == ()
    assert not {kind for kind, _ in report.errors} & {"AuthenticationError", "NOPERM", "WRONGPASS", "NOAUTH"}
    new = stack.contract()
    assert old.password != new.password
    for contract in (old, new):
        with closing(connect(contract)) as client:
            assert client.ping()
    stack.make("rotate-finish")
    assert findings_of(new) == ()
    with closing(connect(new)) as client:
        assert client.ping()
    node = next(each.endpoint for each in new.nodes if each.name == master_of(new))
    ca = str(old.tls_ca_file) if old.tls else None
    password = old.password.get_secret_value()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(node.host, node.port, username="app", password=password, ssl=old.tls, ssl_ca_certs=ca).ping()


def test_certificates_are_renewed_when_due_without_losing_a_write(stack: KubernetesStack) -> None:
    if not stack.contract().tls:
        pytest.skip("no CLI with TLS on this machine: install redis-server 7+ (the Python package's has none)")
    before = {node.name: served(node) for node in nodes(stack)}
    let_certificates_age(stack, days=61)  # of 90: under a third is left
    _, report = stack.up_under_load()
    assert report.lost == ()
    for node in nodes(stack):
        assert served(node) != before[node.name], node.name
    assert findings_of(stack.contract()) == ()
    stack.up_unchanged()


def test_another_mode_is_refused_and_nothing_is_changed(stack: KubernetesStack) -> None:
    contract, before, kept = stack.contract(), stack.uids(), stack.settings
    told = stack.get("configmap", "redis-contract")["data"]
    stack.set(mode="standalone")
    output = stack.make("up", fails=True)
    assert "a running stack keeps its mode" in output
    assert stack.uids() == before
    assert stack.get("configmap", "redis-contract")["data"] == told
    assert findings_of(contract) == ()
    stack.configure(kept)
    stack.make("up")
    assert stack.uids() == before
    assert findings_of(stack.contract()) == ()
