"""How both trading nodes register a meter: ownership proven, the claim taken; and what they answer when it fails."""

from __future__ import annotations

from typing import Any

import structlog

from api.desk import Call
from api.problems import ApiError
from beckn import meter_codes
from beckn.claims import Claims, RegistrySilent, UnableToClaim
from beckn.meter_codes import CodeRefused

log = structlog.get_logger("api.meter_claims")

#: Roles whose word on a meter counts where no code is asked for: the operator, and apps it has let in.
_VOUCHING = ("operator", "app")


async def register(call: Call[Any], meter_id: str, flow: str, *, code: str) -> None:
    """Claim a meter for this node before it is kept, its ownership proven.

    Raises ApiError 422 for a missing or bad code, 409 when another node holds the meter, 503 when the registry is
    silent.
    """
    node, settings = call.node, call.node.settings
    if not code and (settings.meter_proof == "code" or call.token.role not in _VOUCHING):
        raise ApiError(
            422,
            f"Show that meter '{meter_id}' is yours: send the code that its utility gives its owner.",
            field="code",
        )
    try:
        proof = None
        if code:
            proof = await meter_codes.prove(
                code,
                meter_id,
                claims=node.claims,
                directory=node.directory,
                trusted=settings.trusted_utilities,
                now=call.now,
            )
        await node.claims.take(meter_id, flow, proof)
    except UnableToClaim as refusal:
        raise problem(refusal, field="meter_id") from refusal


async def release(claims: Claims, meter_id: str, flow: str, *, field: str = "meter_id") -> None:
    """Let go of a meter; raises ApiError 409 or 503."""
    try:
        await claims.release(meter_id, flow)
    except UnableToClaim as refusal:
        raise problem(refusal, field=field) from refusal


async def let_go(claims: Claims, meter_id: str, flow: str) -> None:
    """Let go of a meter that is not in use here any more; when that fails the claim stays ours, and the log says so."""
    try:
        await claims.release(meter_id, flow)
    except UnableToClaim as refusal:
        log.warning("meter_not_let_go", meter_id=meter_id, flow=flow, sentence=refusal.sentence)


def problem(refusal: UnableToClaim, *, field: str) -> ApiError:
    """The refusal as a JSON API gives it."""
    if isinstance(refusal, CodeRefused):
        return ApiError(422, refusal.sentence, field="code")
    if isinstance(refusal, RegistrySilent):
        return ApiError(503, refusal.sentence, field=field, headers={"Retry-After": "2"})
    return ApiError(409, refusal.sentence, field=field)
