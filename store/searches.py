"""What apps searched for and which offers came back; an offer is kept in its newest version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from store.db import UnitOfWork
from store.events import QUEUE

_PUT = f"""
WITH search AS (
  SELECT token_id FROM searches WHERE transaction_id = $1
), put AS (
  INSERT INTO search_offers (transaction_id, seller_id, provider_id, offer_id, document, received_at)
  SELECT $1, $2, p, o, d::jsonb, $6 FROM search, unnest($3::text[], $4::text[], $5::text[]) AS x(p, o, d)
  ON CONFLICT (transaction_id, seller_id, provider_id, offer_id)
  DO UPDATE SET document = excluded.document, received_at = excluded.received_at
), told AS (
  INSERT INTO events (token_id, subject, kind, data, at)
  SELECT token_id, 'search:' || $1::text, $7, $8, $6 FROM search
  RETURNING seq, token_id, kind, at
), {QUEUE}
SELECT EXISTS (SELECT FROM search) AS known, (SELECT count(*) FROM queued) AS queued
"""  # noqa: S608 - made of constants


async def insert(
    uow: UnitOfWork,
    *,
    transaction_id: str,
    token_id: str,
    account_id: str,
    message_id: str,
    intent: dict[str, Any],
    now: datetime,
) -> bool:
    """Keep a search and who asked for it; False when the account, if one is named, is not the token's."""
    tag: str = await uow.connection.execute(
        "INSERT INTO searches (transaction_id, token_id, account_id, message_id, intent, created_at)"
        " SELECT $1, $2, $3, $4, $5, $6 WHERE $3 = ''"
        " OR EXISTS (SELECT FROM customer_accounts WHERE account_id = $3 AND token_id = $2)",
        transaction_id, token_id, account_id, message_id, intent, now,
    )  # fmt: skip
    return tag == "INSERT 0 1"


async def get(uow: UnitOfWork, transaction_id: str, *, token_id: str | None) -> Mapping[str, Any] | None:
    """A search, if the token may see it; None for the operator's eyes on all."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT transaction_id, token_id, account_id, message_id, intent, created_at FROM searches"
        " WHERE transaction_id = $1 AND ($2::text IS NULL OR token_id = $2)",
        transaction_id, token_id,
    )  # fmt: skip
    return row


async def put_offers(
    uow: UnitOfWork,
    transaction_id: str,
    seller_id: str,
    offers: Sequence[tuple[str, str, str]],
    *,
    event: tuple[str, dict[str, Any]],
    now: datetime,
) -> int | None:
    """Keep a seller's offers for a search, (provider_id, offer_id, document as JSON text), and the event that tells.

    Returns how many webhooks have something to carry; None when there is no such search, and then nothing is kept.
    """
    columns = ([offer[n] for offer in offers] for n in range(3))
    row = await uow.connection.fetchrow(_PUT, transaction_id, seller_id, *columns, now, *event)
    return int(row["queued"]) if row["known"] else None


async def offers(uow: UnitOfWork, transaction_id: str) -> list[Mapping[str, Any]]:
    """The offers that came back for a search, by seller, provider and offer."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT seller_id, document, received_at FROM search_offers WHERE transaction_id = $1"
        " ORDER BY seller_id, provider_id, offer_id",
        transaction_id,
    )
    return rows


async def choice(
    uow: UnitOfWork,
    *,
    token_id: str,
    account_id: str,
    transaction_id: str,
    seller_id: str,
    provider_id: str,
    offer_id: str,
) -> Mapping[str, Any] | None:
    """An app's account (name, email, phone, currency, meter_id) and `offer`, one that a search of the app found.

    None when the app has no such account; `offer` is None when no search found it.
    """
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT name, email, phone, currency, meter_id, (SELECT o.document FROM search_offers o JOIN searches s"
        " USING (transaction_id) WHERE transaction_id = $3 AND seller_id = $4 AND provider_id = $5 AND offer_id = $6"
        " AND s.token_id = $1) AS offer FROM customer_accounts WHERE account_id = $2 AND token_id = $1",
        token_id, account_id, transaction_id, seller_id, provider_id, offer_id,
    )  # fmt: skip
    return row
