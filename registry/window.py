"""What every protocol question to the registry shares: reading the body, answering signed, refusing with a sentence."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import Counter, Histogram

from beckn import errors, signing
from beckn.clock import Clock
from beckn.metrics import Metrics
from registry.config import RegistrySettings
from registry.membership import UnableToSubscribe

#: How long a signed answer may be believed, seconds: an old page of the feed must not be played again for long.
ANSWER_LIFETIME_S = 60

JSON = {"Content-Type": "application/json"}

_LOG = structlog.get_logger("registry")


class Window:
    """Where questions arrive and answers leave."""

    def __init__(self, *, settings: RegistrySettings, wall: Clock, metrics: Metrics) -> None:
        self._settings, self._wall, self._identity = settings, wall, settings.identity
        self._answered = Counter(
            "powershare_registry_answers_total", "Answers of the registry, by question and HTTP status",
            ["question", "status"], registry=metrics.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "powershare_registry_seconds", "From a question's arrival to its answer", ["question"],
            registry=metrics.registry,
        )  # fmt: skip

    def now(self) -> datetime:
        """The present, in the milliseconds that peers are told."""
        now = self._wall.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def body(self, request: web.Request) -> bytes:
        """The question's bytes, read no further than the limit; raises errors.BodyTooLarge."""
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

    def signed(self, document: Any, now: datetime) -> web.Response:
        """An answer that whoever has REGISTRY_PUBLIC_KEY can believe."""
        body = orjson.dumps(document)
        signature = signing.sign(body, identity=self._identity, now=now, ttl_s=ANSWER_LIFETIME_S)
        return web.Response(body=body, headers={**JSON, "Signature": signature})

    def serve(
        self, question: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler with its refusals answered, counted and timed."""
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
        headers = {**JSON, **refusal.headers(self._identity.subscriber_id)}
        return web.Response(status=refusal.http_status, body=refusal.nack_body(), headers=headers)


def _refusal(unable: UnableToSubscribe) -> errors.Refusal:
    kind = errors.SignatureRefused if unable.needs_signature else errors.Refusal
    return kind(unable.sentence, path=unable.field)
