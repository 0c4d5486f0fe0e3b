"""The registry's protocol endpoints: /subscribe, /lookup and /changes, each answered at once.

An application is judged twice: before the challenge, so that nothing is sent to a stranger's URL for an application
that cannot succeed, and after it, under the lock that orders all changes, because the challenge takes seconds in which
an operator may have acted.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import Counter, Histogram

from beckn import errors, signing
from beckn.clock import Clock
from beckn.metrics import Metrics
from beckn.record import Recorder
from registry import membership, roll, translate
from registry.challenger import Challenger
from registry.config import RegistrySettings
from registry.membership import Application, Conclusion, Plan, Proof, UnableToSubscribe
from store import subscribers
from store.db import Database
from store.subscribers import Subscription

#: How long a signed answer may be believed, seconds: an old page of the feed must not be played again for long.
ANSWER_LIFETIME_S = 60

_LOG = structlog.get_logger("registry")
_JSON = {"Content-Type": "application/json"}
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
        wall: Clock,
        metrics: Metrics,
        recorder: Recorder | None,
    ) -> None:
        self._settings, self._database, self._challenger, self._wall = settings, database, challenger, wall
        self._identity, self._recorder = settings.identity, recorder
        self._answered = Counter(
            "powershare_registry_answers_total", "Answers of the registry, by question and HTTP status",
            ["question", "status"], registry=metrics.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "powershare_registry_seconds", "From a question's arrival to its answer", ["question"],
            registry=metrics.registry,
        )  # fmt: skip

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes; /subscribers/... is where beckn-onix's sample configurations look."""
        return [
            *(web.post(f"{prefix}/subscribe", self._serve("subscribe", self.subscribe)) for prefix in _PREFIXES),
            *(web.post(f"{prefix}/lookup", self._serve("lookup", self.lookup)) for prefix in _PREFIXES),
            web.get("/changes", self._serve("changes", self.changes)),
        ]

    # --- /subscribe ------------------------------------------------------------------------------------------------

    async def subscribe(self, request: web.Request) -> web.Response:
        """Apply for a place, or change one's own; the answer is the status and, if it is not better, why."""
        body = await self._body(request)
        if self._recorder is not None:
            self._recorder.record("subscribe", body, request.headers)
        now = self._now()
        application = translate.application_from_wire(_object(body), domain=self._settings.domain)
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
        application, now = proven.application, self._now()
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
        body = await self._body(request)
        if self._recorder is not None:
            self._recorder.record("lookup", body, request.headers)
        now = self._now()
        filters = translate.filters_from_wire(_object(body) if body else {})
        found = await subscribers.find(self._database, filters, now=now, limit=self._settings.lookup_records_max)
        return self._signed([translate.record_to_wire(s, now=now, is_rolling=True) for s in found], now)

    async def changes(self, request: web.Request) -> web.Response:
        """What changed after a seq, oldest first; `next_seq` is where to go on."""
        after = _number(request, "after", 0, 2**62)
        limit = max(1, _number(request, "limit", self._settings.changes_max, self._settings.changes_max))
        now = self._now()
        found, newest = await subscribers.changes(self._database, after=after, limit=limit)
        next_seq = found[-1].seq if found else min(after, newest)
        document = {
            "after": after,
            "changes": [{"seq": change.seq, "record": change.record} for change in found],
            "next_seq": next_seq,
            "limit": limit,
            "now": translate.instant_to_wire(now),
        }
        return self._signed(document, now)

    # --- What all share --------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        """The present, in the milliseconds that peers are told."""
        now = self._wall.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def _body(self, request: web.Request) -> bytes:
        limit = self._settings.registry_body_bytes_max
        content = bytearray()
        if (request.content_length or 0) <= limit:
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > limit:
                    break
        if max(len(content), request.content_length or 0) > limit:
            raise errors.BodyTooLarge(f"the body may have at most {limit} bytes")
        return bytes(content)

    def _signed(self, document: Any, now: datetime) -> web.Response:
        body = orjson.dumps(document)
        signature = signing.sign(body, identity=self._identity, now=now, ttl_s=ANSWER_LIFETIME_S)
        return web.Response(body=body, headers={**_JSON, "Signature": signature})

    def _serve(
        self, question: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        seconds = self._seconds.labels(question)

        async def serve(request: web.Request) -> web.Response:
            started = time.perf_counter()
            try:
                response = await handler(request)
            except UnableToSubscribe as unable:
                response = self._refused(_refusal(unable))
            except errors.Refusal as refusal:
                response = self._refused(refusal)
            except Exception:
                # A bug, or the database is away: said once here, and to the asker by its reference.
                reference = secrets.token_hex(6)
                _LOG.exception("question_failed", question=question, reference=reference)
                sentence = f"something failed on our side; try again, or quote reference {reference}"
                response = self._refused(errors.UnableToStore(sentence))
            seconds.observe(time.perf_counter() - started)
            self._answered.labels(question, response.status).inc()
            return response

        return serve

    def _refused(self, refusal: errors.Refusal) -> web.Response:
        headers = {**_JSON, **refusal.headers(self._identity.subscriber_id)}
        return web.Response(status=refusal.http_status, body=refusal.nack_body(), headers=headers)


def _refusal(unable: UnableToSubscribe) -> errors.Refusal:
    kind = errors.SignatureRefused if unable.needs_signature else errors.Refusal
    return kind(unable.sentence, path=unable.field)


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
    return web.Response(body=orjson.dumps(document), headers=_JSON)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidJson from error
    if not isinstance(document, dict):
        raise errors.InvalidJson
    return document


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise errors.Refusal(f"{name} must be a whole number, 0 or more", path=name)
    return min(int(text), most)
