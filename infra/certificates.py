"""PURE  Certificates of one stack: the authority (CA) that signs, one certificate for each node, what is due when.

Every certificate is X.509 with an EC P-256 key and passes OpenSSL's strict checks. Texts are PEM. The clock is an
argument.

A change of authority goes in steps, one `up` each, so that nodes which are updated one after the other trust each
other at every moment: trust the successor too; let it sign; stop trusting the one before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
# Clocks that are behind must not take a new certificate for one from the future.
CLOCK_SKEW = timedelta(minutes=5)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class UnusableAuthority(ValueError):
    """Why a CA that the user brings does not serve. `in_key`: it is the key that has to be changed."""

    def __init__(self, expected: str, *, in_key: bool = False) -> None:
        super().__init__(expected)
        self.in_key = in_key


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Authority:
    """Who signs a stack's certificates. `own`: it was brought by the user and is never renewed here.

    `successor` will sign from the next step on, `own_successor` if the user brought it; `retired`, a certificate or
    empty, signed before. `generation`: the last one that was asked for when we made an authority.
    """

    signer: KeyPair
    own: bool
    successor: KeyPair | None = None
    retired: str = ""
    own_successor: bool = False
    generation: int = 0

    @property
    def trust(self) -> str:
        """The certificates that nodes and clients trust, as one text."""
        return self.signer.certificate + (self.successor.certificate if self.successor else "") + self.retired


def first_authority(stack: str, own: KeyPair | None, now: datetime, generation: int = 0) -> Authority:
    return Authority(own or _new_authority(stack, now), own=own is not None, generation=generation)


def next_authority(
    current: Authority, stack: str, own: KeyPair | None, now: datetime, generation: int = 0
) -> Authority:
    """`current` after one step towards what is wanted now; `current` itself when there is nothing to do.

    Another `generation` wants another authority of ours, with another key.
    """
    if current.successor:
        if own is None and current.own_successor:
            # Withdrawn before it signed anything: nobody needs it. The one before it may be withdrawn, too.
            return _succeeded(current, stack, now, generation) if current.own else _without_successor(current)
        if own is None or _equal(own, current.successor):
            taken_over = replace(current, signer=current.successor, own=own is not None)
            return replace(_without_successor(taken_over), retired=current.signer.certificate)
        if same_key(own.certificate, current.signer.certificate):
            return _without_successor(current)  # back to the one that signs
        return replace(current, successor=own, own_successor=True)  # another wish came in between: no step was lost
    if current.retired:
        return replace(current, retired="")
    if own is not None:
        if not same_key(own.certificate, current.signer.certificate):
            return replace(current, successor=own, own_successor=True)
        return current if _equal(own, current.signer) and current.own else replace(current, signer=own, own=True)
    if current.own or current.generation != generation:
        return _succeeded(current, stack, now, generation)
    if is_due(current.signer.certificate, now):
        # The same key and name: what it signed before stays valid, and so does the copy that a client holds.
        return replace(current, signer=_new_authority(stack, now, _key(current.signer.key)))
    return current


def _without_successor(current: Authority) -> Authority:
    return replace(current, successor=None, own_successor=False)


def _succeeded(current: Authority, stack: str, now: datetime, generation: int) -> Authority:
    """By a new authority of ours."""
    return replace(current, successor=_new_authority(stack, now), own_successor=False, generation=generation)


def issue(authority: KeyPair, names: Sequence[str], days: int, now: datetime) -> KeyPair:
    """A certificate for a server that is also a client of its peers. `names`: DNS names and IP addresses.

    It lives for `days`, but not longer than its authority.
    """
    ca = _certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(names[0]), key, now, min(now + timedelta(days=days), ca.not_valid_after_utc))
        .issuer_name(ca.subject)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(_authority_identifier(ca), critical=False)
    )
    return _signed(builder, key, _key(authority.key))


def is_due(certificate: str, now: datetime) -> bool:
    """Whether under a third of the certificate's life is left."""
    parsed = _certificate(certificate)
    life = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    return parsed.not_valid_after_utc - now < life / 3


def same_key(one: str, other: str) -> bool:
    """Whether two certificates are of the same key. A text that is no certificate (yet) equals none."""
    try:
        return _public(_certificate(one)) == _public(_certificate(other))
    except ValueError:
        return False


def own_authority(certificate: str, key: str, now: datetime) -> KeyPair:
    """The CA that a user brings, in our spelling. Raises UnusableAuthority with what is expected."""
    try:
        parsed = _certificate(certificate)
    except ValueError:
        raise UnusableAuthority("one certificate in PEM form") from None
    _check_is_root(parsed)
    end = parsed.not_valid_after_utc
    if not parsed.not_valid_before_utc <= now < end:
        raise UnusableAuthority(
            f"a certificate that is valid now ({parsed.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d})"
        )
    try:
        private = _key(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        expected = "a private key in PEM form (EC, RSA or Ed25519), without a passphrase"
        raise UnusableAuthority(expected, in_key=True) from None
    if _public(private) != _public(parsed):
        raise UnusableAuthority("the private key of `caCertificate`", in_key=True)
    return KeyPair(_pem(parsed), _key_pem(private))


def _check_is_root(certificate: x509.Certificate) -> None:
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise UnusableAuthority("a CA's certificate (basic constraints CA:TRUE)")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        raise UnusableAuthority("a root certificate (signed by itself): clients trust nothing above it") from None


def _new_authority(stack: str, now: datetime, key: PrivateKey | None = None) -> KeyPair:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Redis CA of {stack}")
    builder = (
        _builder(name, key, now, now + timedelta(days=AUTHORITY_DAYS))
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return _signed(builder, key, key)


def _builder(subject: x509.Name, key: PrivateKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey, signer: PrivateKey) -> KeyPair:
    hashed = None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return KeyPair(_pem(builder.sign(signer, hashed)), _key_pem(key))


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the CA itself spells its identifier: one made elsewhere may use another digest."""
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _certificate(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def _key(text: str) -> PrivateKey:
    key = load_pem_private_key(text.encode(), password=None)
    if isinstance(key, PrivateKey):
        return key
    raise ValueError("a kind of key that signs no certificates")


def _public(of: x509.Certificate | PrivateKey) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _equal(one: KeyPair, other: KeyPair) -> bool:
    return one.certificate == other.certificate


def utc_now() -> datetime:
    """Now, in whole seconds: certificates know no smaller unit."""
    return datetime.now(UTC).replace(microsecond=0)
