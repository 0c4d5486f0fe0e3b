"""Consumers of the buyer's node, and their orders as their app may see them.

An account belongs to the app whose token made it. Every question here carries that token, so that an app can never see
another's account or order; `token_id` None is the operator, who sees all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from store import order_document
from store.db import UnitOfWork
from trade.order import Order, OrderState

_ACCOUNT = "account_id, token_id, name, email, phone, currency, created_at"
_OWNED = "FROM orders o JOIN customer_accounts a USING (account_id) WHERE o.side = 'BUYER'"


async def insert(
    uow: UnitOfWork,
    *,
    account_id: str,
    token_id: str,
    name: str,
    email: str,
    phone: str,
    currency: str,
    now: datetime,
) -> None:
    """Keep a new account of an app."""
    await uow.connection.execute(
        f"INSERT INTO customer_accounts ({_ACCOUNT}) VALUES ($1, $2, $3, $4, $5, $6, $7)",  # noqa: S608
        account_id, token_id, name, email, phone, currency, now,
    )  # fmt: skip


async def get(uow: UnitOfWork, account_id: str, *, token_id: str | None) -> Mapping[str, Any] | None:
    """One account, if the token may see it."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        f"SELECT {_ACCOUNT} FROM customer_accounts"  # noqa: S608
        " WHERE account_id = $1 AND ($2::text IS NULL OR token_id = $2)",
        account_id, token_id,
    )  # fmt: skip
    return row


async def page(
    uow: UnitOfWork, *, token_id: str | None, after: tuple[datetime, str] | None, limit: int
) -> list[Mapping[str, Any]]:
    """Accounts the token may see, newest first; `after` is the last one's (created_at, account_id)."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"SELECT {_ACCOUNT} FROM customer_accounts WHERE ($1::text IS NULL OR token_id = $1)"  # noqa: S608
        " AND ($2::timestamptz IS NULL OR (created_at, account_id) < ($2, $3))"
        " ORDER BY created_at DESC, account_id DESC LIMIT $4",
        token_id, after[0] if after else None, after[1] if after else None, limit,
    )  # fmt: skip
    return rows


async def reserved_minor(uow: UnitOfWork, account_id: str, currency: str) -> int:
    """What the escrow of all the account's orders holds, minor units."""
    amount = await uow.connection.fetchval(
        "SELECT sum(l.balance_minor)::bigint"
        " FROM orders o JOIN ledger_accounts l ON l.account = 'escrow:' || o.order_id"
        " WHERE o.account_id = $1 AND o.side = 'BUYER' AND l.currency = $2",
        account_id, currency,
    )  # fmt: skip
    return int(amount or 0)


async def order(uow: UnitOfWork, order_id: str, *, token_id: str | None, lock: bool = False) -> Order | None:
    """One order, if the token may see it; `lock` keeps it until the unit of work ends."""
    return _order(
        await uow.connection.fetchval(
            f"SELECT o.document {_OWNED} AND o.order_id = $1 AND ($2::text IS NULL OR a.token_id = $2)"
            + (" FOR UPDATE OF o" if lock else ""),
            order_id, token_id,
        )
    )  # fmt: skip


async def orders(
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
        token_id, account_id, state, transaction_id, after, limit,
    )  # fmt: skip
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
            seller_id, transaction_id, message_id,
        )
    )  # fmt: skip


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
        ended_before, now_wall, limit,
    )  # fmt: skip
    return [order_document.from_document(row["document"]) for row in rows]


def _order(document: dict[str, Any] | None) -> Order | None:
    return None if document is None else order_document.from_document(document)
