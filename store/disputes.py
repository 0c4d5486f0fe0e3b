"""Disputes of either side, found by their id and listed: each is a part of its order, which has at most one.

What was done about one is in the audit table, under the order (`order:<order_id>`).
"""

from __future__ import annotations

from store import order_document
from store.db import UnitOfWork
from trade.order import Order, Side

#: The rows with a dispute, open or over; an index has these very words.
_DISPUTED = "jsonb_typeof(document -> 'dispute') = 'object'"
_ID = "(document -> 'dispute' ->> 'dispute_id')"
_OPENED_AT = "(document -> 'dispute' ->> 'opened_at')::timestamptz"


async def lock(uow: UnitOfWork, side: Side, dispute_id: str) -> Order | None:
    """The order with this dispute, locked until the unit of work ends."""
    found = await uow.connection.fetchval(
        f"SELECT document FROM orders WHERE {_DISPUTED} AND {_ID} = $1 AND side = $2 FOR UPDATE",  # noqa: S608
        dispute_id,
        side,
    )
    return None if found is None else order_document.from_document(found)


async def newest(
    uow: UnitOfWork,
    side: Side,
    *,
    provider_id: str | None = None,
    is_open: bool | None = None,
    after: str | None = None,
    limit: int,
) -> list[Order]:
    """Orders with a dispute, the newest opened first; `after` is the last dispute_id of the page before.

    `provider_id` limits them to one seller's provider, `is_open` to those that wait for a decision or are over.
    """
    rows = await uow.connection.fetch(
        f"SELECT document FROM orders WHERE {_DISPUTED} AND side = $1"  # noqa: S608
        " AND ($2::text IS NULL OR provider_id = $2)"
        " AND ($3::boolean IS NULL OR (state = 'DISPUTED') = $3)"
        f" AND ($4::text IS NULL OR ({_OPENED_AT}, {_ID}) <"
        f"      (SELECT {_OPENED_AT}, {_ID} FROM orders WHERE {_DISPUTED} AND {_ID} = $4 AND side = $1))"
        f" ORDER BY {_OPENED_AT} DESC, {_ID} DESC LIMIT $5",
        side,
        provider_id,
        is_open,
        after,
        limit,
    )
    return [order_document.from_document(row["document"]) for row in rows]
