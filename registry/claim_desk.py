"""The registry's questions about meters: take one, let go of it, ask whether it is free. Answered at once, signed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from aiohttp import web

from beckn import errors, signing
from beckn.envelope import object_of
from registry import claims
from registry.claims import Asked
from registry.window import Window
from store import audit, subscribers
from store import claims as store
from store.claims import MeterClaim
from store.db import Database, UnitOfWork

_LOG = structlog.get_logger("registry")
HELD, FREE = "HELD", "FREE"


class ClaimDesk:
    """Answers nodes that register meters."""

    def __init__(self, *, database: Database, window: Window) -> None:
        self._database, self._window = database, window

    def routes(self) -> list[web.RouteDef]:
        """The routes; /meter_claims/salt comes before the one that any hash matches."""
        serve = self._window.serve
        return [
            web.get("/meter_claims/salt", serve("meter_salt", self.salt)),
            web.post("/meter_claims", serve("meter_claim", self.claim)),
            web.post("/meter_claims/release", serve("meter_release", self.release)),
            web.get("/meter_claims/{meter_hash}", serve("meter_lookup", self.look)),
        ]

    async def salt(self, request: web.Request) -> web.Response:
        """The network's salt, which every node hashes meters with; it never changes."""
        return self._window.signed({"salt": await store.salt(self._database)}, self._window.now())

    async def claim(self, request: web.Request) -> web.Response:
        """Hold a meter's flow; 409 when another node holds it, or the code has been used."""
        now, body = self._window.now(), await self._window.body(request)
        async with self._database.unit_of_work() as uow:
            subscriber_id, asked = await self._asked(uow, request, body, act=claims.CLAIM, now=now)
            claim = MeterClaim(asked.meter_hash, asked.flow, subscriber_id, now)
            holder = await store.take(uow, claim)
            claims.check_holder(holder, subscriber_id)
            if asked.nonce_digest and not await store.use_proof(
                uow, claim, nonce_digest=asked.nonce_digest, utility_id=asked.utility_id
            ):
                raise claims.ProofUsed
            if holder == claim:
                await self._note(uow, "claim", claim, now=now)
        return self._window.signed(_standing(claim, HELD), now)

    async def release(self, request: web.Request) -> web.Response:
        """Let go of a meter's flow; a meter that nobody holds is let go of already."""
        now, body = self._window.now(), await self._window.body(request)
        async with self._database.unit_of_work() as uow:
            subscriber_id, asked = await self._asked(uow, request, body, act=claims.RELEASE, now=now)
            claim = claims.to_release(await store.of_meter(uow, asked.meter_hash), asked, subscriber_id)
            if claim is not None:
                await store.release(uow, claim)
                await self._note(uow, "release", claim, now=now)
        return self._window.signed({"meter_hash": asked.meter_hash, "flow": asked.flow, "status": FREE}, now)

    async def look(self, request: web.Request) -> web.Response:
        """Is a meter held or free, flow by flow; never by whom."""
        meter_hash = claims.digest_of(request.match_info["meter_hash"], "meter_hash")
        flows = claims.ROLE_OF_FLOW
        found = await store.page(self._database, subscriber_id="", meter_hash=meter_hash, after=None, limit=len(flows))
        held = {claim.flow for claim in found}
        standing = {flow: HELD if flow in held else FREE for flow in flows}
        return self._window.signed({"meter_hash": meter_hash, "flows": standing}, self._window.now())

    async def _asked(
        self, uow: UnitOfWork, request: web.Request, body: bytes, *, act: str, now: datetime
    ) -> tuple[str, Asked]:
        """Who asks what, the signature verified and the role fit; raises errors.Refusal."""
        header = request.headers.get("Authorization")
        if header is None:
            raise errors.MissingSignature("a claim on a meter is signed by the node that makes it")
        parsed = signing.parse_header(header)
        signing.check_dates(parsed, now=now)
        standing = await subscribers.of_subscriber(uow, parsed.subscriber_id)
        key = claims.signing_key(parsed.key_id, parsed.subscriber_id, standing, now=now)
        signing.verify(signing.digest(body), parsed, public_key=signing.import_public_key(key))
        asked = claims.asked_from(object_of(body), act=act)
        claims.check_role(asked, standing, now=now)
        return parsed.subscriber_id, asked

    async def _note(self, uow: UnitOfWork, act: str, claim: MeterClaim, *, now: datetime) -> None:
        detail = {"meter_hash": claim.meter_hash, "flow": claim.flow}
        await audit.add(uow, actor=claim.subscriber_id, act=act, subject=claim.subscriber_id, detail=detail, now=now)
        _LOG.info("meter_" + act, subscriber_id=claim.subscriber_id, **detail)


def _standing(claim: MeterClaim, status: str) -> dict[str, Any]:
    return {"meter_hash": claim.meter_hash, "flow": claim.flow, "status": status}
