"""A node's statements, read from its database: what is asked for, put together, rendered and ready to be signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from beckn.signing import Identity
from books import pdf, reconcile, signed, statement_csv, statements
from books.statements import Holder, Movement
from store import statements as rows
from store.db import UnitOfWork
from trade import ledger
from trade.order import Order, Side
from trade.periods import Period

#: How long after a month's end its invoice can be had: nothing is booked into the month any more.
INVOICE_AFTER = timedelta(hours=1)


class Form(StrEnum):
    """How a statement is wanted; `....sig` is the signature of that form's bytes, `sig` that of the JSON's."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"
    JSON_SIGNATURE = "json.sig"
    CSV_SIGNATURE = "csv.sig"
    PDF_SIGNATURE = "pdf.sig"
    SIGNATURE = "sig"

    @property
    def of(self) -> Form:
        """The form whose bytes count."""
        return Form(self.value.removesuffix(".sig")) if self is not Form.SIGNATURE else Form.JSON

    @property
    def is_signature(self) -> bool:
        """True when the signature alone is wanted."""
        return self.value.endswith("sig")


#: What each form is as HTTP, and what makes its bytes.
MEDIA = {Form.JSON: "application/json", Form.CSV: "text/csv", Form.PDF: "application/pdf"}
_RENDER: dict[Form, Callable[[Mapping[str, Any]], bytes]] = {
    Form.JSON: statements.json_bytes,
    Form.CSV: statement_csv.csv_bytes,
    Form.PDF: pdf.pdf_bytes,
}


def render(document: Mapping[str, Any], form: Form) -> bytes:
    """A statement's bytes in one form. Takes up to a second for a long print: not for the event loop."""
    return _RENDER[form.of](document)


@dataclass(frozen=True, slots=True)
class File:
    """What is answered over HTTP: the bytes, their media type, and headers with name and signature."""

    body: bytes
    media: str
    headers: Mapping[str, str]


def file_of(document: Mapping[str, Any], form: Form, *, name: str, identity: Identity) -> File:
    """A statement in the form that was asked for, signed; or the signature of that form alone."""
    body = render(document, form)
    signature = signed.sign(body, identity=identity)
    disposition = f'attachment; filename="{name}.{form.of.value}{".sig" if form.is_signature else ""}"'
    if form.is_signature:
        return File(f"{signature}\n".encode(), "text/plain", {"Content-Disposition": disposition})
    return File(body, MEDIA[form], {"Content-Disposition": disposition, "Signature": signature})


class NotYet(Exception):
    """An invoice of a month into which something may still be booked; the sentence says from when it can be had."""

    def __init__(self, month: Period) -> None:
        super().__init__(
            f"The invoice of {month.name} ({month.zone}) can be had from"
            f" {statements.instant(month.end + INVOICE_AFTER)} on, on the trading clock; ask for a statement meanwhile."
        )


class NothingToInvoice(Exception):
    """A month in which nothing was traded."""


def _accounts(side: Side, holder_id: str) -> list[str]:
    if side is Side.SELLER:
        return [ledger.provider_earnings(holder_id)]
    return [ledger.wallet(holder_id), ledger.debt(holder_id)]


async def of_holder(uow: UnitOfWork, *, side: Side, holder: Holder, period: Period, node_id: str) -> dict[str, Any]:
    """The statement of an account or a provider for a day or a month; raises StatementTooLong, BooksDisagree."""
    accounts, account_id = _accounts(side, holder.holder_id), holder.holder_id if side is Side.BUYER else ""
    brought = await rows.brought_forward(uow, accounts, account_id=account_id, before=period.start)
    found = await rows.movements(
        uow,
        accounts,
        account_id=account_id,
        start=period.start,
        end=period.end,
        limit=statements.MOVEMENTS_MAX + 1,
    )
    moved = [Movement(**row) for row in found]
    orders = await rows.orders_of(
        uow,
        side=side,
        holder_id=holder.holder_id,
        order_ids=sorted({movement.order_id for movement in moved if movement.order_id}),
        start=period.start,
        end=period.end,
        limit=2 * statements.ORDERS_MAX,
    )
    return statements.build(
        node_id=node_id, holder=holder, period=period, brought_milli=brought, movements=moved, orders=orders
    )


async def of_order(uow: UnitOfWork, order: Order, *, holder: Holder, node_id: str) -> dict[str, Any]:
    """The statement of one order, whole; raises BooksDisagree."""
    account_id = order.account_id if order.side is Side.BUYER else ""
    found = await rows.movements(
        uow,
        _accounts(order.side, holder.holder_id),
        account_id=account_id,
        order_id=order.order_id,
        start=None,
        end=None,
        limit=statements.MOVEMENTS_MAX + 1,
    )
    moved = [Movement(**row) for row in found]
    return statements.build(
        node_id=node_id, holder=holder, period=None, brought_milli={}, movements=moved, orders=[order]
    )


async def settled_with(
    uow: UnitOfWork, counterparty_id: str, *, side: Side, period: Period | None, after: str, limit: int
) -> Sequence[dict[str, Any]]:
    """A page of the orders that were settled with another node, as `reconcile` compares them."""
    found = await rows.settled_with(
        uow,
        counterparty_id,
        side=side,
        start=period.start if period else None,
        end=period.end if period else None,
        after=after,
        limit=limit,
    )
    sign = 1 if side is Side.BUYER else -1
    return [reconcile.settled_document(order, between_nodes_milli=sign * balance) for order, balance in found]


async def invoice(
    uow: UnitOfWork, *, holder: Holder, month: Period, node_id: str, now: datetime, now_trading: datetime
) -> dict[str, Any]:
    """A consumer's invoice of a month: issued when it is first asked for, and the same for ever after.

    Its number is the next of this node, without a gap. What is corrected later is a credit or debit note in the invoice
    of the month in which it is booked. Raises NotYet, NothingToInvoice, StatementTooLong, BooksDisagree.
    """
    if kept := await rows.invoice(uow, holder.holder_id, month.name):
        return _read(kept)
    if now_trading < month.end + INVOICE_AFTER:
        raise NotYet(month)
    number = await rows.next_invoice_number(uow)
    if kept := await rows.invoice(uow, holder.holder_id, month.name):
        return _read(kept)  # somebody else asked for it while we waited for the number
    made = await of_holder(uow, side=Side.BUYER, holder=holder, period=month, node_id=node_id)
    if not made["orders"]:
        raise NothingToInvoice
    document = made | {"invoice_number": number, "issued_at": statements.instant(now_trading)}
    body = statements.json_bytes(document)
    digest = hashlib.sha256(body).digest()
    await rows.keep_invoice(
        uow, number=number, account_id=holder.holder_id, month=month.name, body=body, digest=digest, now=now
    )
    return document


def _read(kept: Mapping[str, Any]) -> dict[str, Any]:
    if hashlib.sha256(kept["body"]).digest() != kept["digest"]:
        raise statements.BooksDisagree(f"invoice {kept['number']} is not what was issued: its digest differs")
    document: dict[str, Any] = orjson.loads(kept["body"])
    return document
