"""The registry's challenge: X25519, then AES-256-ECB with PKCS#7 padding, as every implementation does it.

The raw shared secret is the AES key, with no key derivation. That is weak in general and harmless here: the plaintext
is random and used once. Keys are base64 of the raw 32 bytes (beckn-onix) or of DER (the Java registry).
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key


class ChallengeUnreadable(ValueError):
    """The challenge or a key of it is not what the protocol says."""


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ChallengeUnreadable(f"{what} must be standard base64") from error


def import_private(text: str) -> X25519PrivateKey:
    """An X25519 private key from base64 of 32 raw bytes or of PKCS8 DER; raises ChallengeUnreadable."""
    raw = _decode(text, "the encryption private key")
    if len(raw) == 32:
        return X25519PrivateKey.from_private_bytes(raw)
    try:
        key = load_der_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise ChallengeUnreadable("the encryption private key is neither 32 bytes nor PKCS8 DER") from error
    if not isinstance(key, X25519PrivateKey):
        raise ChallengeUnreadable("the encryption private key is not an X25519 key")
    return key


def import_public(text: str) -> X25519PublicKey:
    """An X25519 public key from base64 of 32 raw bytes or of SPKI DER; raises ChallengeUnreadable."""
    raw = _decode(text, "the encryption public key")
    if len(raw) == 32:
        return X25519PublicKey.from_public_bytes(raw)
    try:
        key = load_der_public_key(raw)
    except (ValueError, TypeError) as error:
        raise ChallengeUnreadable("the encryption public key is neither 32 bytes nor SPKI DER") from error
    if not isinstance(key, X25519PublicKey):
        raise ChallengeUnreadable("the encryption public key is not an X25519 key")
    return key


def public_key_b64(private_key: str) -> str:
    """The raw public key, base64, that belongs to a private one."""
    return base64.b64encode(import_private(private_key).public_key().public_bytes_raw()).decode()


def make_challenge(plaintext: str, *, private_key: str, public_key: str) -> str:
    """Encrypt `plaintext` for the holder of `public_key`; base64."""
    cipher = _cipher(private_key, public_key)
    padder = PKCS7(128).padder()
    padded = padder.update(plaintext.encode()) + padder.finalize()
    encryptor = cipher.encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def answer_challenge(challenge: str, *, private_key: str, public_key: str) -> str:
    """Decrypt a challenge made by the holder of `public_key`; raises ChallengeUnreadable."""
    cipher = _cipher(private_key, public_key)
    decryptor = cipher.decryptor()
    unpadder = PKCS7(128).unpadder()
    try:
        padded = decryptor.update(_decode(challenge, "challenge")) + decryptor.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except (ValueError, UnicodeDecodeError) as error:
        raise ChallengeUnreadable("the challenge does not decrypt with this pair of keys") from error


def _cipher(private_key: str, public_key: str) -> Cipher[modes.ECB]:
    try:
        shared = import_private(private_key).exchange(import_public(public_key))
    except ValueError as error:
        raise ChallengeUnreadable(str(error)) from error
    return Cipher(algorithms.AES256(shared), modes.ECB())  # noqa: S305 - what the protocol fixes
