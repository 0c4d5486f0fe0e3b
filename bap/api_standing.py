"""Standing orders: what a consumer wants bought every day, and what each day's run came to."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from aiohttp import web

from api import live
from api.desk import Call, Desk
from api.live import StreamQuery
from api.paging import ListOf, Page, cursor, read_cursor
from api.problems import ApiError, conflict, not_found
from bap import standing
from bap.api_calls import READERS, reading, visible_to
from bap.api_standing_models import RunOut, StandingChange, StandingIn, StandingOut, StandingQuery
from bap.standing import Due, Terms
from store import customers, standing_orders
from store.db import UnitOfWork

_TAGS = ["standing orders"]
#: Standing orders one account may have.
STANDING_EACH_MAX = 20


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about standing orders."""
    _add_writing(desk)
    _add_reading(desk)


def _add_writing(desk: Desk) -> None:
    one = "/api/standing-orders/{standing_order_id}"

    @desk.route("POST", "/api/standing-orders", role="app", body=StandingIn, answer=StandingOut, status=201, tags=_TAGS)
    async def create_standing_order(call: Call[StandingIn]) -> StandingOut:
        """Leave a standing order: this node searches, chooses and buys by it, once for every date.

        Its first run is the next that begins from now on (trading clock). 409 when the account has too many.
        """
        asked, standing_order_id = call.body, str(uuid.uuid4())
        terms = asked.terms()
        async with call.node.database.unit_of_work() as uow:
            if await customers.get(uow, asked.account_id, token_id=call.token.token_id) is None:
                raise not_found("account", asked.account_id)
            kept = await standing_orders.insert(
                uow,
                standing_order_id=standing_order_id,
                account_id=asked.account_id,
                terms=standing.to_document(terms),
                active=asked.active,
                next_run=_next(call, terms) if asked.active else None,
                most=STANDING_EACH_MAX,
                now=call.now,
            )
            if not kept:
                raise conflict(
                    f"An account has at most {STANDING_EACH_MAX} standing orders; delete one first.",
                    field="account_id",
                )
            return StandingOut.of(await _standing_order(uow, call, standing_order_id))

    @desk.route("PATCH", one, role="app", body=StandingChange, answer=StandingOut, tags=_TAGS)
    async def change_standing_order(call: Call[StandingChange]) -> StandingOut:
        """Pause, resume, or give a standing order other terms; a run under way buys no more while it is paused."""
        async with call.node.database.unit_of_work() as uow:
            kept = await _standing_order(uow, call, call.path["standing_order_id"], lock=True)
            terms = call.body.terms.terms() if call.body.terms else standing.from_document(kept["terms"])
            active = kept["active"] if call.body.active is None else call.body.active
            await standing_orders.change(
                uow,
                kept["standing_order_id"],
                terms=standing.to_document(terms),
                active=active,
                next_run=_next(call, terms) if active else None,
                now=call.now,
            )
            return StandingOut.of(await _standing_order(uow, call, kept["standing_order_id"]))

    @desk.route("DELETE", one, role="app", tags=_TAGS, status=204)
    async def end_standing_order(call: Call[None]) -> None:
        """End a standing order; what it has bought stays bought."""
        async with call.node.database.unit_of_work() as uow:
            kept = await _standing_order(uow, call, call.path["standing_order_id"], lock=True)
            await standing_orders.end(uow, kept["standing_order_id"], now=call.now)


def _add_reading(desk: Desk) -> None:
    one = "/api/standing-orders/{standing_order_id}"

    @desk.route(
        "GET", "/api/standing-orders", role=READERS, query=StandingQuery, answer=ListOf[StandingOut], tags=_TAGS
    )
    async def list_standing_orders(call: Call[None]) -> ListOf[StandingOut]:
        """List this app's standing orders."""
        after, asked = read_cursor(call.query.after, count=1), call.query
        async with reading(call) as uow:
            rows = await standing_orders.page(
                uow,
                token_id=visible_to(call),
                account_id=asked.account_id,
                after=str(after[0]) if after else None,
                limit=asked.limit,
            )
        following = cursor(rows[-1]["standing_order_id"]) if len(rows) == asked.limit else None
        return ListOf[StandingOut](items=[StandingOut.of(row) for row in rows], next=following)

    @desk.route("GET", one, role=READERS, answer=StandingOut, tags=_TAGS)
    async def get_standing_order(call: Call[None]) -> StandingOut:
        """Show a standing order and when it runs next."""
        async with reading(call) as uow:
            return StandingOut.of(await _standing_order(uow, call, call.path["standing_order_id"]))

    @desk.route("GET", f"{one}/runs", role=READERS, query=Page, answer=ListOf[RunOut], tags=_TAGS)
    async def list_runs(call: Call[None]) -> ListOf[RunOut]:
        """List what each day's run bought and why no more, newest first."""
        after = read_cursor(call.query.after, count=1)
        async with reading(call) as uow:
            kept = await _standing_order(uow, call, call.path["standing_order_id"])
            rows = await standing_orders.runs(
                uow,
                kept["standing_order_id"],
                before=_read_date(after),
                limit=call.query.limit,
            )
        following = cursor(rows[-1]["run_date"].isoformat()) if len(rows) == call.query.limit else None
        return ListOf[RunOut](items=[RunOut.of(row) for row in rows], next=following)

    @desk.route("GET", f"{one}/events", role=READERS, query=StreamQuery, media="text/event-stream", tags=_TAGS)
    async def stream_standing_order(call: Call[None]) -> web.StreamResponse:
        """Stream what a standing order's runs came to as server-sent events.

        Each event's `id` is its seq; a client that reconnects with `Last-Event-ID` misses nothing.
        """
        async with reading(call) as uow:
            kept = await _standing_order(uow, call, call.path["standing_order_id"])
        return await live.stream(call, f"standing:{kept['standing_order_id']}")


def _read_date(after: list[Any] | None) -> date | None:
    if after is None:
        return None
    try:
        return date.fromisoformat(str(after[0]))
    except ValueError:
        raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after") from None


def _next(call: Call[Any], terms: Terms) -> tuple[date, datetime]:
    due: Due = standing.next_run(terms, after=call.node.trading.now())
    return due.run_date, due.at


async def _standing_order(
    uow: UnitOfWork, call: Call[Any], standing_order_id: str, *, lock: bool = False
) -> Mapping[str, Any]:
    kept = await standing_orders.get(uow, standing_order_id, token_id=visible_to(call), lock=lock)
    if kept is None:
        raise not_found("standing order", standing_order_id)
    return kept
