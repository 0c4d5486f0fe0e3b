"""Letters that came to rest: undeliverable, parked, or copies of a fan-out; for operators to see and to send again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from store.db import UnitOfWork

_SHOWN = (
    "seq, letter_id, destination_url, receiver_id, action, message_id, transaction_id, state, attempts, uncertain,"
    " created_at, give_up_at, next_at, finished_at, outcome"
)


async def outgoing(
    uow: UnitOfWork, *, state: str = "", transaction_id: str = "", after: int = 0, limit: int = 100
) -> list[Mapping[str, Any]]:
    """Outbox rows without their bodies, oldest first, after seq `after`; of one state or transaction if given."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"SELECT {_SHOWN} FROM outbox"  # noqa: S608 - a constant
        " WHERE seq > $1 AND ($2 = '' OR state = $2) AND ($3 = '' OR transaction_id = $3) ORDER BY seq LIMIT $4",
        after,
        state,
        transaction_id,
        limit,
    )
    return rows


async def copies(uow: UnitOfWork, letter_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The outbox rows with these letter ids, without their bodies."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"SELECT {_SHOWN} FROM outbox WHERE letter_id = ANY($1) ORDER BY seq",  # noqa: S608 - a constant
        list(letter_ids),
    )
    return rows


async def resend(uow: UnitOfWork, seqs: Sequence[int], *, now: datetime, deliver_for_s: float) -> list[int]:
    """Queue DEAD letters again, to be tried for `deliver_for_s` from now; the seqs that were dead and now wait."""
    rows = await uow.connection.fetch(
        "UPDATE outbox SET state = 'QUEUED', next_at = $2, give_up_at = $3, finished_at = NULL, claimed_by = NULL,"
        " claimed_until = NULL WHERE seq = ANY($1) AND state = 'DEAD' RETURNING seq",
        list(seqs),
        now,
        now + timedelta(seconds=deliver_for_s),
    )
    return sorted(row[0] for row in rows)


async def parked(uow: UnitOfWork, *, limit: int = 100) -> list[Mapping[str, Any]]:
    """Letters received that could not be processed, newest first, without their bodies."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT letter_id, signer_id, action, message_id, transaction_id, received_at, attempts, error, finished_at"
        " FROM inbox WHERE state = 'PARKED' ORDER BY received_at DESC LIMIT $1",
        limit,
    )
    return rows


async def process_again(uow: UnitOfWork, letter_ids: Sequence[str]) -> list[str]:
    """Let PARKED letters be processed again; the ids that were parked and now wait."""
    rows = await uow.connection.fetch(
        "UPDATE inbox SET state = 'NEW', attempts = 0, finished_at = NULL, claimed_by = NULL, claimed_until = NULL"
        " WHERE letter_id = ANY($1) AND state = 'PARKED' RETURNING letter_id",
        list(letter_ids),
    )
    return sorted(row[0] for row in rows)
