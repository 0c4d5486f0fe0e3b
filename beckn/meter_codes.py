"""Codes of ownership: a utility's signed word that whoever shows it owns a meter, good once and for a while.

    code = base64url(payload) "." base64url(signature)
    payload = {"v": 1, "meter": sha256 as the registry knows the meter, "utility": its subscriber id, "key": key id,
               "nonce": 16 random bytes as hex, "exp": seconds since 1970}

The signature is Ed25519 over a fixed prefix and the payload's bytes, made with the key the utility signs its letters
with, so whoever knows the registry can check it. That a code is used once is the registry's to see: a claim shows it
sha256(nonce).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from nacl import bindings
from nacl.exceptions import BadSignatureError

from beckn import errors, signing
from beckn.actions import Role
from beckn.claims import Claims, Proof, RegistrySilent, UnableToClaim
from beckn.directory import Directory

#: Longest code that is read, characters.
CODE_CHARS_MAX = 1024
NONCE_BYTES = 16
#: What parts these signatures from those under letters.
_PREFIX = b"powershare meter code 1\n"
_VERSION = 1


class CodeRefused(UnableToClaim):
    """The code does not prove that its bearer owns the meter; the sentence says why."""


@dataclass(frozen=True, slots=True)
class MeterCode:
    """What a code says, before it is believed."""

    meter_hash: str
    utility_id: str
    key_id: str
    nonce: str
    expires_at: datetime

    @property
    def proof(self) -> Proof:
        """What the registry keeps of it."""
        return Proof(self.utility_id, digest(self.nonce))


def digest(nonce: str) -> str:
    """sha256 of a nonce, as hex."""
    return hashlib.sha256(bytes.fromhex(nonce)).hexdigest()


def issue(identity: signing.Identity, meter_hash: str, *, expires_at: datetime) -> tuple[str, MeterCode]:
    """A new code for a meter, and what it says."""
    said = MeterCode(
        meter_hash,
        identity.subscriber_id,
        identity.key_id,
        secrets.token_hex(NONCE_BYTES),
        expires_at.replace(microsecond=0),
    )
    payload = orjson.dumps(
        {
            "v": _VERSION,
            "meter": said.meter_hash,
            "utility": said.utility_id,
            "key": said.key_id,
            "nonce": said.nonce,
            "exp": int(said.expires_at.timestamp()),
        }
    )
    return f"{_text(payload)}.{_text(identity.sign_bytes(_PREFIX + payload))}", said


def read(code: str) -> tuple[MeterCode, bytes, bytes]:
    """What a code says, its payload and its signature; raises CodeRefused. Nothing is believed yet."""
    try:
        if len(code) > CODE_CHARS_MAX:
            raise ValueError("too long")
        payload, signature = (_bytes(part) for part in code.strip().split("."))
        said = orjson.loads(payload)
        if said["v"] != _VERSION or len(bytes.fromhex(said["nonce"])) != NONCE_BYTES:
            raise ValueError("another kind of code")
        meter, utility, key, nonce = (str(said[name]) for name in ("meter", "utility", "key", "nonce"))
        found = MeterCode(meter, utility, key, nonce, datetime.fromtimestamp(int(said["exp"]), UTC))
    except (ValueError, KeyError, TypeError, OverflowError, OSError, binascii.Error) as error:
        raise CodeRefused("The code cannot be read; send it exactly as the utility gave it.") from error
    return found, payload, signature


async def prove(
    code: str, meter_id: str, *, claims: Claims, directory: Directory, trusted: Collection[str], now: datetime
) -> Proof:
    """What a code proves of this meter, for its claim. Raises CodeRefused, RegistrySilent.

    `trusted` are the utilities whose word counts here; their keys are the registry's.
    """
    said, payload, signature = read(code)
    if said.utility_id not in trusted:
        known = ", ".join(sorted(trusted)) or "none"
        raise CodeRefused(f"The code is of '{said.utility_id}'; this node takes codes of these utilities: {known}.")
    if said.expires_at <= now:
        raise CodeRefused(f"The code expired at {said.expires_at.isoformat()}; ask the utility for a new one.")
    if not hmac.compare_digest(said.meter_hash, await claims.hash_of(meter_id)):
        raise CodeRefused("The code is for another meter; check the meter's id, or ask the utility for one for it.")
    try:
        record = await directory.find_key(said.utility_id, said.key_id, role=Role.BPP.value)
    except errors.RegistryUnreachable as silent:
        raise RegistrySilent("The registry gives no answer, so the utility's key is unknown; try again.") from silent
    is_good = record is not None and record.type == Role.BPP and record.is_valid(now)
    if record is None or not is_good or not _is_signed(payload, signature, record.signing_public_key):
        raise CodeRefused(
            f"The code is not signed with a valid key of '{said.utility_id}'; ask the utility for a new one."
        )
    return said.proof


def _is_signed(payload: bytes, signature: bytes, public_key: bytes) -> bool:
    try:
        bindings.crypto_sign_open(signature + _PREFIX + payload, public_key)
    except (BadSignatureError, ValueError):
        return False
    return len(signature) == bindings.crypto_sign_BYTES


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
