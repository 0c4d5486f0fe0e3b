"""Consumers of the buyer's node, and the money reserved for them.

An account belongs to the app whose token made it. Every question here carries that token, so that an app can never see
another's account or order; `token_id` None is the operator, who sees all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from store.db import UnitOfWork

_ACCOUNT = "account_id, token_id, name, email, phone, currency, created_at, meter_id"


class MeterTaken(Exception):
    """Another account has this meter."""


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
        f"INSERT INTO customer_accounts ({_ACCOUNT}) VALUES ($1, $2, $3, $4, $5, $6, $7, '')",  # noqa: S608
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


async def of_meter(uow: UnitOfWork, meter_id: str, *, token_id: str | None) -> Mapping[str, Any] | None:
    """The account whose meter this is, if the token may see it."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        f"SELECT {_ACCOUNT} FROM customer_accounts"  # noqa: S608
        " WHERE meter_id = $1 AND meter_id <> '' AND ($2::text IS NULL OR token_id = $2)",
        meter_id, token_id,
    )  # fmt: skip
    return row


async def set_meter(uow: UnitOfWork, account_id: str, meter_id: str) -> None:
    """Give an account its meter; raises MeterTaken, after which the unit of work must end."""
    try:
        await uow.connection.execute(
            "UPDATE customer_accounts SET meter_id = $2 WHERE account_id = $1", account_id, meter_id
        )
    except asyncpg.UniqueViolationError as taken:
        raise MeterTaken(meter_id) from taken


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


async def reserved(uow: UnitOfWork, account_id: str) -> dict[str, int]:
    """What the escrow of all the account's orders holds, by currency, in thousandths of a minor unit."""
    rows = await uow.connection.fetch(
        "SELECT l.currency, sum(l.balance_milli)::bigint AS held"
        " FROM orders o JOIN ledger_accounts l ON l.account = 'escrow:' || o.order_id"
        " WHERE o.account_id = $1 AND o.side = 'BUYER' GROUP BY l.currency",
        account_id,
    )
    return {row["currency"]: row["held"] for row in rows}
