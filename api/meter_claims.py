"""What both trading nodes answer when a meter cannot be claimed."""

from __future__ import annotations

from api.problems import ApiError
from beckn.claims import Claims, Proof, RegistrySilent, UnableToClaim


async def take(
    claims: Claims, meter_id: str, flow: str, proof: Proof | None = None, *, field: str = "meter_id"
) -> None:
    """Claim a meter for this node before it is kept; raises ApiError 409 (held elsewhere) or 503 (registry silent)."""
    try:
        await claims.take(meter_id, flow, proof)
    except UnableToClaim as refusal:
        raise problem(refusal, field=field) from refusal


async def release(claims: Claims, meter_id: str, flow: str, *, field: str = "meter_id") -> None:
    """Let go of a meter; raises ApiError as `take` does."""
    try:
        await claims.release(meter_id, flow)
    except UnableToClaim as refusal:
        raise problem(refusal, field=field) from refusal


def problem(refusal: UnableToClaim, *, field: str) -> ApiError:
    """The refusal as a JSON API gives it."""
    if isinstance(refusal, RegistrySilent):
        return ApiError(503, refusal.sentence, field=field, headers={"Retry-After": "2"})
    return ApiError(409, refusal.sentence, field=field)
