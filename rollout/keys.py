"""PURE  Keys as people handle them, PEM text, and as the signing library takes them."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

# What a key may be called.
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,59}"
# What the libraries raise for text that is no key, or one of a kind that they do not know.
_NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm)


def public_key(pem: str) -> Key:
    """The key of a PEM text, known by the digest of what it is. Raises ValueError."""
    try:
        return SSlibKey.from_crypto(load_pem_public_key(pem.encode()))
    except _NO_KEY:
        raise ValueError("no public key as PEM, of Ed25519, ECDSA or RSA") from None


def private_key(pem: bytes) -> CryptoSigner:
    """What signs with the key of a PEM text (PKCS #8, no passphrase). Raises ValueError, which says nothing of it."""
    try:
        return CryptoSigner(load_pem_private_key(pem, password=None))
    except _NO_KEY:
        raise ValueError("no private key as PEM without a passphrase, of Ed25519, ECDSA or RSA") from None


def public_pem(signer: CryptoSigner) -> str:
    """The public part of a pair, as rollout.yaml lists it."""
    key = load_pem_private_key(signer.private_bytes, password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
