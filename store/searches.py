"""What apps searched for and which offers came back; an offer is kept in its newest version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from store.db import UnitOfWork

_PUT = """
INSERT INTO search_offers (transaction_id, seller_id, provider_id, offer_id, document, received_at)
SELECT $1, $2, p, o, d::jsonb, $6 FROM unnest($3::text[], $4::text[], $5::text[]) AS x(p, o, d)
ON CONFLICT (transaction_id, seller_id, provider_id, offer_id)
DO UPDATE SET document = excluded.document, received_at = excluded.received_at
"""


async def insert(
    uow: UnitOfWork,
    *,
    transaction_id: str,
    token_id: str,
    account_id: str,
    message_id: str,
    intent: dict[str, Any],
    now: datetime,
) -> None:
    """Keep a search and who asked for it."""
    await uow.connection.execute(
        "INSERT INTO searches (transaction_id, token_id, account_id, message_id, intent, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        transaction_id, token_id, account_id, message_id, intent, now,
    )  # fmt: skip


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
    now: datetime,
) -> None:
    """Keep a seller's offers for a search: (provider_id, offer_id, document as JSON text), each pair once."""
    await uow.connection.execute(
        _PUT, transaction_id, seller_id, *([offer[n] for offer in offers] for n in range(3)), now
    )


async def offers(uow: UnitOfWork, transaction_id: str) -> list[Mapping[str, Any]]:
    """The offers that came back for a search, by seller, provider and offer."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT seller_id, document, received_at FROM search_offers WHERE transaction_id = $1"
        " ORDER BY seller_id, provider_id, offer_id",
        transaction_id,
    )
    return rows


async def offer(
    uow: UnitOfWork, *, token_id: str, transaction_id: str, seller_id: str, provider_id: str, offer_id: str
) -> dict[str, Any] | None:
    """One offer of a search of this app."""
    document: dict[str, Any] | None = await uow.connection.fetchval(
        "SELECT o.document FROM search_offers o JOIN searches s USING (transaction_id)"
        " WHERE transaction_id = $1 AND seller_id = $2 AND provider_id = $3 AND offer_id = $4 AND s.token_id = $5",
        transaction_id, seller_id, provider_id, offer_id, token_id,
    )  # fmt: skip
    return document
