"""The buyer's orders: written together with their events, and found as apps and callbacks ask for them.

An order belongs to an account, an account to an app. Every question of an app carries its token, so that an app can
never see another's order; `token_id` None is the operator, who sees all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from store import order_document
from store.db import UnitOfWork
from store.events import QUEUE
from store.orders import OrderExists, OrderMissing, energy_bounds
from trade import deadlines
from trade.order import Order, OrderState

_OWNED = "FROM orders o JOIN customer_accounts a USING (account_id) WHERE o.side = 'BUYER'"

#: What both statements below end with: the order's events for the app its account belongs to, if `kept` has a row. One
#: event, the usual number, goes as VALUES, so that the database need not plan the statement anew for every array.
_TELL = f"""
), told AS (
  INSERT INTO events (token_id, subject, kind, data, at)
  SELECT a.token_id, 'order:' || $1::text, given.kind, given.data, $15
    FROM kept, customer_accounts a, {{events}} AS given(kind, data, position)
   WHERE a.account_id = $4 ORDER BY position
  RETURNING seq, token_id, kind, at
), {QUEUE}
SELECT (SELECT count(*) FROM kept) AS kept, (SELECT count(*) FROM queued) AS queued
"""  # noqa: S608 - made of constants
_UPDATE = f"""
WITH kept AS (
  UPDATE orders SET state = $2, offer_id = $3, account_id = $4, wire_order_id = $5, meter_id = $6, delivery_start = $7,
         delivery_end = $8, quote_expires_at = $9, awaiting_until = $10, document = $11, updated_at = $12,
         buyer_meter_id = $16, next_due = $17
   WHERE order_id = $1 RETURNING 1
{_TELL}
"""  # noqa: S608 - made of constants
_INSERT = f"""
WITH kept AS (
  INSERT INTO orders (order_id, state, offer_id, account_id, wire_order_id, meter_id, delivery_start, delivery_end,
                      quote_expires_at, awaiting_until, document, updated_at, buyer_meter_id, next_due, side,
                      transaction_id, counterparty_id, provider_id, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $16, $17, 'BUYER', $18, $19, $20, $21)
  ON CONFLICT DO NOTHING RETURNING 1
{_TELL}
"""  # noqa: S608 - made of constants
_MANY, _ONE = "unnest($13::text[], $14::jsonb[]) WITH ORDINALITY", "(VALUES ($13::text, $14::jsonb, 1))"
_UPDATE_MANY, _UPDATE_ONE = (_UPDATE.format(events=events) for events in (_MANY, _ONE))
_INSERT_MANY, _INSERT_ONE = (_INSERT.format(events=events) for events in (_MANY, _ONE))


async def insert(uow: UnitOfWork, order: Order, events: Sequence[tuple[str, dict[str, Any]]], *, now: datetime) -> bool:
    """Keep a new order and its events; True when webhooks have something to carry.

    Raises OrderExists when its id or its session is taken.
    """
    given = (order.transaction_id, order.counterparty_id, order.provider_id, order.created_at)
    statement = _INSERT_ONE if len(events) == 1 else _INSERT_MANY
    row = await uow.connection.fetchrow(statement, *_row(order), *_told(events), now, *_settling(order), *given)
    if not row["kept"]:
        raise OrderExists(order.order_id)
    return bool(row["queued"])


async def save(uow: UnitOfWork, order: Order, events: Sequence[tuple[str, dict[str, Any]]], *, now: datetime) -> bool:
    """Write an order over its earlier self, and its events; True when webhooks have something to carry.

    Raises OrderMissing when there is no such order.
    """
    statement = _UPDATE_ONE if len(events) == 1 else _UPDATE_MANY
    row = await uow.connection.fetchrow(statement, *_row(order), *_told(events), now, *_settling(order))
    if not row["kept"]:
        raise OrderMissing(order.order_id)
    return bool(row["queued"])


def _told(events: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Any, Any]:
    """Kinds and data of events, for `_ONE` or for `_MANY`."""
    if len(events) == 1:
        return events[0]
    return [kind for kind, _ in events], [data for _, data in events]


def _row(order: Order) -> tuple[Any, ...]:
    delivery_start, delivery_end = energy_bounds(order)
    return (
        order.order_id,
        order.state,
        order.offer_id,
        order.account_id,
        order.wire_order_id,
        order.meter_id,
        delivery_start,
        delivery_end,
        order.quote.expires_at if order.quote else None,
        order.awaiting_until,
        order_document.to_document(order),
        order.updated_at,
    )


def _settling(order: Order) -> tuple[str, datetime | None]:
    """Whose meter counts, and when somebody has to act at the latest."""
    return order.buyer_meter_id, deadlines.next_due(order)


async def get(uow: UnitOfWork, order_id: str, *, token_id: str | None, lock: bool = False) -> Order | None:
    """One order, if the token may see it; `lock` keeps it until the unit of work ends."""
    return _order(
        await uow.connection.fetchval(
            f"SELECT o.document {_OWNED} AND o.order_id = $1 AND ($2::text IS NULL OR a.token_id = $2)"
            + (" FOR UPDATE OF o" if lock else ""),
            order_id,
            token_id,
        )
    )


async def page(
    uow: UnitOfWork,
    *,
    token_id: str | None,
    account_id: str | None = None,
    state: OrderState | None = None,
    transaction_id: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Order]:
    """Orders the token may see, newest first, that satisfy every filter; `after` is the last order_id seen."""
    rows = await uow.connection.fetch(
        f"SELECT o.document {_OWNED} AND ($1::text IS NULL OR a.token_id = $1)"  # noqa: S608
        " AND ($2::text IS NULL OR o.account_id = $2) AND ($3::text IS NULL OR o.state = $3)"
        " AND ($4::text IS NULL OR o.transaction_id = $4) AND ($5::text IS NULL OR (o.created_at, o.order_id) <"
        " (SELECT created_at, order_id FROM orders WHERE order_id = $5))"
        " ORDER BY o.created_at DESC, o.order_id DESC LIMIT $6",
        token_id,
        account_id,
        state,
        transaction_id,
        after,
        limit,
    )
    return [order_document.from_document(row["document"]) for row in rows]


async def lock_answered(uow: UnitOfWork, *, seller_id: str, transaction_id: str, message_id: str) -> Order | None:
    """The order that asked a seller something under this message_id, locked.

    The id is on the order while the answer is awaited, and for good in the event that told of the letter.
    """
    return _order(
        await uow.connection.fetchval(
            "SELECT o.document FROM orders o"
            " WHERE o.side = 'BUYER' AND o.counterparty_id = $1 AND o.transaction_id = $2"
            " AND (o.document->>'awaiting_message_id' = $3 OR EXISTS (SELECT FROM events e"
            "      WHERE e.subject = 'order:' || o.order_id AND e.data->>'message_id' = $3))"
            " LIMIT 1 FOR UPDATE OF o",
            seller_id,
            transaction_id,
            message_id,
        )
    )


async def sellers_of(uow: UnitOfWork, wire_order_id: str) -> list[str]:
    """Who has an order with us under this id: to tell a stranger's letter from one about nothing."""
    rows = await uow.connection.fetch(
        "SELECT DISTINCT counterparty_id FROM orders WHERE side = 'BUYER' AND order_id = $1", wire_order_id
    )
    return [row["counterparty_id"] for row in rows]


async def lock_overdue(uow: UnitOfWork, *, ended_before: datetime, now_wall: datetime, limit: int) -> list[Order]:
    """Contracts whose last slot ended before an instant (trading clock) and that nothing is awaited for, locked."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE side = 'BUYER' AND state IN ('ACTIVE', 'DELIVERING')"
        " AND delivery_end <= $1 AND awaiting_until IS NULL AND updated_at <= $2::timestamptz - interval '1 hour'"
        " ORDER BY delivery_end LIMIT $3 FOR UPDATE SKIP LOCKED",
        ended_before,
        now_wall,
        limit,
    )
    return [order_document.from_document(row["document"]) for row in rows]


def _order(document: dict[str, Any] | None) -> Order | None:
    return None if document is None else order_document.from_document(document)
