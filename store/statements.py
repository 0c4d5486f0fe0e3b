"""What statements are made of: movements of a holder's accounts taken together, the orders behind them, invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from store import order_document
from store.db import UnitOfWork
from trade.order import Order, Side

#: The holder's accounts: those named by $1 and, for a consumer $2, the escrow of its orders.
_OWN = (
    "WITH own AS (SELECT unnest($1::text[]) AS account"
    " UNION ALL SELECT 'escrow:' || order_id FROM orders WHERE account_id = $2 AND side = 'BUYER' AND $2 <> '')"
)
#: How long after its delivery an order that moves no money may still be settled, and be looked for.
_SETTLED_LATE_MAX = timedelta(days=62)
_SETTLED = "state IN ('COMPLETED', 'DISPUTED', 'CANCELLED')"


async def brought_forward(
    uow: UnitOfWork, accounts: Sequence[str], *, account_id: str = "", before: datetime
) -> dict[str, int]:
    """What a holder's accounts held together before an instant, by currency."""
    rows = await uow.connection.fetch(
        f"{_OWN} SELECT l.currency, sum(l.amount_milli)::bigint AS held FROM own"  # noqa: S608 - made of constants
        " JOIN ledger_legs l USING (account)"
        " JOIN ledger_transfers t USING (transfer_id) WHERE t.at < $3 GROUP BY l.currency",
        list(accounts), account_id, before,
    )  # fmt: skip
    return {row["currency"]: row["held"] for row in rows}


async def movements(
    uow: UnitOfWork,
    accounts: Sequence[str],
    *,
    account_id: str = "",
    order_id: str | None = None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> list[Mapping[str, Any]]:
    """What each transfer changed for a holder, all its accounts taken together, oldest first.

    Transfers that only moved money among them change nothing and are left out. Keys: transfer_id, order_id, memo, at,
    currency, amount_milli.
    """
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"{_OWN} SELECT t.transfer_id, t.order_id, t.memo, t.at, l.currency,"  # noqa: S608 - made of constants
        " sum(l.amount_milli)::bigint AS amount_milli"
        " FROM own JOIN ledger_legs l USING (account) JOIN ledger_transfers t USING (transfer_id)"
        " WHERE ($3::timestamptz IS NULL OR t.at >= $3) AND ($4::timestamptz IS NULL OR t.at < $4)"
        " AND ($5::text IS NULL OR t.order_id = $5) GROUP BY t.transfer_id, l.currency"
        " HAVING sum(l.amount_milli) <> 0 ORDER BY t.at, t.seq, l.currency LIMIT $6",
        list(accounts), account_id, start, end, order_id, limit,
    )  # fmt: skip
    return rows


async def orders_of(
    uow: UnitOfWork,
    *,
    side: Side,
    holder_id: str,
    order_ids: Sequence[str],
    start: datetime,
    end: datetime,
    limit: int,
) -> list[Order]:
    """A holder's orders with these ids, and those delivered before `end` that may have been settled since `start`."""
    holder = "account_id" if side is Side.BUYER else "provider_id"
    rows = await uow.connection.fetch(
        f"SELECT document FROM orders WHERE {holder} = $1 AND side = $2 AND (order_id = ANY($3)"  # noqa: S608
        f" OR (delivery_end >= $4 AND delivery_end < $5 AND {_SETTLED}"
        "     AND (document->'settlement'->>'settled_at')::timestamptz >= $6))"
        " ORDER BY delivery_start, order_id LIMIT $7",
        holder_id, side, list(order_ids), start - _SETTLED_LATE_MAX, end, start, limit,
    )  # fmt: skip
    return [order_document.from_document(row["document"]) for row in rows]


async def settled_with(
    uow: UnitOfWork,
    counterparty_id: str,
    *,
    side: Side,
    start: datetime | None,
    end: datetime | None,
    after: str,
    limit: int,
) -> list[tuple[Order, int]]:
    """Orders with another node whose delivery ended in a period and that are settled or cancelled, by wire id.

    Beside each what the ledger says the nodes owe each other for it, as a balance of the account between them.
    """
    between = "payable:" if side is Side.BUYER else "receivable:"
    rows = await uow.connection.fetch(
        "SELECT o.document, coalesce((SELECT sum(l.amount_milli) FROM ledger_transfers t JOIN ledger_legs l"  # noqa: S608
        " USING (transfer_id) WHERE t.order_id = o.order_id AND l.account = $7), 0)::bigint AS between_milli"
        f" FROM orders o WHERE counterparty_id = $1 AND side = $2 AND wire_order_id > $3 AND {_SETTLED}"
        " AND ($4::timestamptz IS NULL OR delivery_end > $4) AND ($5::timestamptz IS NULL OR delivery_end <= $5)"
        " ORDER BY wire_order_id LIMIT $6",
        counterparty_id, side, after, start, end, limit, between + counterparty_id,
    )  # fmt: skip
    return [(order_document.from_document(row["document"]), row["between_milli"]) for row in rows]


# --- Invoices ---------------------------------------------------------------------------------------------------------


async def invoice(uow: UnitOfWork, account_id: str, month: str) -> Mapping[str, Any] | None:
    """The invoice that was issued for a month: number, body, digest, issued_at."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT number, body, digest, issued_at FROM invoices WHERE account_id = $1 AND month = $2", account_id, month
    )
    return row


async def next_invoice_number(uow: UnitOfWork) -> int:
    """The number of the next invoice of this node, without a gap; nobody else gets one until the unit of work ends."""
    await uow.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('invoices', 0))")
    number: int = await uow.connection.fetchval("SELECT coalesce(max(number), 0) + 1 FROM invoices")
    return number


async def keep_invoice(
    uow: UnitOfWork, *, number: int, account_id: str, month: str, body: bytes, digest: bytes, now: datetime
) -> None:
    """Keep an invoice for good."""
    await uow.connection.execute(
        "INSERT INTO invoices (number, account_id, month, body, digest, issued_at) VALUES ($1, $2, $3, $4, $5, $6)",
        number, account_id, month, body, digest, now,
    )  # fmt: skip
