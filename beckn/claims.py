"""Claims on meters: before a node sells or buys for a meter, the registry must let it, so that no other node does.

A meter is told to the registry as sha256(salt || id) in hex, where the salt is the network's own, published by the
registry and asked for once. The id is *bare*: without the `der://` some peers write before it, in lower case, because
an mRID is a hexadecimal number and two spellings of one meter must not be two meters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from beckn import signing
from beckn.clock import Clock
from beckn.registry_client import RegistryClient, RegistryUnavailable

#: The two directions of a meter: a BPP claims EXPORT, a BAP IMPORT.
EXPORT, IMPORT = "EXPORT", "IMPORT"
#: How long a signature under a claim lives, seconds: it is answered at once, and should not be played again later.
CLAIM_LIFETIME_S = 60

_SCHEME = "der://"
#: The registry's code for a meter that another node holds (docs/divergences.md).
_METER_HELD = "30025"


class UnableToClaim(Exception):
    """The meter cannot be registered here; the sentence says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class MeterTaken(UnableToClaim):
    """Another node of the network holds this meter."""


class ClaimRefused(UnableToClaim):
    """The registry says no for another reason: the node is no subscriber in the right role, or the code was used."""


class RegistrySilent(UnableToClaim):
    """The registry gives no answer that can be believed: whether the meter is free is unknown."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the registry keeps of a code that proved a meter's ownership."""

    utility_id: str
    nonce_digest: str


class Claims(Protocol):
    """Port: what a node asks about meters."""

    async def hash_of(self, meter_id: str) -> str:
        """What the registry knows the meter by; raises RegistrySilent."""
        ...

    async def take(self, meter_id: str, flow: str, proof: Proof | None = None) -> None:
        """Hold a meter's flow for this node; taking it again is no error. Raises UnableToClaim."""
        ...

    async def release(self, meter_id: str, flow: str) -> None:
        """Let go of a meter's flow; one that is free is no error. Raises UnableToClaim."""
        ...


class RegistryClaims:
    """Claims at the network's registry, each answered before anything is kept here."""

    def __init__(self, client: RegistryClient, *, identity: Callable[[], signing.Identity], wall: Clock) -> None:
        self._client, self._identity, self._wall = client, identity, wall
        self._salt: bytes | None = None

    async def hash_of(self, meter_id: str) -> str:
        """What the registry knows the meter by; raises RegistrySilent."""
        if self._salt is None:
            try:
                self._salt = await self._client.salt()
            except RegistryUnavailable as failure:
                raise _silent(failure) from failure
        return meter_hash(self._salt, meter_id)

    async def take(self, meter_id: str, flow: str, proof: Proof | None = None) -> None:
        """Hold a meter's flow for this node; taking it again is no error. Raises UnableToClaim."""
        shown = {"utility_id": proof.utility_id, "nonce_digest": proof.nonce_digest} if proof else None
        await self._tell("claim", meter_id, flow, {"proof": shown} if shown else {})

    async def release(self, meter_id: str, flow: str) -> None:
        """Let go of a meter's flow; one that is free is no error. Raises UnableToClaim."""
        await self._tell("release", meter_id, flow, {})

    async def _tell(self, act: str, meter_id: str, flow: str, more: dict[str, Any]) -> None:
        document = {"act": act, "meter_hash": await self.hash_of(meter_id), "flow": flow, **more}
        body, now = orjson.dumps(document), self._wall.now()
        header = signing.sign(body, identity=self._identity(), now=now, ttl_s=CLAIM_LIFETIME_S)
        try:
            status, answer = await self._client.claim(act, body, header)
        except RegistryUnavailable as failure:
            raise _silent(failure) from failure
        if status == 200:
            return
        error = answer.get("error")
        error = error if isinstance(error, dict) else {}
        if error.get("code") == _METER_HELD:
            raise MeterTaken(
                f"Meter '{meter_id}' is registered with another node of the network; have it released there, or by the"
                " registry's operator, and register it again."
            )
        said = str(error.get("message") or f"HTTP {status}")
        raise ClaimRefused(f"The registry refuses the claim on meter '{meter_id}': {said}.")


def bare(meter_id: str) -> str:
    """A meter's id as it is hashed: without `der://` and what stands before its last part, in lower case."""
    if meter_id.lower().startswith(_SCHEME):
        meter_id = meter_id.rstrip("/").rpartition("/")[2]
    return meter_id.lower()


def meter_hash(salt: bytes, meter_id: str) -> str:
    """sha256(salt || bare id) as 64 hex digits."""
    return hashlib.sha256(salt + bare(meter_id).encode()).hexdigest()


def _silent(failure: RegistryUnavailable) -> RegistrySilent:
    return RegistrySilent(
        f"The registry gives no answer ({failure}), so whether the meter is free is unknown; nothing was"
        " kept, try again."
    )
