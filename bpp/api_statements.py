"""Statements of providers, signed; and the settled orders that an operator compares with a buyer's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import Field

from api.desk import Answer, Call, Desk
from api.paging import Strict, read_cursor
from api.problems import ApiError, not_found
from api.statements import SettledQuery, period_asked, settled_page
from books import issuing
from books.issuing import Form
from books.statements import Holder, StatementTooLong
from bpp.scope import OPERATOR, PROSUMER, find_provider
from store import orders
from store.db import UnitOfWork
from trade.order import Side

_TAGS = ["statements"]


class StatementQuery(Strict):
    """How a statement is wanted: its form, and the zone of its days; without one, the node's own."""

    format: Form = Form.JSON
    zone: str | None = Field(default=None, max_length=64, description="IANA name such as Europe/Berlin")


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about statements."""
    _add_statements(desk)
    _add_settled(desk)


def _add_statements(desk: Desk) -> None:
    @desk.route(
        "GET", "/api/providers/{provider_id}/statements/{period}", role=PROSUMER, query=StatementQuery, tags=_TAGS
    )
    async def get_statement(call: Call[None]) -> web.Response:
        """State what a provider earned and was paid on a day (2017-05-03) or in a month (2017-05).

        As JSON, CSV or PDF; the header `Signature` signs exactly these bytes, and `format=pdf.sig` is that signature to
        keep beside the file. 422 for a period that holds more than one statement can.
        """
        period = period_asked(call, call.path["period"], call.query.zone)
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            holder = await _holder(uow, call, call.path["provider_id"])
            try:
                document = await issuing.of_holder(
                    uow, side=Side.SELLER, holder=holder, period=period, node_id=call.node.settings.subscriber_id
                )
            except StatementTooLong as refusal:
                raise ApiError(422, str(refusal), field="period") from refusal
        return await _signed(call, document, f"statement-{period.name}")

    @desk.route("GET", "/api/orders/{order_id}/statement", role=PROSUMER, query=StatementQuery, tags=_TAGS)
    async def get_order_statement(call: Call[None]) -> web.Response:
        """State one order: its slots, every version of its settlement, and what the provider got for it."""
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            order = await orders.get(uow, call.path["order_id"])
            if order is None or order.side is not Side.SELLER:
                raise not_found("order", call.path["order_id"])
            holder = await _holder(uow, call, order.provider_id)
            document = await issuing.of_order(uow, order, holder=holder, node_id=call.node.settings.subscriber_id)
        return await _signed(call, document, f"order-{order.order_id}")


def _add_settled(desk: Desk) -> None:
    @desk.route("GET", "/api/settled-orders", role=OPERATOR, query=SettledQuery, tags=_TAGS)
    async def list_settled(call: Call[None]) -> Answer:
        """List settled orders with one buyer's node, line by line, for `powershare reconcile`; by wire id.

        `period` keeps those whose delivery ended in a civil day or month.
        """
        asked, after = call.query, read_cursor(call.query.after, count=1)
        period = period_asked(call, asked.period, asked.zone) if asked.period else None
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            found = await issuing.settled_with(
                uow,
                asked.counterparty_id,
                side=Side.SELLER,
                period=period,
                after=str(after[0]) if after else "",
                limit=asked.limit,
            )
        return settled_page(found, asked.limit)


async def _holder(uow: UnitOfWork, call: Call[Any], provider_id: str) -> Holder:
    provider = await find_provider(call, uow, provider_id)
    return Holder("provider", provider.provider_id, provider.name)


async def _signed(call: Call[Any], document: Mapping[str, Any], name: str) -> web.Response:
    """The document in the form that was asked for, with its signature; or the signature alone."""
    file = await asyncio.to_thread(issuing.file_of, document, call.query.format, name=name, identity=call.node.identity)
    return web.Response(body=file.body, content_type=file.media, headers=file.headers)
