"""Webhooks: an app's events posted to a URL of its choice, signed, until they arrive or a day has passed.

Each delivery is a row written with its event. The courier takes due rows, one per webhook at a time, so that a receiver
that hangs delays nobody else's mail. What is posted: `{"seq", "kind", "subject", "at", "data"}` with

    X-PowerShare-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>" under the webhook's secret>

A receiver checks the MAC over the bytes it got, refuses an old `t`, and uses `seq` to drop repeats. Any 2xx is success,
redirects are not followed, answers are not read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import orjson
import structlog
from pydantic import BaseModel, Field

from api import urls
from api.paging import ListOf, Page, Strict, cursor, read_cursor
from api.problems import conflict, not_found
from store import events

if TYPE_CHECKING:
    from api.desk import Call, Desk
    from beckn.clock import Clock
    from beckn.nudges import Nudges

log = structlog.get_logger("api.webhooks")

SIGNATURE_HEADER = "X-PowerShare-Signature"
#: Nudged after a commit that queued deliveries.
CHANNEL = "webhooks"

#: Webhooks one app may have.
WEBHOOKS_EACH_MAX = 20
#: How long a delivery is tried after its event.
TRY_FOR = timedelta(hours=24)
#: First pause after a failure, and the longest; doubling between.
BACKOFF_S_MIN, BACKOFF_S_MAX = 5.0, 3600.0
#: How long connecting, and the whole exchange with a receiver, may take, seconds.
CONNECT_S_MAX, TOTAL_S_MAX = 5.0, 10.0
#: A claim on a delivery lapses after this: longer than any attempt takes.
CLAIM_FOR = timedelta(seconds=30)
#: Deliveries under way at once.
PARALLEL_MAX = 16
#: How often due deliveries are looked for without a nudge, seconds.
POLL_S = 2.0


def sign(body: bytes, *, secret: str, at: datetime) -> str:
    """The value of the signature header for a body sent at an instant."""
    stamp = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
    return f"t={stamp},v1={mac.hexdigest()}"


class Courier:
    """Posts due deliveries, for as long as the node runs."""

    def __init__(self, database: Any, *, nudges: Nudges, wall: Clock, allow_private: bool) -> None:
        self._database, self._nudges, self._wall, self._allow_private = database, nudges, wall, allow_private
        self._under_way: dict[str, asyncio.Task[None]] = {}  # by webhook_id

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs; then let what is under way finish."""
        connector = aiohttp.TCPConnector(
            resolver=urls.GuardedResolver(allow_private=self._allow_private), use_dns_cache=False, limit=PARALLEL_MAX
        )
        timeout = aiohttp.ClientTimeout(total=TOTAL_S_MAX, connect=CONNECT_S_MAX)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            loop = asyncio.create_task(self._deliver_forever(session))
            try:
                yield
            finally:
                loop.cancel()
                with suppress(asyncio.CancelledError):
                    await loop
                if self._under_way:
                    await asyncio.wait(self._under_way.values(), timeout=TOTAL_S_MAX)

    async def _deliver_forever(self, session: aiohttp.ClientSession) -> None:
        with self._nudges.listen(CHANNEL) as nudged:
            while True:
                taken = await self._take()
                for row in taken:
                    self._start(session, row)
                if taken and len(self._under_way) < PARALLEL_MAX:
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await nudged.get()

    def _start(self, session: aiohttp.ClientSession, row: Mapping[str, Any]) -> None:
        webhook_id = row["webhook_id"]
        task = asyncio.create_task(self._deliver(session, row))
        self._under_way[webhook_id] = task

        def done(_: asyncio.Task[None]) -> None:
            self._under_way.pop(webhook_id, None)
            self._nudges.nudge(CHANNEL)  # its next delivery may be due

        task.add_done_callback(done)

    async def _take(self) -> list[Mapping[str, Any]]:
        free = PARALLEL_MAX - len(self._under_way)
        if free <= 0:
            return []
        now = self._wall.now()
        try:
            async with self._database.unit_of_work() as uow:
                return await events.claim_deliveries(
                    uow, now=now, until=now + CLAIM_FOR, busy=list(self._under_way), limit=free
                )
        except Exception:
            # The database may be away for a while; the deliveries are safe there.
            log.exception("webhooks_not_read")
            return []

    async def _deliver(self, session: aiohttp.ClientSession, row: Mapping[str, Any]) -> None:
        error = await self._post(session, row)
        now = self._wall.now()
        state, next_at = "SENT", now
        if error is not None:
            next_at = now + timedelta(seconds=_pause_s(row["attempts"]))
            state = "DEAD" if next_at > row["at"] + TRY_FOR else "QUEUED"
            log.info(
                "webhook_failed", webhook_id=row["webhook_id"], seq=row["seq"], attempt=row["attempts"], state=state,
                error=error,
            )  # fmt: skip
        try:
            async with self._database.unit_of_work() as uow:
                await events.finish_delivery(
                    uow, row["delivery_id"], state=state, error=error, next_at=next_at, now=now
                )
        except Exception:
            # Not lost: the claim lapses and the event is posted again, under the same seq.
            log.exception("delivery_not_noted", webhook_id=row["webhook_id"], seq=row["seq"])

    async def _post(self, session: aiohttp.ClientSession, row: Mapping[str, Any]) -> str | None:
        """Why the attempt failed; None when the receiver took it."""
        if urls.literal_is_refused(row["url"], allow_private=self._allow_private):
            return "the URL is not on the public internet"
        told = {name: row[name] for name in ("seq", "kind", "subject", "at", "data")}
        body = orjson.dumps(told, option=orjson.OPT_UTC_Z)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PowerShare-Webhooks/1",
            "X-PowerShare-Event": row["kind"],
            SIGNATURE_HEADER: sign(body, secret=row["secret"], at=self._wall.now()),
        }
        try:
            async with session.post(row["url"], data=body, headers=headers, allow_redirects=False) as answer:
                return None if 200 <= answer.status < 300 else f"the receiver answered {answer.status}"
        except TimeoutError:
            return f"no answer within {TOTAL_S_MAX:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:300]


def _pause_s(attempts: int) -> float:
    """Seconds until the next attempt: doubling, with jitter, so that a receiver that comes back is not stormed."""
    pause: float = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2 ** min(attempts - 1, 20))
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing


class WebhookIn(Strict):
    """A webhook to be made."""

    url: str = Field(min_length=1, max_length=urls.URL_CHARACTERS_MAX)
    kinds: tuple[str, ...] = Field(
        default=(), max_length=50, description="Event kinds to post, such as order.active; empty: all"
    )


class WebhookOut(BaseModel):
    """A webhook as it is listed; `dead` counts deliveries that were given up."""

    webhook_id: str
    url: str
    kinds: list[str]
    created_at: datetime
    dead: int = 0


class NewWebhook(WebhookOut):
    """A webhook just made; `secret`, the key of its signatures, is shown this once."""

    secret: str


class DeliveryQuery(Page):
    """Query of a webhook's deliveries."""

    state: Literal["QUEUED", "SENT", "DEAD"] | None = None


class Delivery(BaseModel):
    """One event on its way to one webhook."""

    delivery_id: int
    event_seq: int
    kind: str
    subject: str
    state: str
    attempts: int
    next_at: datetime
    last_error: str | None
    finished_at: datetime | None


class Requeued(BaseModel):
    """How many dead deliveries will be tried again."""

    requeued: int


_TAGS = ["webhooks"]


def add_routes(desk: Desk) -> None:
    """Give a desk the webhook calls of apps."""
    _add_webhooks(desk)
    _add_deliveries(desk)


def _add_webhooks(desk: Desk) -> None:
    @desk.route("POST", "/api/webhooks", role="app", body=WebhookIn, answer=NewWebhook, status=201, tags=_TAGS)
    async def create_webhook(call: Call[WebhookIn]) -> NewWebhook:
        """Have this app's events posted to a URL.

        Each post carries `X-PowerShare-Signature: t=<unix>,v1=<hex>`, the HMAC-SHA256 of `<t>.<body>` under the secret
        that this answer shows once. Failed posts are retried for 24 hours.
        """
        await urls.check(call.body.url, allow_private=call.node.settings.allow_private_urls)
        webhook_id, secret = str(uuid.uuid4()), secrets.token_urlsafe(32)
        async with call.node.database.unit_of_work() as uow:
            kept = await events.add_webhook(
                uow,
                webhook_id=webhook_id,
                token_id=call.token.token_id,
                url=call.body.url,
                secret=secret,
                kinds=call.body.kinds,
                most=WEBHOOKS_EACH_MAX,
                now=call.now,
            )
        if not kept:
            raise conflict(f"This app has {WEBHOOKS_EACH_MAX} webhooks already; delete one first.", field="url")
        kinds = list(call.body.kinds)
        return NewWebhook(webhook_id=webhook_id, url=call.body.url, kinds=kinds, created_at=call.now, secret=secret)

    @desk.route("GET", "/api/webhooks", role="app", answer=ListOf[WebhookOut], tags=_TAGS)
    async def list_webhooks(call: Call[None]) -> ListOf[WebhookOut]:
        """List this app's webhooks."""
        async with call.node.database.unit_of_work() as uow:
            rows = await events.webhooks(uow, call.token.token_id)
        return ListOf[WebhookOut](items=[WebhookOut.model_validate(dict(row)) for row in rows], next=None)

    @desk.route("DELETE", "/api/webhooks/{webhook_id}", role="app", status=204, tags=_TAGS)
    async def delete_webhook(call: Call[None]) -> None:
        """Delete a webhook; what still waits for it is given up."""
        webhook_id = call.path["webhook_id"]
        async with call.node.database.unit_of_work() as uow:
            if not await events.delete_webhook(uow, webhook_id, token_id=call.token.token_id, now=call.now):
                raise not_found("webhook", webhook_id)


def _add_deliveries(desk: Desk) -> None:
    @desk.route(
        "GET",
        "/api/webhooks/{webhook_id}/deliveries",
        role="app",
        query=DeliveryQuery,
        answer=ListOf[Delivery],
        tags=_TAGS,
    )
    async def list_deliveries(call: Call[None]) -> ListOf[Delivery]:
        """List a webhook's deliveries, newest first; `state=DEAD` lists those that were given up."""
        after = read_cursor(call.query.after, count=1)
        async with call.node.database.unit_of_work() as uow:
            rows = await events.deliveries(
                uow,
                call.path["webhook_id"],
                token_id=call.token.token_id,
                state=call.query.state,
                after=int(after[0]) if after else None,
                limit=call.query.limit,
            )
        full = len(rows) == call.query.limit
        return ListOf[Delivery](
            items=[Delivery.model_validate(dict(row)) for row in rows],
            next=cursor(rows[-1]["delivery_id"]) if full else None,
        )

    @desk.route("POST", "/api/webhooks/{webhook_id}/resend", role="app", answer=Requeued, status=202, tags=_TAGS)
    async def resend_dead(call: Call[None]) -> Requeued:
        """Try a webhook's dead deliveries again."""
        webhook_id = call.path["webhook_id"]
        async with call.node.database.unit_of_work() as uow:
            count = await events.requeue_dead(uow, webhook_id, token_id=call.token.token_id, now=call.now)
            uow.after_commit(lambda: call.node.nudges.nudge(CHANNEL))
        if count is None:
            raise not_found("webhook", webhook_id)
        return Requeued(requeued=count)
