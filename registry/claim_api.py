"""The operator's JSON API of the registry, meters: who holds what, and what to do when a holder cannot let go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.paging import ListOf, Page, Strict, cursor, read_cursor
from api.problems import not_found
from store import audit, claims
from store.claims import MeterClaim
from store.db import UnitOfWork

_DIGEST = r"^[0-9a-f]{64}$"


class ClaimsQuery(Page):
    """Which claims to list."""

    subscriber_id: str = Field(default="", max_length=255, description="Only what this node holds")
    meter_hash: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="Only this meter")


class ClaimOut(BaseModel):
    """One flow of one meter, and the node that holds it."""

    meter_hash: str
    flow: str
    subscriber_id: str
    claimed_at: datetime


class ReleaseIn(Strict):
    """Which claim to free, and why."""

    meter_hash: str = Field(pattern=_DIGEST, description="sha256 of the network's salt and the meter's id, hex")
    flow: Literal["EXPORT", "IMPORT"]
    reason: str = Field(min_length=1, max_length=500, description="Why; it is written into the audit")


class ReasonIn(Strict):
    """Why."""

    reason: str = Field(min_length=1, max_length=500, description="Why; it is written into the audit")


def add_routes(desk: Desk) -> None:
    """Add the calls of this module."""
    tags: Any = ["meter claims"]
    desk.route(
        "GET", "/api/meter_claims", role="operator", query=ClaimsQuery, answer=ListOf[ClaimOut], tags=tags
    )(list_claims)  # fmt: skip
    desk.route("POST", "/api/meter_claims/release", role="operator", body=ReleaseIn, answer=ClaimOut, tags=tags)(
        release_claim
    )
    desk.route(
        "POST", "/api/subscribers/{subscriber_id}/release_claims", role="operator", body=ReasonIn,
        answer=ListOf[ClaimOut], tags=tags,
    )(release_claims)  # fmt: skip


async def list_claims(call: Call[None]) -> ListOf[ClaimOut]:
    """List which node holds which meter; meters are known by their hash alone."""
    query = call.query
    found = await claims.page(
        call.node.database,
        subscriber_id=query.subscriber_id,
        meter_hash=query.meter_hash,
        after=read_cursor(query.after, count=2),
        limit=query.limit,
    )
    is_full = len(found) == query.limit
    return ListOf[ClaimOut](items=_out(found), next=cursor(*found[-1].key) if is_full else None)


async def release_claim(call: Call[ReleaseIn]) -> ClaimOut:
    """Free one flow of a meter that its holder does not let go of, so that another node can register it."""
    body = call.body
    async with call.node.database.unit_of_work() as uow:
        held = [claim for claim in await claims.of_meter(uow, body.meter_hash) if claim.flow == body.flow]
        if not held:
            raise not_found("claim", f"{body.meter_hash} {body.flow}")
        await claims.release(uow, held[0])
        await _note(call, uow, held, subject=held[0].subscriber_id, reason=body.reason)
    return _out(held)[0]


async def release_claims(call: Call[ReasonIn]) -> ListOf[ClaimOut]:
    """Free every meter one node holds, as after its keys were revoked; the list is what was freed."""
    subject = call.path["subscriber_id"]
    async with call.node.database.unit_of_work() as uow:
        freed = await claims.release_all(uow, subject)
        if freed:
            await _note(call, uow, freed, subject=subject, reason=call.body.reason)
    return ListOf[ClaimOut](items=_out(freed), next=None)


async def _note(call: Call[Any], uow: UnitOfWork, freed: Sequence[MeterClaim], *, subject: str, reason: str) -> None:
    detail = {"reason": reason, "claims": [{"meter_hash": c.meter_hash, "flow": c.flow} for c in freed]}
    await audit.add(uow, actor=call.token.actor, act="free", subject=subject, detail=detail, now=call.now)


def _out(found: Sequence[MeterClaim]) -> list[ClaimOut]:
    return [ClaimOut.model_validate(claim, from_attributes=True) for claim in found]
