"""Who may hold a meter: the registry's rules of claims, without I/O.

A claim says that one node sells what a meter exports (flow EXPORT), or buys what it imports (IMPORT). It is what keeps
one Wh from being sold twice through two nodes. The rules, each with a test:

1. Only a subscriber claims, signing with a valid key, and only what its role trades in: a BPP claims EXPORT, a BAP
   IMPORT.
2. One node holds one flow of a meter at a time. Whoever asks while another holds it is told that it is held, never by
   whom. The holder may ask again as often as it likes.
3. The holder lets go, or the registry's operator frees the claim and says why; nobody else can.
4. A code that proved a meter's ownership proves it for one claim; shown again for another it is refused.
5. A letter says itself whether it claims or releases, because a signature covers the body and not the path.

The meter is known by sha256(salt || id) as hex, where the salt is public and of this network alone: it keeps the roll
of meters from being read off, not a meter whose number somebody knows already from being looked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beckn import errors
from registry.membership import is_valid, valid_keys
from store.claims import MeterClaim
from store.subscribers import Subscription

#: Which role trades in which flow.
ROLE_OF_FLOW = {"EXPORT": "BPP", "IMPORT": "BAP"}
CLAIM, RELEASE = "claim", "release"

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class MeterHeld(errors.Refusal):
    """This meter is registered with another node of the network; it must be released there first."""

    code = "30025"
    http_status = 409
    path = "meter_hash"


class ProofUsed(errors.Refusal):
    """This code has proven a meter's ownership before; ask the utility for a new one."""

    code = "30026"
    http_status = 409
    path = "proof"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a node asks of a meter."""

    meter_hash: str
    flow: str
    #: Digest of the ownership code's nonce and the utility that issued it; empty without a code.
    nonce_digest: str = ""
    utility_id: str = ""


def asked_from(document: dict[str, Any], *, act: str) -> Asked:
    """Read the body of a claim or a release; raises errors.Refusal that names the field (rule 5)."""
    if document.get("act") != act:
        raise errors.Refusal(
            f'act must be "{act}": the letter says what it is for, as its signature does not', path="act"
        )
    flow = document.get("flow")
    if flow not in ROLE_OF_FLOW:
        raise errors.Refusal(f"flow must be one of {', '.join(ROLE_OF_FLOW)}", path="flow")
    meter_hash = digest_of(document.get("meter_hash"), "meter_hash")
    proof = document.get("proof")
    if proof is None:
        return Asked(meter_hash, flow)
    if not isinstance(proof, dict):
        raise errors.Refusal("proof must be an object with utility_id and nonce_digest, or be left out", path="proof")
    utility_id = proof.get("utility_id")
    if not isinstance(utility_id, str) or not 0 < len(utility_id) <= 255:
        raise errors.Refusal("proof.utility_id must name the utility that issued the code", path="proof.utility_id")
    return Asked(meter_hash, flow, digest_of(proof.get("nonce_digest"), "proof.nonce_digest"), utility_id)


def digest_of(value: Any, path: str) -> str:
    """A sha256 as 64 hex digits in lower case; raises errors.Refusal."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise errors.Refusal(f"{path} must be a sha256 as 64 hex digits in lower case", path=path)
    return value


def signing_key(key_id: str, subscriber_id: str, standing: Sequence[Subscription], *, now: datetime) -> str:
    """The public key that this subscriber's letters may be signed with now; raises errors.SignatureRefused (rule 1)."""
    for row in standing:
        if row.key_id == key_id and is_valid(row, now):
            return row.signing_public_key
    raise errors.UnknownSigner(f'"{subscriber_id}" has no valid key "{key_id}"; subscribe before claiming a meter')


def check_role(asked: Asked, standing: Sequence[Subscription], *, now: datetime) -> None:
    """Refuse a flow that the subscriber does not trade in; raises errors.WrongRole (rule 1)."""
    needed = ROLE_OF_FLOW[asked.flow]
    if all(row.type != needed for row in valid_keys(standing, now)):
        raise errors.WrongRole(f"{asked.flow} is claimed by a {needed}; this subscriber is none", path="flow")


def check_holder(holder: MeterClaim, subscriber_id: str) -> None:
    """Refuse what another node holds; raises MeterHeld (rule 2)."""
    if holder.subscriber_id != subscriber_id:
        raise MeterHeld


def to_release(held: Sequence[MeterClaim], asked: Asked, subscriber_id: str) -> MeterClaim | None:
    """The holder's own claim; None when nobody holds the meter. Raises MeterHeld when another does (rule 3)."""
    for claim in held:
        if claim.flow == asked.flow:
            check_holder(claim, subscriber_id)
            return claim
    return None
