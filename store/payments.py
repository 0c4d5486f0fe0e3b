"""Payments that were started with a payment provider, and the events it told of them, each once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class Session:
    """A payment that a consumer was sent to a provider for: OPEN, PAID, FAILED or EXPIRED."""

    session_id: str
    account_id: str
    amount_minor: int
    currency: str
    url: str
    state: str
    created_at: datetime
    finished_at: datetime | None


async def insert(
    uow: UnitOfWork, *, session_id: str, account_id: str, amount_minor: int, currency: str, url: str, now: datetime
) -> None:
    """Keep a payment that was started; a repeat changes nothing."""
    await uow.connection.execute(
        "INSERT INTO payment_sessions (session_id, account_id, amount_minor, currency, url, state, created_at)"
        " VALUES ($1, $2, $3, $4, $5, 'OPEN', $6) ON CONFLICT (session_id) DO NOTHING",
        session_id, account_id, amount_minor, currency, url, now,
    )  # fmt: skip


async def finish(uow: UnitOfWork, session_id: str, *, state: str, now: datetime) -> None:
    """Say how a payment ended; one that is paid stays paid, whatever comes later."""
    await uow.connection.execute(
        "UPDATE payment_sessions SET state = $2, finished_at = $3 WHERE session_id = $1 AND state <> 'PAID'",
        session_id, state, now,
    )  # fmt: skip


async def of_account(uow: UnitOfWork, account_id: str, *, limit: int) -> list[Session]:
    """An account's payments, newest first."""
    rows = await uow.connection.fetch(
        "SELECT session_id, account_id, amount_minor, currency, url, state, created_at, finished_at"
        " FROM payment_sessions WHERE account_id = $1 ORDER BY created_at DESC, session_id LIMIT $2",
        account_id,
        limit,
    )
    return [Session(**dict(row)) for row in rows]


async def take_event(uow: UnitOfWork, event_id: str, *, kind: str, outcome: str, now: datetime) -> bool:
    """Keep an event; False when it was told before."""
    done: str = await uow.connection.execute(
        "INSERT INTO payment_events (event_id, kind, outcome, received_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (event_id) DO NOTHING",
        event_id, kind, outcome, now,
    )  # fmt: skip
    return done == "INSERT 0 1"
