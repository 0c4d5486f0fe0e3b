"""Gateway: the searches it passed on, and what became of every copy (its outbox row)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.db import Database, UnitOfWork


@dataclass(frozen=True, slots=True)
class Search:
    """One search that came, and to how many sellers it went."""

    letter_id: str
    message_id: str
    bap_id: str
    destinations: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a search: to whom, and how it fared. `uncertain`: it may have arrived without our knowing."""

    message_id: str
    receiver_id: str
    url: str
    state: str
    attempts: int
    uncertain: bool
    outcome: dict[str, Any] | None
    finished_at: datetime | None


async def add(
    uow: UnitOfWork,
    *,
    letter_id: str,
    transaction_id: str,
    message_id: str,
    bap_id: str,
    destinations: int,
    received_at: datetime,
) -> None:
    """Note a search in the unit of work that queues its copies."""
    await uow.connection.execute(
        "INSERT INTO gateway_searches (letter_id, transaction_id, message_id, bap_id, destinations, received_at) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (letter_id) DO NOTHING",
        letter_id, transaction_id, message_id, bap_id, destinations, received_at,
    )  # fmt: skip


async def of_transaction(database: Database, transaction_id: str) -> list[Search]:
    """The searches of one transaction, oldest first."""
    rows = await database.pool.fetch(
        "SELECT letter_id, message_id, bap_id, destinations, received_at FROM gateway_searches "
        "WHERE transaction_id = $1 ORDER BY received_at, letter_id",
        transaction_id,
    )
    return [Search(*row) for row in rows]


async def copies(database: Database, transaction_id: str, *, limit: int) -> list[Copy]:
    """What became of the copies of a transaction's searches, in the order they were queued."""
    rows = await database.pool.fetch(
        "SELECT message_id, receiver_id, destination_url, state, attempts, uncertain, outcome, finished_at "
        "FROM outbox WHERE transaction_id = $1 AND action = 'search' ORDER BY seq LIMIT $2",
        transaction_id, limit,
    )  # fmt: skip
    return [Copy(*row) for row in rows]


async def unprocessed(database: Database, transaction_id: str) -> dict[str, str]:
    """Accepted searches that have not been passed on: letter_id to state, NEW or PARKED."""
    rows = await database.pool.fetch(
        "SELECT letter_id, state FROM inbox WHERE transaction_id = $1 AND action = 'search' AND state <> 'DONE'",
        transaction_id,
    )
    return {row[0]: row[1] for row in rows}
