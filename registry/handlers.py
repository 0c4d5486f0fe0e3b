"""The registry's protocol endpoints: /subscribe, /lookup and /changes, each answered at once (see `window`).

An application is judged twice: before the challenge, so that nothing is sent to a stranger's URL for an application
that cannot succeed, and after it, under the lock that orders all changes, because the challenge takes seconds in which
an operator may have acted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from aiohttp import web

from beckn import errors, signing
from beckn.envelope import object_of
from beckn.record import Recorder
from registry import membership, roll, translate
from registry.challenger import Challenger
from registry.config import RegistrySettings
from registry.membership import Application, Conclusion, Plan, Proof, UnableToSubscribe
from registry.window import JSON, Window
from store import subscribers
from store.db import Database
from store.subscribers import Subscription

_LOG = structlog.get_logger("registry")
_PREFIXES = ("", "/subscribers")


@dataclass(frozen=True, slots=True)
class _Proven:
    """An application and how its letter was signed: by nobody, or with a key whose signature holds."""

    application: Application
    signature: signing.ParsedSignature | None
    body_digest: bytes

    def proof(self, standing: list[Subscription], now: datetime) -> Proof:
        """What the signature proves, looking at these rows; raises errors.SignatureRefused, UnableToSubscribe."""
        if self.signature is None:
            return Proof.NONE
        proof, public_key = membership.key_to_check(self.signature.key_id, self.application, standing, now=now)
        signing.verify(self.body_digest, self.signature, public_key=signing.import_public_key(public_key))
        return proof


class RegistryDesk:
    """Answers subscribers and whoever looks them up."""

    def __init__(
        self,
        *,
        settings: RegistrySettings,
        database: Database,
        challenger: Challenger,
        window: Window,
        recorder: Recorder | None,
    ) -> None:
        self._settings, self._database, self._challenger = settings, database, challenger
        self._window, self._recorder = window, recorder

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes; /subscribers/... is where beckn-onix's sample configurations look."""
        return [
            *(web.post(f"{prefix}/subscribe", self._window.serve("subscribe", self.subscribe)) for prefix in _PREFIXES),
            *(web.post(f"{prefix}/lookup", self._window.serve("lookup", self.lookup)) for prefix in _PREFIXES),
            web.get("/changes", self._window.serve("changes", self.changes)),
        ]

    # --- /subscribe ------------------------------------------------------------------------------------------------

    async def subscribe(self, request: web.Request) -> web.Response:
        """Apply for a place, or change one's own; the answer is the status and, if it is not better, why."""
        body = await self._window.body(request)
        if self._recorder is not None:
            self._recorder.record("subscribe", body, request.headers)
        now = self._window.now()
        application = translate.application_from_wire(object_of(body), domain=self._settings.domain)
        proven = _Proven(application, self._signature(request, application, now), signing.digest(body))
        async with self._database.unit_of_work() as uow:
            standing = await subscribers.of_subscriber(uow, application.subscriber_id)
        plan = membership.judge(application, standing, proof=proven.proof(standing, now), now=now)
        outcome = await self._challenger.pose(application) if plan.challenge else None
        conclusion = await self._conclude(proven, plan, outcome) if plan.changes else Conclusion((), plan.status)
        _LOG.info("subscribe", subscriber_id=application.subscriber_id, role=application.type,
                  key_id=application.key_id, status=conclusion.status, why=conclusion.why)  # fmt: skip
        return _answer(application, conclusion)

    async def _conclude(self, proven: _Proven, plan: Plan, outcome: membership.Outcome | None) -> Conclusion:
        """Judge again under the lock, and write what follows."""
        application, now = proven.application, self._window.now()
        async with self._database.unit_of_work() as uow:
            standing = await roll.standing_of(uow, application.subscriber_id)
            again = membership.judge(application, standing, proof=proven.proof(standing, now), now=now)
            if again.challenge and not plan.challenge:
                raise UnableToSubscribe("the record was changed at the same moment; apply again", field="subscriber_id")
            conclusion = membership.conclude(
                application, standing, plan=again, outcome=outcome, policy=self._settings.policy, now=now
            )
            if conclusion.save:
                await roll.make_room(uow, conclusion.save[0], pending_max=self._settings.pending_max)
                actor = f"{application.subscriber_id} ({proven.proof(standing, now).value})"
                detail = {"url": application.url, "status": conclusion.status.value, "why": conclusion.why}
                await roll.write(
                    uow, conclusion.save, actor=actor, act="subscribe", subject=application.subscriber_id,
                    detail=detail, now=now,
                )  # fmt: skip
        return conclusion

    def _signature(
        self, request: web.Request, application: Application, now: datetime
    ) -> signing.ParsedSignature | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        parsed = signing.parse_header(header)
        signing.check_dates(parsed, now=now)
        if parsed.subscriber_id != application.subscriber_id:
            raise errors.SignerIsNotSender(
                f"the application is for '{application.subscriber_id}' but was signed by '{parsed.subscriber_id}'",
                path="subscriber_id",
            )
        return parsed

    # --- /lookup and /changes --------------------------------------------------------------------------------------

    async def lookup(self, request: web.Request) -> web.Response:
        """Who matches: an array, empty when nobody does. Unsigned questions are answered, as every peer asks so."""
        body = await self._window.body(request)
        if self._recorder is not None:
            self._recorder.record("lookup", body, request.headers)
        now = self._window.now()
        filters = translate.filters_from_wire(object_of(body) if body else {})
        found = await subscribers.find(self._database, filters, now=now, limit=self._settings.lookup_records_max)
        return self._window.signed([translate.record_to_wire(s, now=now, is_rolling=True) for s in found], now)

    async def changes(self, request: web.Request) -> web.Response:
        """What changed after a seq, oldest first; `next_seq` is where to go on."""
        after = _number(request, "after", 0, 2**62)
        limit = max(1, _number(request, "limit", self._settings.changes_max, self._settings.changes_max))
        now = self._window.now()
        found, newest = await subscribers.changes(self._database, after=after, limit=limit)
        next_seq = found[-1].seq if found else min(after, newest)
        document = {
            "after": after,
            "changes": [{"seq": change.seq, "record": change.record} for change in found],
            "next_seq": next_seq,
            "limit": limit,
            "now": translate.instant_to_wire(now),
        }
        return self._window.signed(document, now)


def _answer(application: Application, conclusion: Conclusion) -> web.Response:
    document: dict[str, Any] = {
        "subscriber_id": application.subscriber_id,
        "type": application.type,
        "domain": application.domain,
        "key_id": application.key_id,
        "status": conclusion.status.value,
    }
    if conclusion.why:
        document["error"] = {"code": errors.Refusal.code, "message": conclusion.why}
    return web.Response(body=orjson.dumps(document), headers=JSON)


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise errors.Refusal(f"{name} must be a whole number, 0 or more", path=name)
    return min(int(text), most)
