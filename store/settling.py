"""Meters with news: noted by the database with every reading, and by whoever wants a meter looked at again.

A note is a range of time on one meter and flow. It is struck once everything in it was looked at, unless more news came
meanwhile; so whoever settles may crash, or run twice, and nothing is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class Note:
    """A meter and flow (EXPORT or IMPORT) with news between two instants; `notes` counts how often it was noted."""

    meter_id: str
    flow: str
    starts_at: datetime
    ends_at: datetime
    notes: int


async def note(uow: UnitOfWork, meter_id: str, flow: str, start: datetime, end: datetime) -> None:
    """Have a meter looked at again."""
    await uow.connection.execute(
        "INSERT INTO meters_read AS m (meter_id, flow, starts_at, ends_at, notes) VALUES ($1, $2, $3, $4, 1)"
        " ON CONFLICT (meter_id, flow) DO UPDATE SET starts_at = least(m.starts_at, excluded.starts_at),"
        " ends_at = greatest(m.ends_at, excluded.ends_at), notes = m.notes + 1",
        meter_id,
        flow,
        start,
        end,
    )


async def noted(
    uow: UnitOfWork, flow: str, *, meter_id: str | None = None, after: str = "", limit: int = 1
) -> list[Note]:
    """Notes of one flow in order of meter from `after` on, or those of one meter."""
    rows = await uow.connection.fetch(
        "SELECT meter_id, flow, starts_at, ends_at, notes FROM meters_read WHERE flow = $1"
        " AND ($2::text IS NULL OR meter_id = $2) AND meter_id > $3 ORDER BY meter_id LIMIT $4",
        flow,
        meter_id,
        after,
        limit,
    )
    return [Note(*row) for row in rows]


async def strike(uow: UnitOfWork, done: Note) -> bool:
    """Forget a note that was dealt with; False when more news has come since."""
    answer = await uow.connection.execute(
        "DELETE FROM meters_read WHERE meter_id = $1 AND flow = $2 AND notes = $3", done.meter_id, done.flow, done.notes
    )
    return bool(answer == "DELETE 1")
