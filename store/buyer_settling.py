"""What the buyer's node settles by: the contracts on a consumer's meter, and those whose deadline has passed.

Orders are locked in order of id, as everywhere; `orders.claim_meter` keeps two workers from one meter.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from store import order_document
from store.db import UnitOfWork
from trade.order import Order

#: States of a contract that has a claim on its buyer's meter. A disputed one keeps its share until it is decided.
_CLAIMS = ["ACTIVE", "DELIVERING", "CANCELLING", "DISPUTED", "COMPLETED"]
#: A buyer's contract `o` whose slots are over at $1, that its seller waits to hear our allocation of, and whose slots
#: the buyer's meter has all measured (a correction is no second measurement).
_TO_ALLOCATE = (
    "o.side = 'BUYER' AND o.buyer_meter_id <> '' AND o.state IN ('ACTIVE', 'DELIVERING', 'CANCELLING')"
    " AND o.delivery_end <= $1 AND NOT o.document ? 'buyer_alloc_wh'"
    " AND (SELECT coalesce(sum(r.slot_s), 0) FROM readings r WHERE r.meter_id = o.buyer_meter_id"
    "      AND r.flow = 'IMPORT' AND r.version = 1"
    "      AND r.starts_at >= o.delivery_start AND r.starts_at < o.delivery_end)"
    "     >= extract(epoch FROM o.delivery_end - o.delivery_start)"
)
#: The buyer's orders `o` with a dispute, open or over; its parts in the words of the index on them.
_DISPUTED = "jsonb_typeof(o.document -> 'dispute') = 'object' AND o.side = 'BUYER'"
_DISPUTE_ID = "(o.document -> 'dispute' ->> 'dispute_id')"
_OPENED_AT = "(o.document -> 'dispute' ->> 'opened_at')::timestamptz"


async def meters_to_allocate(uow: UnitOfWork, now_trading: datetime, *, after: str = "", limit: int) -> list[str]:
    """Consumers' meters, in order of id from `after` on, with a contract that is over, measured and not allocated."""
    rows = await uow.connection.fetch(
        f"SELECT DISTINCT o.buyer_meter_id FROM orders o WHERE {_TO_ALLOCATE} AND o.buyer_meter_id > $2"  # noqa: S608
        " ORDER BY o.buyer_meter_id LIMIT $3",
        now_trading,
        after,
        limit,
    )
    return [row["buyer_meter_id"] for row in rows]


async def lock_on_meter(uow: UnitOfWork, meter_id: str, start: datetime, end: datetime) -> list[Order]:
    """Every contract with a claim on a consumer's meter between two instants, locked in order of id."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE side = 'BUYER' AND buyer_meter_id = $1 AND buyer_meter_id <> ''"
        " AND state = ANY($4) AND delivery_end > $2 AND delivery_start < $3 ORDER BY order_id FOR UPDATE",
        meter_id,
        start,
        end,
        _CLAIMS,
    )
    return _orders(rows)


async def span_to_allocate(uow: UnitOfWork, meter_id: str, now_trading: datetime) -> tuple[datetime, datetime] | None:
    """From the first to the last slot of the meter's contracts that wait for their allocation; None without any."""
    row = await uow.connection.fetchrow(
        f"SELECT min(o.delivery_start) AS start, max(o.delivery_end) AS stop FROM orders o"  # noqa: S608
        f" WHERE {_TO_ALLOCATE} AND o.buyer_meter_id = $2",
        now_trading,
        meter_id,
    )
    return (row["start"], row["stop"]) if row["start"] else None


async def next_delivery(uow: UnitOfWork, meter_id: str, start: datetime) -> datetime | None:
    """From when on the meter's contracts that end after an instant hold energy, but not before it; None without any."""
    found: datetime | None = await uow.connection.fetchval(
        "SELECT greatest(min(delivery_start), $2) FROM orders WHERE side = 'BUYER' AND buyer_meter_id = $1"
        " AND buyer_meter_id <> '' AND state = ANY($3) AND delivery_end > $2 HAVING count(*) > 0",
        meter_id,
        start,
        _CLAIMS,
    )
    return found


async def lock_past_due(uow: UnitOfWork, now_trading: datetime, limit: int) -> list[Order]:
    """The buyer's orders whose last deadline has passed, locked; those locked elsewhere are left for later."""
    rows = await uow.connection.fetch(
        "SELECT document FROM orders WHERE side = 'BUYER' AND next_due <= $1"
        " ORDER BY next_due LIMIT $2 FOR UPDATE SKIP LOCKED",
        now_trading,
        limit,
    )
    return _orders(rows)


async def is_meter_in_use(uow: UnitOfWork, meter_id: str) -> bool:
    """True while an order that counts this consumer's meter is neither settled nor ended."""
    return bool(
        await uow.connection.fetchval(
            "SELECT EXISTS (SELECT FROM orders WHERE side = 'BUYER' AND buyer_meter_id = $1 AND buyer_meter_id <> ''"
            " AND next_due IS NOT NULL)",
            meter_id,
        )
    )


async def disputed(
    uow: UnitOfWork, *, token_id: str | None, is_open: bool | None = None, after: str | None = None, limit: int
) -> list[Order]:
    """Orders with a dispute that the token may see, the newest opened first; `after` is the last dispute_id seen."""
    rows = await uow.connection.fetch(
        f"SELECT o.document FROM orders o JOIN customer_accounts a USING (account_id) WHERE {_DISPUTED}"  # noqa: S608
        " AND ($1::text IS NULL OR a.token_id = $1) AND ($2::boolean IS NULL OR (o.state = 'DISPUTED') = $2)"
        f" AND ($3::text IS NULL OR ({_OPENED_AT}, {_DISPUTE_ID}) <"
        f"      (SELECT {_OPENED_AT}, {_DISPUTE_ID} FROM orders o WHERE {_DISPUTED} AND {_DISPUTE_ID} = $3))"
        f" ORDER BY {_OPENED_AT} DESC, {_DISPUTE_ID} DESC LIMIT $4",
        token_id,
        is_open,
        after,
        limit,
    )
    return _orders(rows)


def _orders(rows: list[Any]) -> list[Order]:
    return [order_document.from_document(row["document"]) for row in rows]
