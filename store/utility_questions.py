"""BPP: what was asked of a utility about an order, and which letter of the buyer waits for the answer.

A question belongs to its order: it is changed only by whoever has the order locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from store.db import UnitOfWork

_COLUMNS = "transaction_id, order_id, utility_id, action, buyer_message_id, asked_at, due_at"


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation with a utility: `action` is the last that was asked in it (init or confirm).

    `due_at` is when to stop waiting, or to ask again (wall clock); None once it is answered.
    """

    transaction_id: str
    order_id: str
    utility_id: str
    action: str
    buyer_message_id: str
    asked_at: datetime
    due_at: datetime | None


async def save(uow: UnitOfWork, question: Question) -> None:
    """Keep a question, new or changed."""
    q = question
    await uow.connection.execute(
        f"INSERT INTO utility_questions ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
        " ON CONFLICT (transaction_id) DO UPDATE SET action = $4, buyer_message_id = $5, asked_at = $6, due_at = $7",
        q.transaction_id, q.order_id, q.utility_id, q.action, q.buyer_message_id, q.asked_at, q.due_at,
    )  # fmt: skip


async def get(uow: UnitOfWork, transaction_id: str) -> Question | None:
    """The question asked in a conversation; None when there is none."""
    row = await uow.connection.fetchrow(
        f"SELECT {_COLUMNS} FROM utility_questions WHERE transaction_id = $1",  # noqa: S608
        transaction_id,
    )
    return None if row is None else Question(*row)


async def due(uow: UnitOfWork, *, now: datetime, after: tuple[datetime, str] | None, limit: int) -> list[Question]:
    """Questions that have waited long enough, the longest first, after the last of the page before."""
    rows = await uow.connection.fetch(
        f"SELECT {_COLUMNS} FROM utility_questions WHERE due_at <= $1"  # noqa: S608
        " AND ($2::timestamptz IS NULL OR (due_at, transaction_id) > ($2, $3))"
        " ORDER BY due_at, transaction_id LIMIT $4",
        now, *(after or (None, "")), limit,
    )  # fmt: skip
    return [Question(*row) for row in rows]
