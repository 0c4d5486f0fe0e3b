"""Who did what when: added to in the transaction that did it, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.db import Database, UnitOfWork


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: `actor` did `act` to `subject`; `detail` says how and why."""

    seq: int
    at: datetime
    actor: str
    act: str
    subject: str
    detail: dict[str, Any]


async def add(uow: UnitOfWork, *, actor: str, act: str, subject: str, detail: dict[str, Any], now: datetime) -> None:
    """Write down an act in the unit of work that carries it out."""
    await uow.connection.execute(
        "INSERT INTO audit (at, actor, act, subject, detail) VALUES ($1, $2, $3, $4, $5)",
        now, actor, act, subject, detail,
    )  # fmt: skip


async def page(database: Database, *, subject: str, before: int | None, limit: int) -> list[Entry]:
    """Entries newest first, of one subject or (empty) of all, older than seq `before`."""
    rows = await database.pool.fetch(
        "SELECT seq, at, actor, act, subject, detail FROM audit "
        "WHERE ($1 = '' OR subject = $1) AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
        subject, before, limit,
    )  # fmt: skip
    return [Entry(*row) for row in rows]
