"""Orders of both sides: one row each, the whole order in `document`, what is looked for in columns beside it.

A row's `delivery_start` and `delivery_end` bound the slots that hold energy, so that the jobs that wake at them are not
woken by empty slots. Rows are locked in one order everywhere, orders by id and an order before its offer, so that no
two units of work wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from store import order_document
from store.db import UnitOfWork
from trade import deadlines
from trade.order import (
    TRANSITIONS,
    Order,
    OrderEvent,
    OrderState,
    Side,
)

#: States in which an unexpired quote can run out, and those in which a letter can be waited for: asked of the table.
_QUOTED = sorted({state for state, event in TRANSITIONS if event is OrderEvent.QUOTE_EXPIRED})
_LIVE = sorted({state for state, _ in TRANSITIONS})

_COLUMNS = (
    "order_id",
    "side",
    "state",
    "transaction_id",
    "counterparty_id",
    "wire_order_id",
    "provider_id",
    "offer_id",
    "meter_id",
    "account_id",
    "delivery_start",
    "delivery_end",
    "quote_expires_at",
    "awaiting_until",
    "document",
    "created_at",
    "updated_at",
    "buyer_meter_id",
    "next_due",
)
_INSERT = (
    f"INSERT INTO orders ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(_COLUMNS)))})"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)
_UPDATE = (
    f"UPDATE orders SET {', '.join(f'{name} = ${n + 2}' for n, name in enumerate(_COLUMNS[1:]))}"  # noqa: S608
    " WHERE order_id = $1"
)
#: Contracts with a claim on their meter's energy: in delivery, and settled ones that a correction may settle again.
_CLAIMS = ["ACTIVE", "DELIVERING", "DISPUTED", "COMPLETED"]


class OrderExists(Exception):
    """Another order has this id, or this session with this provider already has an order."""


class OrderMissing(Exception):
    """The order to be saved was never inserted."""


async def insert(uow: UnitOfWork, order: Order) -> None:
    """Keep a new order; raises OrderExists when its id or its session is taken."""
    if await uow.connection.execute(_INSERT, *_row(order)) != "INSERT 0 1":
        raise OrderExists(order.order_id)


async def save(uow: UnitOfWork, order: Order) -> None:
    """Write an order over its earlier self; raises OrderMissing when there is none."""
    if await uow.connection.execute(_UPDATE, *_row(order)) != "UPDATE 1":
        raise OrderMissing(order.order_id)


async def get(uow: UnitOfWork, order_id: str) -> Order | None:
    """The order with this id, unlocked: to look at, not to decide on."""
    return _order(await uow.connection.fetchval("SELECT document FROM orders WHERE order_id = $1", order_id))


async def lock(uow: UnitOfWork, order_id: str) -> Order | None:
    """The order with this id, locked until the unit of work ends."""
    return _order(await uow.connection.fetchval("SELECT document FROM orders WHERE order_id = $1 FOR UPDATE", order_id))


async def lock_by_wire(uow: UnitOfWork, *, side: Side, counterparty_id: str, wire_order_id: str) -> Order | None:
    """The order that this counterparty knows by this id, locked. Another node's orders are never found."""
    if not wire_order_id:
        return None
    return _order(
        await uow.connection.fetchval(
            "SELECT document FROM orders WHERE side = $1 AND counterparty_id = $2 AND wire_order_id = $3 FOR UPDATE",
            side,
            counterparty_id,
            wire_order_id,
        )
    )


async def lock_session(
    uow: UnitOfWork, *, side: Side, counterparty_id: str, transaction_id: str, provider_id: str
) -> Order | None:
    """The order of one session with one provider, locked; there is at most one."""
    return _order(
        await uow.connection.fetchval(
            "SELECT document FROM orders WHERE side = $1 AND counterparty_id = $2 AND transaction_id = $3"
            " AND provider_id = $4 FOR UPDATE",
            side,
            counterparty_id,
            transaction_id,
            provider_id,
        )
    )


async def lock_transaction(uow: UnitOfWork, *, side: Side, counterparty_id: str, transaction_id: str) -> list[Order]:
    """The orders of one session with all its providers, locked in order of id."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE side = $1 AND counterparty_id = $2 AND transaction_id = $3"
        " ORDER BY order_id FOR UPDATE",
        side,
        counterparty_id,
        transaction_id,
    )
    return _orders(rows)


async def is_wire_id_taken(
    uow: UnitOfWork, *, side: Side, counterparty_id: str, wire_order_id: str, by_other_than: str
) -> bool:
    """True when the counterparty already calls another order by this id."""
    return cast(
        bool,
        await uow.connection.fetchval(
            "SELECT EXISTS (SELECT FROM orders WHERE side = $1 AND counterparty_id = $2 AND wire_order_id = $3"
            " AND order_id <> $4)",
            side,
            counterparty_id,
            wire_order_id,
            by_other_than,
        ),
    )


async def list_for(
    uow: UnitOfWork,
    *,
    side: Side,
    account_id: str | None = None,
    state: OrderState | None = None,
    transaction_id: str | None = None,
    provider_id: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Order]:
    """Orders, newest first, that satisfy every filter given; `after` is the last order_id of the page before."""
    conditions, arguments = ["side = $1"], [side, limit]
    for column, value in (
        ("account_id", account_id),
        ("state", state),
        ("transaction_id", transaction_id),
        ("provider_id", provider_id),
    ):
        if value is not None:
            arguments.append(value)
            conditions.append(f"{column} = ${len(arguments)}")
    if after is not None:
        arguments.append(after)
        conditions.append(
            f"(created_at, order_id) < (SELECT created_at, order_id FROM orders WHERE order_id = ${len(arguments)})"  # noqa: S608
        )
    rows = await uow.connection.fetch(
        f"SELECT document FROM orders WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY created_at DESC, order_id DESC LIMIT $2",
        *arguments,
    )
    return _orders(rows)


async def expired_quotes(uow: UnitOfWork, now_wall: datetime, limit: int) -> list[Order]:
    """Orders whose quote has run out before it was confirmed, locked; those locked elsewhere are left for later."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE state = ANY($1) AND quote_expires_at <= $2"
        " ORDER BY quote_expires_at LIMIT $3 FOR UPDATE SKIP LOCKED",
        _QUOTED,
        now_wall,
        limit,
    )
    return _orders(rows)


async def unanswered(uow: UnitOfWork, now_wall: datetime, limit: int) -> list[Order]:
    """Live orders that have waited for an answer for long enough, locked; those locked elsewhere are left for later."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE state = ANY($1) AND awaiting_until <= $2"
        " ORDER BY awaiting_until LIMIT $3 FOR UPDATE SKIP LOCKED",
        _LIVE,
        now_wall,
        limit,
    )
    return _orders(rows)


async def to_start(uow: UnitOfWork, now_trading: datetime, limit: int) -> list[Order]:
    """Contracted orders whose first slot has begun, locked; those locked elsewhere are left for later."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE state = 'ACTIVE' AND delivery_start <= $1"
        " ORDER BY delivery_start LIMIT $2 FOR UPDATE SKIP LOCKED",
        now_trading,
        limit,
    )
    return _orders(rows)


async def overdue(
    uow: UnitOfWork, now_trading: datetime, *, after: str = "", limit: int
) -> list[tuple[str, datetime, datetime]]:
    """Meters with contracts that are to be settled whether or not anybody speaks, and the time those span.

    In order of id from `after` on.
    """
    rows = await uow.connection.fetch(
        "SELECT meter_id, min(delivery_start), max(delivery_end) FROM orders"
        " WHERE side = 'SELLER' AND next_due <= $1 AND state = ANY($2) AND meter_id > $3"
        " GROUP BY meter_id ORDER BY meter_id LIMIT $4",
        now_trading,
        ["ACTIVE", "DELIVERING"],
        after,
        limit,
    )
    return [tuple(row) for row in rows]


async def lapsed_disputes(uow: UnitOfWork, side: Side, now_trading: datetime, limit: int) -> list[Order]:
    """Disputes nobody decided in time, locked; those locked elsewhere are left for later."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE side = $1 AND state = 'DISPUTED' AND next_due <= $2"
        " ORDER BY next_due LIMIT $3 FOR UPDATE SKIP LOCKED",
        side,
        now_trading,
        limit,
    )
    return _orders(rows)


async def claim_meter(uow: UnitOfWork, meter_id: str) -> bool:
    """True when this unit of work alone may settle the meter until it ends; False when another is at it."""
    return cast(
        bool,
        await uow.connection.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('settle ' || $1, 0))", meter_id
        ),
    )


async def lock_on_meter(
    uow: UnitOfWork,
    meter_id: str,
    start: datetime,
    end: datetime,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Order]:
    """Claims on a meter's energy between two instants, locked; the earliest to end that come after a place in line.

    They are locked in order of id, as everywhere, and given in order of their end.
    """
    ids = await uow.connection.fetch(
        "SELECT order_id FROM orders WHERE meter_id = $1 AND side = 'SELLER' AND state = ANY($2)"
        " AND delivery_end > $3 AND delivery_start < $4"
        " AND ($5::timestamptz IS NULL OR (delivery_end, order_id) > ($5, $6))"
        " ORDER BY delivery_end, order_id LIMIT $7",
        meter_id,
        _CLAIMS,
        start,
        end,
        after[0] if after else None,
        after[1] if after else "",
        limit,
    )
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
        [row["order_id"] for row in ids],
    )
    return sorted(_orders(rows), key=place)


def place(order: Order) -> tuple[datetime, str]:
    """An order's place in the line of its meter's claims."""
    return energy_bounds(order)[1], order.order_id


async def on_meter(
    uow: UnitOfWork, meter_id: str, start: datetime | None = None, end: datetime | None = None
) -> list[Order]:
    """Every order that has or had a claim on the meter's energy between two instants, in order of id, unlocked.

    Those are contracts in delivery and settled ones. None for an instant means no bound on that side.
    """
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE meter_id = $1 AND side = 'SELLER' AND state = ANY($2)"
        " AND ($3::timestamptz IS NULL OR delivery_end > $3) AND ($4::timestamptz IS NULL OR delivery_start < $4)"
        " ORDER BY order_id",
        meter_id,
        _CLAIMS,
        start,
        end,
    )
    return _orders(rows)


def _row(order: Order) -> tuple[Any, ...]:
    delivery_start, delivery_end = energy_bounds(order)
    return (
        order.order_id,
        order.side,
        order.state,
        order.transaction_id,
        order.counterparty_id,
        order.wire_order_id,
        order.provider_id,
        order.offer_id,
        order.meter_id,
        order.account_id,
        delivery_start,
        delivery_end,
        order.quote.expires_at if order.quote else None,
        order.awaiting_until,
        order_document.to_document(order),
        order.created_at,
        order.updated_at,
        order.buyer_meter_id,
        deadlines.next_due(order),
    )


def energy_bounds(order: Order) -> tuple[datetime, datetime]:
    """Start of the first slot that holds energy and end of the last; the whole series when none does."""
    span = order.contracted_wh.span
    return span.start, span.end


def _order(document: dict[str, Any] | None) -> Order | None:
    return None if document is None else order_document.from_document(document)


def _orders(rows: Iterable[Any]) -> list[Order]:
    return [order_document.from_document(row["document"]) for row in rows]
