"""Digest, signing string, sign, verify. Pure: no I/O, no clock.

The rule (BECKN-006, and as beckn-onix and protocol-server do it): BLAKE2b-512 over the raw body bytes, labelled
`BLAKE-512`; three lines joined by LF with no final LF; Ed25519 over their UTF-8; everything in standard base64. The
receiver decides what must be covered, never the sender.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from nacl import bindings
from nacl.exceptions import BadSignatureError

from beckn import errors

#: What a signature must cover, in this order.
COVERED = "(created) (expires) digest"
#: Lifetime of our own signatures.
LIFETIME_S = 300
#: Our signatures are dated this long ago, so that a peer whose clock lags does not see them in the future.
CREATED_BACK_S = 1
#: How far ahead of our clock a peer's `created` may be.
CREATED_AHEAD_S_MAX = 5
#: The longest lifetime accepted: protocol-server signs for an hour, dated a minute back.
LIFETIME_S_MAX = 3600 + 60
#: No real header is longer; a longer one is refused unread.
HEADER_CHARS_MAX = 1024

_PARAMETER = re.compile(r'\s*([A-Za-z]+)\s*=\s*"([^"]*)"\s*(?:,|$)')
_REQUIRED = ("keyId", "algorithm", "created", "expires", "headers", "signature")


@dataclass(frozen=True)
class Identity:
    """Who signs: a subscriber id, the id of its key and the key's 32-byte seed."""

    subscriber_id: str
    key_id: str
    seed: bytes

    @cached_property
    def _secret(self) -> bytes:
        public, secret = bindings.crypto_sign_seed_keypair(self.seed)
        del public
        return secret

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        return self._secret[32:]

    @property
    def public_key_b64(self) -> str:
        """The public key as the registry writes it."""
        return base64.b64encode(self.public_key).decode()

    def sign_bytes(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `data`."""
        return bindings.crypto_sign(data, self._secret)[:64]

    def __repr__(self) -> str:
        return f"Identity({self.subscriber_id}|{self.key_id})"


@dataclass(frozen=True, slots=True)
class ParsedSignature:
    """A signature header taken apart; `raw` is the header as received."""

    subscriber_id: str
    key_id: str
    created: int
    expires: int
    signature: bytes
    raw: str


def digest(body: bytes) -> bytes:
    """BLAKE2b-512 of the raw body: 64 bytes."""
    return hashlib.blake2b(body, digest_size=64).digest()


def signing_string(body_digest: bytes, *, created: int | str, expires: int | str) -> bytes:
    """The three lines that are signed."""
    encoded = base64.b64encode(body_digest).decode()
    return f"(created): {created}\n(expires): {expires}\ndigest: BLAKE-512={encoded}".encode()


def sign(body: bytes, *, identity: Identity, now: datetime, ttl_s: int = LIFETIME_S) -> str:
    """The Authorization header value for `body`, in exactly the form every known peer parses."""
    created = int(now.timestamp()) - CREATED_BACK_S
    expires = created + ttl_s
    signature = identity.sign_bytes(signing_string(digest(body), created=created, expires=expires))
    return (
        f'Signature keyId="{identity.subscriber_id}|{identity.key_id}|ed25519",algorithm="ed25519",'
        f'created="{created}",expires="{expires}",headers="{COVERED}",'
        f'signature="{base64.b64encode(signature).decode()}"'
    )


def parse_header(value: str, *, by_gateway: bool = False) -> ParsedSignature:
    """Take a signature header apart; parameters may come in any order.

    Raises errors.MalformedSignature, WrongAlgorithm or WrongCoveredHeaders, each saying what is wrong.
    """

    def malformed(sentence: str) -> errors.MalformedSignature:
        return errors.MalformedSignature(sentence, by_gateway=by_gateway)

    if len(value) > HEADER_CHARS_MAX:
        raise malformed(f"the signature header is longer than {HEADER_CHARS_MAX} characters")
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "signature":
        raise malformed('the signature header must begin with "Signature "')
    parameters = _parameters(rest, malformed)
    for name in _REQUIRED:
        if name not in parameters:
            raise malformed(f"the signature header lacks {name}")
    parts = parameters["keyId"].split("|")
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise malformed('keyId must read "subscriber_id|key_id|ed25519"')
    if parts[2] != "ed25519" or parameters["algorithm"] != "ed25519":
        raise errors.WrongAlgorithm(by_gateway=by_gateway)
    if parameters["headers"].lower() != COVERED:
        raise errors.WrongCoveredHeaders(by_gateway=by_gateway)
    created, expires = parameters["created"], parameters["expires"]
    if not _is_seconds(created) or not _is_seconds(expires):
        raise malformed("created and expires must be whole seconds since 1970")
    return ParsedSignature(
        subscriber_id=parts[0],
        key_id=parts[1],
        created=int(created),
        expires=int(expires),
        signature=_signature_bytes(parameters["signature"], malformed),
        raw=value,
    )


def _parameters(rest: str, malformed: Callable[[str], Exception]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        if match is None:
            raise malformed('the signature header must read name="value",name="value"')
        name, text = match.groups()
        if name in parameters:
            raise malformed(f"the signature header gives {name} twice")
        parameters[name] = text
        position = match.end()
    return parameters


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 11 and (text == "0" or text[0] != "0")


def _signature_bytes(text: str, malformed: Callable[[str], Exception]) -> bytes:
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != 64:
        raise malformed("signature must be the base64 of 64 bytes")
    return signature


def check_dates(parsed: ParsedSignature, *, now: datetime, by_gateway: bool = False) -> None:
    """Refuse signatures from the future, expired ones (no tolerance) and ones that live too long."""
    now_s = now.timestamp()
    if parsed.created > now_s + CREATED_AHEAD_S_MAX:
        ahead_s = round(parsed.created - now_s)
        raise errors.SignatureFromTheFuture(
            f"the signature was created {ahead_s} s in the future; at most {CREATED_AHEAD_S_MAX} s are allowed, "
            "check the sender's clock",
            by_gateway=by_gateway,
        )
    if parsed.expires <= now_s:
        late_s = round(now_s - parsed.expires)
        raise errors.SignatureExpired(
            f"the signature expired {late_s} s ago; sign again, or check the sender's clock",
            by_gateway=by_gateway,
        )
    if not 0 < parsed.expires - parsed.created <= LIFETIME_S_MAX:
        raise errors.SignatureLivesTooLong(
            f"the signature's lifetime is {parsed.expires - parsed.created} s; it must be above 0 and at most "
            f"{LIFETIME_S_MAX} s",
            by_gateway=by_gateway,
        )


def verify(body_digest: bytes, parsed: ParsedSignature, *, public_key: bytes, by_gateway: bool = False) -> None:
    """Check the Ed25519 signature over the digest of the received bytes; raises errors.SignatureInvalid.

    Dates are the business of `check_dates`, so that a cheap refusal comes before the costly one.
    """
    message = signing_string(body_digest, created=parsed.created, expires=parsed.expires)
    try:
        bindings.crypto_sign_open(parsed.signature + message, public_key)
    except (BadSignatureError, ValueError) as error:
        raise errors.SignatureInvalid(by_gateway=by_gateway) from error


def import_private_key(text: str) -> bytes:
    """The 32-byte seed from base64 of a 32-byte seed, a 64-byte libsodium secret key or PKCS8 DER.

    Raises ValueError with a sentence when it is none of these, or when the 64-byte form's halves do not match.
    """
    raw = _key_bytes(text)
    if len(raw) == 64:
        public, _ = bindings.crypto_sign_seed_keypair(raw[:32])
        if public != raw[32:]:
            raise ValueError("the private key's public half does not belong to its seed")
        return raw[:32]
    if len(raw) == 32:
        return raw
    try:
        key = load_der_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("a private key is base64 of 32 or 64 bytes, or of PKCS8 DER") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def import_public_key(text: str) -> bytes:
    """The raw 32 bytes of an Ed25519 public key given as base64 of the raw key or of SPKI DER; else ValueError."""
    raw = _key_bytes(text)
    if len(raw) == 32:
        return raw
    try:
        key = load_der_public_key(raw)
    except (ValueError, TypeError) as error:
        raise ValueError("a public key is base64 of 32 bytes, or of SPKI DER") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the public key is not an Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _key_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a key is written in standard base64") from error
