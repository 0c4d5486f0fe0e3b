"""Searches: asked through the gateway or of one seller, and the offers that come back."""

from __future__ import annotations

import uuid
from datetime import datetime

import orjson
from aiohttp import web

from api import live
from api.desk import Answer, Call, Desk
from api.live import StreamQuery
from api.paging import NO_WAIT
from api.problems import ApiError, not_found
from api.series import rfc3339
from bap import letters, searching
from bap.api_calls import READERS, reading, unit_of_work, visible_to, waiting
from bap.api_models import SearchIn, SearchOut
from store import searches
from store.db import UnitOfWork


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about searches."""
    tags = ["searches"]

    @desk.route("POST", "/api/searches", role="app", body=SearchIn, answer=SearchOut, status=202, tags=tags, waits=True)
    async def create_search(call: Call[SearchIn]) -> Answer:
        """Look for energy.

        The answer carries the transaction_id and the offers so far. With `Prefer: wait=N` it comes after N seconds, or
        as soon as K sellers answered with `Prefer: wait=N, offers=K`.
        """
        transaction_id, message_id = str(uuid.uuid4()), letters.new_message_id()
        subject = f"search:{transaction_id}"
        with waiting(call, subject) as answers:
            async with unit_of_work(call) as uow:
                await _begin(uow, call, transaction_id, message_id)
            sellers: set[str] = set()

            def enough(seller_id: str | None) -> bool:
                if seller_id is not None:
                    sellers.add(seller_id)
                return seller_id is None or (call.wait.offers is not None and len(sellers) >= call.wait.offers)

            await answers.until(enough)
        if call.wait is NO_WAIT:
            return Answer(SearchOut(transaction_id=transaction_id, created_at=call.now, sellers=0, offers=[]))
        async with reading(call) as uow:
            return await _found(uow, transaction_id, call.now)

    @desk.route("GET", "/api/searches/{transaction_id}", role=READERS, answer=SearchOut, tags=tags)
    async def get_search(call: Call[None]) -> Answer:
        """Show the offers that came back so far."""
        async with reading(call) as uow:
            search = await searches.get(uow, call.path["transaction_id"], token_id=visible_to(call))
            if search is None:
                raise not_found("search", call.path["transaction_id"])
            return await _found(uow, search["transaction_id"], search["created_at"])

    @desk.route(
        "GET",
        "/api/searches/{transaction_id}/events",
        role=READERS,
        query=StreamQuery,
        media="text/event-stream",
        tags=tags,
    )
    async def stream_search(call: Call[None]) -> web.StreamResponse:
        """Stream what happens to a search as server-sent events.

        Each event's `id` is its seq; a client that reconnects with `Last-Event-ID` misses nothing.
        """
        transaction_id = call.path["transaction_id"]
        async with reading(call) as uow:
            if await searches.get(uow, transaction_id, token_id=visible_to(call)) is None:
                raise not_found("search", transaction_id)
        return await live.stream(call, f"search:{transaction_id}")


async def _begin(uow: UnitOfWork, call: Call[SearchIn], transaction_id: str, message_id: str) -> None:
    """Keep the search and put its letter into the outbox."""
    asked = call.body
    try:
        kept = await searching.begin(
            uow,
            call.node,
            intent=asked.intent(),
            asked=asked.model_dump(mode="json", exclude_none=True),
            token_id=call.token.token_id,
            account_id=asked.account_id or "",
            seller_id=asked.seller_id,
            transaction_id=transaction_id,
            message_id=message_id,
            now=call.now,
        )
    except searching.NoGateway as refusal:
        raise ApiError(
            503,
            "The registry knows no gateway just now; name a 'seller_id', or try again in a moment.",
            field="seller_id",
            headers={"Retry-After": "5"},
        ) from refusal
    if not kept:
        raise not_found("account", str(asked.account_id))


async def _found(uow: UnitOfWork, transaction_id: str, created_at: datetime) -> Answer:
    """A SearchOut, put together from the offers as they are stored."""
    rows = await searches.offers(uow, transaction_id)
    shown = {
        "transaction_id": transaction_id,
        "created_at": rfc3339(created_at),
        "sellers": len({row["seller_id"] for row in rows}),
        "offers": [row["document"] for row in rows],
    }
    return Answer(orjson.dumps(shown))
