"""What `ledger check` asks the database about orders and their money, page by page; it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from store import order_document
from store.db import UnitOfWork
from trade.order import RESTING_STATES, TERMINAL_STATES, Order

#: Orders whose escrow must be empty.
_OVER = sorted(RESTING_STATES | TERMINAL_STATES)

_OWED = """
SELECT o.order_id, o.wire_order_id, o.side, o.counterparty_id, o.state, l.currency,
       sum(CASE o.side WHEN 'BUYER' THEN l.amount_milli ELSE -l.amount_milli END)::bigint AS owed_milli,
       (array_agg(t.transfer_id ORDER BY t.seq DESC))[1] AS transfer_id
  FROM (SELECT * FROM orders WHERE order_id > $1 AND wire_order_id <> '' ORDER BY order_id LIMIT $2) o
  JOIN ledger_transfers t ON t.order_id = o.order_id
  JOIN ledger_legs l ON l.transfer_id = t.transfer_id
   AND l.account = CASE o.side WHEN 'BUYER' THEN 'payable:' ELSE 'receivable:' END || o.counterparty_id
 GROUP BY o.order_id, o.wire_order_id, o.side, o.counterparty_id, o.state, l.currency
 ORDER BY o.order_id, l.currency
"""

_SETTLED = """
SELECT o.document,
       (SELECT coalesce(jsonb_object_agg(account, total), '{}') FROM (
            SELECT l.account, sum(l.amount_milli) AS total FROM ledger_transfers t
              JOIN ledger_legs l ON l.transfer_id = t.transfer_id
             WHERE t.order_id = o.order_id AND starts_with(t.transfer_id, o.order_id || '/settle')
             GROUP BY l.account) sums) AS moved
  FROM orders o
 WHERE o.state = 'COMPLETED' AND o.order_id > $1 ORDER BY o.order_id LIMIT $2
"""

_ESCROWS = """
SELECT a.account, a.currency, a.balance_milli, o.document, coalesce(o.state = ANY ($1), true) AS is_over
  FROM ledger_accounts a LEFT JOIN orders o ON o.order_id = substr(a.account, length('escrow:') + 1)
 WHERE starts_with(a.account, 'escrow:') AND a.balance_milli <> 0 ORDER BY a.account
"""


@dataclass(frozen=True, slots=True)
class Owed:
    """What one order made its buyer's node owe its seller's node, as this side's books have it."""

    order_id: str
    wire_order_id: str
    side: str
    counterparty_id: str
    state: str
    currency: str
    owed_milli: int
    #: The last transfer that says so.
    transfer_id: str


@dataclass(frozen=True, slots=True)
class Escrow:
    """Money that is reserved now. `order` is None when no order of that id exists."""

    account: str
    currency: str
    balance_milli: int
    order: Order | None
    #: The order has ended, so nothing should be reserved for it.
    is_over: bool


async def owed(uow: UnitOfWork, *, after: str, limit: int) -> tuple[list[Owed], str | None]:
    """What orders made nodes owe each other, of the next `limit` orders that follow `after`; and the last of them.

    The last order's id is None when there are no more. An order that moved nothing between the nodes is left out.
    """
    last = await uow.connection.fetchval(
        "SELECT order_id FROM orders WHERE order_id > $1 AND wire_order_id <> ''"
        " ORDER BY order_id OFFSET $2 - 1 LIMIT 1",
        after,
        limit,
    )
    rows = await uow.connection.fetch(_OWED, after, limit)
    return [Owed(**dict(row)) for row in rows], last


async def settled(uow: UnitOfWork, *, after: str, limit: int) -> list[tuple[Order, dict[str, int]]]:
    """Completed orders by id, each with what its settlements moved on every account."""
    rows = await uow.connection.fetch(_SETTLED, after, limit)
    return [(order_document.from_document(row["document"]), row["moved"]) for row in rows]


async def escrows(uow: UnitOfWork) -> list[Escrow]:
    """All escrow that is not empty."""
    return [_escrow(row) for row in await uow.connection.fetch(_ESCROWS, _OVER)]


def _escrow(row: Any) -> Escrow:
    document = row["document"]
    order = None if document is None else order_document.from_document(document)
    return Escrow(row["account"], row["currency"], row["balance_milli"], order, row["is_over"])
