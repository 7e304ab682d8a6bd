"""Certificates by themselves: what is in them, who verifies them, when they are due, how an authority is changed."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pulumi.dynamic import ResourceProvider

from infra import certificates
from infra.certificates import Authority, KeyPair, UnusableAuthority
from infra.targets.certificate_provider import SECRET_OUTPUTS, AuthorityProvider, CaFileProvider, CertificateProvider

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMES = ["127.0.0.1", "data-0"]


@cache
def generated(stack: str = "dev") -> Authority:
    return certificates.first_authority(stack, None, NOW)


def issued(days: int = 90, now: datetime = NOW, authority: KeyPair | None = None) -> KeyPair:
    return certificates.issue(authority or generated().signer, NAMES, days, now)


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def after(days: float) -> datetime:
    return NOW + timedelta(days=days)


def test_a_certificate_names_its_server_and_nothing_else() -> None:
    names = parsed(issued()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("data-0")]


def test_an_ipv6_address_in_brackets_is_an_address() -> None:
    pair = certificates.issue(generated().signer, ["[::1]"], 90, NOW)
    names = parsed(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("::1"))]


def test_a_certificate_is_for_servers_that_are_clients_too_and_signs_nothing() -> None:
    extensions = parsed(issued()).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_each_certificate_has_a_key_of_its_own() -> None:
    assert issued().key != issued().key
    assert not certificates.same_key(issued().certificate, issued().certificate)


def test_it_lives_as_long_as_asked_for_and_not_longer_than_its_authority() -> None:
    assert parsed(issued(days=90)).not_valid_after_utc == after(90)
    assert (
        parsed(issued(days=825, now=after(3600))).not_valid_after_utc == parsed(generated().signer).not_valid_after_utc
    )


def test_a_clock_that_is_a_little_behind_takes_it() -> None:
    assert parsed(issued()).not_valid_before_utc < NOW - timedelta(minutes=4)


@pytest.mark.parametrize(("age_days", "due"), [(0, False), (59.9, False), (60.1, True), (89, True), (91, True)])
def test_it_is_due_when_under_a_third_of_its_life_is_left(age_days: float, due: bool) -> None:
    assert certificates.is_due(issued().certificate, after(age_days)) is due


def test_no_key_is_printed() -> None:
    assert "PRIVATE" not in f"{generated()!r}{issued()!r}"


def handshake(tmp_path: Path, server: KeyPair, trust: str, name: str) -> str:
    """What a strictly verifying client says to a server with this certificate: 'ok' or the reason."""
    (tmp_path / "server.pem").write_text(server.certificate + server.key)
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(tmp_path / "server.pem")
    client = ssl.create_default_context(cadata=trust)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()

    def serve() -> None:
        with closing(left), suppress(OSError), listening.wrap_socket(left, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with closing(right), client.wrap_socket(right, server_hostname=name):
            return "ok"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        thread.join(5)


def now() -> datetime:
    return certificates.utc_now()


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_client_verifies_the_chain_and_the_name(tmp_path: Path, name: str) -> None:
    authority = certificates.first_authority("dev", None, now())
    assert handshake(tmp_path, issued(now=now(), authority=authority.signer), authority.trust, name) == "ok"


def test_a_strict_client_refuses_another_name_another_authority_and_an_old_certificate(tmp_path: Path) -> None:
    authority, other = (certificates.first_authority(stack, None, now()) for stack in ("dev", "dev"))
    good = issued(now=now(), authority=authority.signer)
    assert "IP address mismatch" in handshake(tmp_path, good, authority.trust, "127.0.0.2")
    assert "Hostname mismatch" in handshake(tmp_path, good, authority.trust, "data-1")
    assert handshake(tmp_path, good, other.trust, "data-0") != "ok"
    old = issued(now=now() - timedelta(days=91), authority=authority.signer)
    assert "expired" in handshake(tmp_path, old, authority.trust, "data-0")


def test_an_authority_that_is_not_due_stays_itself() -> None:
    assert certificates.next_authority(generated(), "dev", None, after(2400)) is generated()


def test_an_authority_is_renewed_with_its_key_so_that_both_vouch_for_the_same(tmp_path: Path) -> None:
    old = certificates.first_authority("dev", None, now() - timedelta(days=2500))
    new = certificates.next_authority(old, "dev", None, now())
    assert new.signer.key == old.signer.key
    assert parsed(new.signer).not_valid_after_utc > parsed(old.signer).not_valid_after_utc
    for authority, trust in ((old, new.trust), (new, old.trust)):
        assert handshake(tmp_path, issued(now=now(), authority=authority.signer), trust, "data-0") == "ok"


def own(key: certificates.PrivateKey | None = None, **changes: object) -> KeyPair:
    """A CA as a user may have it; `changes`: ca, start and end in days from NOW, issuer."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    wanted = {"ca": True, "start": -10, "end": 900, "issuer": "Example Root"} | changes
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Root")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(wanted["issuer"]))]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=int(str(wanted["start"]))))
        .not_valid_after(NOW + timedelta(days=int(str(wanted["end"]))))
        .add_extension(x509.BasicConstraints(ca=bool(wanted["ca"]), path_length=None), critical=True)
    )
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    text = (
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        if not isinstance(key, ed25519.Ed25519PrivateKey)
        else key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return KeyPair(signed.public_bytes(Encoding.PEM).decode(), text.decode())


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_users_own_authority_signs(kind: str) -> None:
    keys = {"ec": None, "rsa": rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate()}
    theirs = own(keys[kind])
    ours = certificates.own_authority(theirs.certificate, theirs.key, NOW)
    parsed(certificates.issue(ours, NAMES, 90, NOW)).verify_directly_issued_by(parsed(ours))


@pytest.mark.parametrize(
    ("certificate", "key", "expected", "in_key"),
    [
        ("nonsense", own().key, "one certificate in PEM form", False),
        (own(ca=False).certificate, own().key, "CA:TRUE", False),
        (own(issuer="Someone Else").certificate, own().key, "signed by itself", False),
        (own(start=-10, end=-1).certificate, own().key, "valid now (2026-04-21 to 2026-04-30)", False),
        (own(start=2, end=9).certificate, own().key, "valid now", False),
        (own().certificate, "", "a private key in PEM form", True),
        (own().certificate, own().key, "the private key of `caCertificate`", True),
    ],
    ids=["not PEM", "not a CA", "intermediate", "expired", "not yet", "no key", "another key"],
)  # fmt: skip
def test_an_unusable_authority_is_refused_with_one_reason(
    certificate: str, key: str, expected: str, in_key: bool
) -> None:
    with pytest.raises(UnusableAuthority) as refused:
        certificates.own_authority(certificate, key, NOW)
    assert expected in str(refused.value)
    assert refused.value.in_key is in_key
    assert "PRIVATE" not in str(refused.value)


def spelled(pair: KeyPair) -> KeyPair:
    return certificates.own_authority(pair.certificate, pair.key, NOW)


def trusts(authority: Authority, other: KeyPair) -> bool:
    return other.certificate in authority.trust


def test_an_authority_is_changed_in_three_steps_without_a_moment_of_distrust() -> None:
    first, theirs = generated(), spelled(own())
    second = certificates.next_authority(first, "dev", theirs, NOW)
    assert second.signer == first.signer, "the successor signs before everybody trusts it"
    assert trusts(second, theirs)
    third = certificates.next_authority(second, "dev", theirs, NOW)
    assert third.signer == theirs
    assert trusts(third, first.signer)
    last = certificates.next_authority(third, "dev", theirs, NOW)
    assert not trusts(last, first.signer)
    assert last == Authority(theirs, own=True)
    assert certificates.next_authority(last, "dev", theirs, NOW) == last


def test_the_way_back_to_a_generated_authority_has_the_same_steps() -> None:
    theirs = spelled(own())
    steps = [Authority(theirs, own=True)]
    for _ in range(4):
        steps.append(certificates.next_authority(steps[-1], "dev", None, NOW))
    assert [step.signer == theirs for step in steps] == [True, True, False, False, False]
    assert [trusts(step, theirs) for step in steps] == [True, True, True, False, False]
    assert steps[-1] is steps[-2]


def test_a_users_authority_that_is_withdrawn_before_it_signed_never_signs() -> None:
    first, theirs = generated(), spelled(own())
    announced = certificates.next_authority(first, "dev", theirs, NOW)
    assert certificates.next_authority(announced, "dev", None, NOW) == first

    before = Authority(spelled(own()), own=True)
    announced = certificates.next_authority(before, "dev", theirs, NOW)
    step = certificates.next_authority(announced, "dev", None, NOW)
    assert step.successor and not step.own_successor, "ours is announced in the same step"
    while True:
        assert step.signer != theirs and not trusts(step, theirs)
        following = certificates.next_authority(step, "dev", None, NOW)
        if following == step:
            break
        step = following
    assert not step.own and step.signer != before.signer


def test_back_to_the_users_authority_that_still_signs_costs_no_certificates() -> None:
    before = Authority(spelled(own()), own=True)
    announced = certificates.next_authority(before, "dev", spelled(own()), NOW)
    assert certificates.next_authority(announced, "dev", before.signer, NOW) == before


def test_another_generation_is_another_key_in_three_steps_and_then_nothing() -> None:
    steps = [generated()]
    for _ in range(4):
        steps.append(certificates.next_authority(steps[-1], "dev", None, NOW, 1))
    old, new = steps[0].signer, steps[-1].signer
    assert not certificates.same_key(old.certificate, new.certificate)
    assert [step.signer for step in steps] == [old, old, new, new, new]
    assert [(trusts(step, old), trusts(step, new)) for step in steps] == [
        (True, False),
        (True, True),
        (True, True),
        (False, True),
        (False, True),
    ]
    assert steps[-1] is steps[-2]
    assert steps[-1] == replace(Authority(new, own=False), generation=1)


def test_a_users_authority_has_no_generation_of_ours() -> None:
    theirs = Authority(spelled(own()), own=True)
    assert certificates.next_authority(theirs, "dev", theirs.signer, NOW, 5) == theirs


def test_a_users_authority_is_never_renewed_by_us_and_taken_over_at_once_when_they_renew_it_with_its_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = spelled(own(key, end=5)), spelled(own(key, end=500))
    current = Authority(old, own=True)
    assert certificates.next_authority(current, "dev", old, after(4)) == current
    assert certificates.next_authority(current, "dev", new, NOW) == Authority(new, own=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The providers' clock: the last item is now."""
    times = [NOW]
    monkeypatch.setattr(certificates, "utc_now", lambda: times[-1])
    return times


def created(provider: ResourceProvider, inputs: dict[str, Any]) -> dict[str, Any]:
    return provider.create(inputs).outs or {}


def updated(provider: ResourceProvider, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    return provider.update(id_, olds, news).outs or {}


AUTHORITY = {"stack": "dev", "own_certificate": "", "own_key": ""}


def certificate_inputs(authority: dict[str, Any]) -> dict[str, Any]:
    return {"names": NAMES, "days": 90, "ca_certificate": authority["certificate"], "ca_key": authority["key"]}


def test_a_certificate_changes_at_no_up_until_it_is_due(clock: list[datetime]) -> None:
    inputs = certificate_inputs(created(AuthorityProvider(), AUTHORITY))
    provider = CertificateProvider()
    made = created(provider, inputs)
    for days, due in ((0, False), (30, False), (59, False), (61, True), (200, True)):
        clock.append(after(days))
        assert provider.diff("data-0", made, inputs).changes is due, days
    renewed = updated(provider, "data-0", made, inputs)
    assert renewed["certificate"] != made["certificate"]
    assert provider.diff("data-0", renewed, inputs).changes is False


@pytest.mark.parametrize(
    "change", [{"names": ["127.0.0.1", "data-1"]}, {"days": 30}, {"ca_certificate": "unknown yet"}]
)
@pytest.mark.usefixtures("clock")
def test_other_names_another_life_or_another_authority_is_a_change(change: dict[str, object]) -> None:
    inputs = certificate_inputs(created(AuthorityProvider(), AUTHORITY))
    made = created(CertificateProvider(), inputs)
    assert CertificateProvider().diff("data-0", made, inputs | change).changes is True


def test_an_authority_renewed_with_its_key_asks_for_no_new_certificates(clock: list[datetime]) -> None:
    provider = AuthorityProvider()
    made = created(provider, AUTHORITY)
    leaf = created(CertificateProvider(), certificate_inputs(made)) | {"days": 90}
    assert provider.diff("authority", made, AUTHORITY).changes is False
    clock.append(after(2500))
    assert provider.diff("authority", made, AUTHORITY).changes is True
    renewed = updated(provider, "authority", made, AUTHORITY)
    clock.append(after(1))
    assert renewed["certificate"] != made["certificate"]
    assert CertificateProvider().diff("data-0", leaf, certificate_inputs(renewed)).changes is False


@pytest.mark.usefixtures("clock")
def test_the_steps_to_another_authority_are_one_up_each() -> None:
    provider, theirs = AuthorityProvider(), spelled(own())
    state = created(provider, AUTHORITY)
    wanted = AUTHORITY | {"own_certificate": theirs.certificate, "own_key": theirs.key}
    ups = 0
    while provider.diff("authority", state, wanted).changes:
        state, ups = updated(provider, "authority", state, wanted), ups + 1
        assert ups < 5
    assert ups == 3
    assert state["trust"] == theirs.certificate


@pytest.mark.usefixtures("clock")
def test_a_state_from_before_generations_is_left_alone_and_another_generation_is_three_ups() -> None:
    provider = AuthorityProvider()
    state = created(provider, AUTHORITY)
    for added in ("own_successor", "made", "settled", "generation"):
        state.pop(added, None)
    assert not provider.diff("authority", state, AUTHORITY | {"generation": 0.0}).changes
    wanted, seen = AUTHORITY | {"generation": 1.0}, []
    while provider.diff("authority", state, wanted).changes:
        state = updated(provider, "authority", state, wanted)
        seen.append((state["made"], state["settled"]))
        assert len(seen) < 5
    assert seen == [(1, False), (1, False), (1, True)]


@pytest.mark.usefixtures("clock")
def test_every_private_key_in_the_state_has_the_name_of_a_secret() -> None:
    theirs = spelled(own())
    authority = AuthorityProvider()
    outs = created(authority, AUTHORITY)
    outs = updated(authority, "", outs, AUTHORITY | {"own_certificate": theirs.certificate, "own_key": theirs.key})
    leaf = created(CertificateProvider(), certificate_inputs(outs))
    secret_inputs = ["own_key", "ca_key"]
    for name, value in [*outs.items(), *leaf.items()]:
        assert ("PRIVATE" in str(value)) <= (name in [*SECRET_OUTPUTS, *secret_inputs]), name


def test_the_ca_file_is_written_replaced_missed_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "nodes" / "ca.crt"
    provider, props = CaFileProvider(), {"path": str(path), "text": "one"}
    provider.create(props)
    assert path.read_text() == "one"
    provider.update(str(path), props, props | {"text": "two"})
    assert path.read_text() == "two"
    assert provider.read(str(path), props).id == str(path)
    provider.delete(str(path), props)
    assert not path.exists()
    assert provider.read(str(path), props).id == ""
