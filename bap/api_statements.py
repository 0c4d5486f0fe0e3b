"""Statements and invoices of consumers, signed; and the settled orders that an operator compares with a seller's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import Field

from api.desk import Answer, Call, Desk
from api.paging import Id, Strict, read_cursor
from api.problems import ApiError, conflict, not_found
from api.statements import SettledQuery, period_asked, settled_page
from bap.api_calls import READERS, visible_to
from books import issuing
from books.issuing import Form
from books.statements import Holder, StatementTooLong
from store import buyer_orders, customers
from store.db import UnitOfWork
from trade.order import Side

_TAGS = ["statements"]


class StatementQuery(Strict):
    """How a statement is wanted: its form, and the zone of its days; without one, the node's own."""

    format: Form = Form.JSON
    zone: str | None = Field(default=None, max_length=64, description="IANA name such as Europe/Berlin")


class InvoiceQuery(Strict):
    """How an invoice is wanted; its months are of the node's own zone."""

    format: Form = Form.PDF


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about statements."""
    _add_statements(desk)
    _add_invoices(desk)
    _add_settled(desk)


def _add_statements(desk: Desk) -> None:
    @desk.route("GET", "/api/accounts/{account_id}/statements/{period}", role=READERS, query=StatementQuery, tags=_TAGS)
    async def get_statement(call: Call[None]) -> web.Response:
        """State what an account was charged and paid on a day (2017-05-03) or in a month (2017-05).

        As JSON, CSV or PDF; the header `Signature` signs exactly these bytes, and `format=pdf.sig` is that signature to
        keep beside the file. 422 for a period that holds more than one statement can.
        """
        period = period_asked(call, call.path["period"], call.query.zone)
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            holder = await _holder(uow, call, call.path["account_id"])
            try:
                document = await issuing.of_holder(
                    uow, side=Side.BUYER, holder=holder, period=period, node_id=call.node.settings.subscriber_id
                )
            except StatementTooLong as refusal:
                raise ApiError(422, str(refusal), field="period") from refusal
        return await _signed(call, document, f"statement-{period.name}")

    @desk.route("GET", "/api/orders/{order_id}/statement", role=READERS, query=StatementQuery, tags=_TAGS)
    async def get_order_statement(call: Call[None]) -> web.Response:
        """State one order: its slots, every version of its settlement, and what moved for it."""
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            order = await buyer_orders.get(uow, call.path["order_id"], token_id=visible_to(call))
            if order is None:
                raise not_found("order", call.path["order_id"])
            holder = await _holder(uow, call, order.account_id)
            document = await issuing.of_order(uow, order, holder=holder, node_id=call.node.settings.subscriber_id)
        return await _signed(call, document, f"order-{order.order_id}")


def _add_invoices(desk: Desk) -> None:
    @desk.route("GET", "/api/accounts/{account_id}/invoices/{month}", role=READERS, query=InvoiceQuery, tags=_TAGS)
    async def get_invoice(call: Call[None]) -> web.Response:
        """Give an account's invoice of a month that ended an hour ago or more, signed; issued when first asked for.

        It has the next number of this node and never changes again: what is corrected later is a credit or debit note
        in the invoice of the month in which it is booked. 409 before that, 404 when nothing was traded.
        """
        month = period_asked(call, call.path["month"], None)
        if not month.is_month:
            raise ApiError(
                422, "An invoice is of a month such as 2017-05; for a day ask for a statement.", field="month"
            )
        async with call.node.database.unit_of_work() as uow:
            holder = await _holder(uow, call, call.path["account_id"])
            try:
                document = await issuing.invoice(
                    uow,
                    holder=holder,
                    month=month,
                    node_id=call.node.settings.subscriber_id,
                    now=call.now,
                    now_trading=call.node.trading.now(),
                )
            except issuing.NotYet as refusal:
                raise conflict(str(refusal), field="month") from refusal
            except issuing.NothingToInvoice as refusal:
                raise ApiError(
                    404, f"Nothing was traded in {month.name}, so there is no invoice.", field="month"
                ) from (refusal)
            except StatementTooLong as refusal:
                raise ApiError(422, str(refusal), field="month") from refusal
        return await _signed(call, document, f"invoice-{document['invoice_number']}")


def _add_settled(desk: Desk) -> None:
    @desk.route("GET", "/api/settled-orders", role="operator", query=SettledQuery, tags=_TAGS)
    async def list_settled(call: Call[None]) -> Answer:
        """List settled orders with one seller's node, line by line, for `powershare reconcile`; by wire id.

        `period` keeps those whose delivery ended in a civil day or month.
        """
        asked, after = call.query, read_cursor(call.query.after, count=1)
        period = period_asked(call, asked.period, asked.zone) if asked.period else None
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            found = await issuing.settled_with(
                uow,
                asked.counterparty_id,
                side=Side.BUYER,
                period=period,
                after=str(after[0]) if after else "",
                limit=asked.limit,
            )
        return settled_page(found, asked.limit)


async def _holder(uow: UnitOfWork, call: Call[Any], account_id: Id) -> Holder:
    account = await customers.get(uow, account_id, token_id=visible_to(call))
    if account is None:
        raise not_found("account", account_id)
    return Holder("account", account["account_id"], account["name"])


async def _signed(call: Call[Any], document: Mapping[str, Any], name: str) -> web.Response:
    """The document in the form that was asked for, with its signature; or the signature alone."""
    file = await asyncio.to_thread(issuing.file_of, document, call.query.format, name=name, identity=call.node.identity)
    return web.Response(body=file.body, content_type=file.media, headers=file.headers)
