"""Named series that offers refer to: day-ahead prices, carbon intensity of grids. The last version of a slot wins.

`PRICE` values are micro-units of the index's currency per kWh and may be negative; `CARBON` values are mg CO2 per kWh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.db import UnitOfWork
from trade.price_rules import Point

PRICE, CARBON = "PRICE", "CARBON"


class CurrencyDiffers(Exception):
    """An index keeps its currency; `currency` is the one it has."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"the index is in {currency}")
        self.currency = currency


@dataclass(frozen=True, slots=True)
class Index:
    """One index; `first` and `last` bound its points, None when it has none. `currency` is empty for carbon."""

    name: str
    currency: str
    note: str
    updated_at: datetime
    first: datetime | None = None
    last: datetime | None = None


async def put(
    uow: UnitOfWork, kind: str, name: str, *, points: Sequence[Point], currency: str, note: str, now: datetime
) -> None:
    """Write points into an index, made if need be; slots that they touch are replaced. Raises CurrencyDiffers.

    `points` share no time with each other. `now` is the wall clock.
    """
    kept = await uow.connection.fetchval(
        "INSERT INTO indices (kind, name, currency, note, updated_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (kind, name) DO UPDATE SET note = CASE excluded.note WHEN '' THEN indices.note"
        " ELSE excluded.note END, updated_at = excluded.updated_at RETURNING currency",
        kind,
        name,
        currency,
        note,
        now,
    )
    if kept != currency:
        raise CurrencyDiffers(kept)
    columns = [[getattr(point, column) for point in points] for column in ("start", "slot_s", "value")]
    ends = [point.end for point in points]
    await uow.connection.execute(
        "DELETE FROM index_points AS old USING unnest($3::timestamptz[], $4::timestamptz[]) AS new (starts_at, ends_at)"
        " WHERE kind = $1 AND name = $2 AND old.starts_at < new.ends_at AND old.starts_at > new.starts_at - interval"
        " '32 days' AND old.starts_at + old.slot_s * interval '1 s' > new.starts_at",
        kind,
        name,
        columns[0],
        ends,
    )
    await uow.connection.execute(
        "INSERT INTO index_points (kind, name, starts_at, slot_s, value)"
        " SELECT $1, $2, * FROM unnest($3::timestamptz[], $4::integer[], $5::bigint[])",
        kind,
        name,
        *columns,
    )


async def get(uow: UnitOfWork, kind: str, name: str) -> Index | None:
    """The index of this name."""
    found = await _list(uow, kind, "name = $2", name)
    return found[0] if found else None


async def list_for(uow: UnitOfWork, kind: str, *, after: str | None = None, limit: int) -> list[Index]:
    """Indices in order of name; `after` is the last name of the page before."""
    return await _list(uow, kind, "name > $2 ORDER BY name LIMIT $3", after or "", limit)


async def points(
    uow: UnitOfWork, kind: str, name: str, *, start: datetime, end: datetime, limit: int | None = None
) -> list[Point]:
    """The points that touch [start, end), in order of time."""
    rows = await uow.connection.fetch(
        "SELECT starts_at, slot_s, value FROM index_points WHERE kind = $1 AND name = $2 AND starts_at < $4"
        " AND starts_at > $5 AND starts_at + slot_s * interval '1 s' > $3 ORDER BY starts_at LIMIT $6",
        kind,
        name,
        start,
        end,
        start - timedelta(days=32),
        limit,
    )
    return [Point(row["starts_at"], row["slot_s"], row["value"]) for row in rows]


async def _list(uow: UnitOfWork, kind: str, condition: str, *arguments: object) -> list[Index]:
    rows = await uow.connection.fetch(
        "SELECT name, currency, note, updated_at,"  # noqa: S608
        " (SELECT min(starts_at) FROM index_points AS p WHERE p.kind = i.kind AND p.name = i.name) AS first,"
        " (SELECT max(starts_at + slot_s * interval '1 s') FROM index_points AS p"
        " WHERE p.kind = i.kind AND p.name = i.name) AS last"
        f" FROM indices AS i WHERE kind = $1 AND {condition}",
        kind,
        *arguments,
    )
    return [Index(**dict(row)) for row in rows]
