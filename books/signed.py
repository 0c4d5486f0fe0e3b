"""A document's detached signature: Ed25519 by a node's signing key over the exact bytes, said in one line.

    keyId="bap.example|key-1|ed25519",algorithm="ed25519",signature="<base64 of 64 bytes>"

It travels in the `Signature` header of the answer, and beside a saved file as `<file>.sig`. Letters are signed with the
same key, over a signing string that begins with "(created): ", which no document of ours does.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from nacl import bindings
from nacl.exceptions import BadSignatureError

from beckn.signing import Identity

_LINE = re.compile(
    r'keyId="([^"|]{1,255})\|([^"|]{1,255})\|ed25519",algorithm="ed25519",signature="([A-Za-z0-9+/=]{88})"', re.ASCII
)


class SignatureRefused(Exception):
    """The signature is none, or not one of these bytes by this key; the sentence says which."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who says to have signed, with which of its keys, and the 64 bytes."""

    subscriber_id: str
    key_id: str
    signature: bytes


def sign(body: bytes, *, identity: Identity) -> str:
    """The signature of exactly these bytes, as one line."""
    signature = base64.b64encode(identity.sign_bytes(body)).decode()
    return f'keyId="{identity.subscriber_id}|{identity.key_id}|ed25519",algorithm="ed25519",signature="{signature}"'


def parse(line: str) -> Signature:
    """Take the line apart; raises SignatureRefused."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise SignatureRefused('This is no signature: keyId="...|...|ed25519",algorithm="ed25519",signature="...".')
    try:
        signature = base64.b64decode(found[3], validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != 64:
        raise SignatureRefused("The signature is not the base64 of 64 bytes.")
    return Signature(found[1], found[2], signature)


def verify(body: bytes, signature: Signature, *, public_key: bytes) -> None:
    """Check that exactly these bytes were signed with the key; raises SignatureRefused."""
    try:
        bindings.crypto_sign_open(signature.signature + body, public_key)
    except (BadSignatureError, ValueError):
        raise SignatureRefused(
            f"The file is not what {signature.subscriber_id} signed with its key {signature.key_id}:"
            " it was changed, or signed by somebody else."
        ) from None
