"""Where imports of meter files stand: which chunks are in, and what became of each.

A chunk and its readings are kept in one unit of work, so after an interruption the next chunk is known exactly. What
was refused is kept by line: nothing of a file is lost, not even what was wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.db import UnitOfWork

OPEN, DONE = "OPEN", "DONE"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What became of one chunk; `refused` holds pairs of line and reason."""

    chunk: int
    digest: str
    accepted: int
    unchanged: int
    corrected: int
    refused: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a meter, with the sums over its chunks; `chunks` is also the number of the next one."""

    import_id: str
    name: str
    state: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    chunks: int
    accepted: int
    unchanged: int
    corrected: int
    refused: int


_IMPORT = (
    "SELECT i.import_id, i.name, i.state, i.started_by, i.started_at, i.finished_at, count(c.chunk)::int AS chunks,"
    " coalesce(sum(c.accepted), 0)::bigint AS accepted, coalesce(sum(c.unchanged), 0)::bigint AS unchanged,"
    " coalesce(sum(c.corrected), 0)::bigint AS corrected,"
    " coalesce(sum(jsonb_array_length(c.refused)), 0)::bigint AS refused"
    " FROM meter_imports i LEFT JOIN meter_import_chunks c USING (meter_id, import_id)"
)


async def open_(
    uow: UnitOfWork, meter_id: str, import_id: str, *, name: str, started_by: str, now: datetime
) -> tuple[Import, bool]:
    """The import of this digest, begun now if it is not known; whether it is new."""
    answer = await uow.connection.execute(
        "INSERT INTO meter_imports (meter_id, import_id, name, started_by, started_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING",
        meter_id, import_id, name, started_by, now,
    )  # fmt: skip
    found = await get(uow, meter_id, import_id)
    assert found is not None  # noqa: S101 - it was there, or is now
    return found, answer == "INSERT 0 1"


async def lock(uow: UnitOfWork, meter_id: str, import_id: str) -> None:
    """Let no other unit of work add chunks to this import until this one ends."""
    await uow.connection.execute(
        "SELECT 1 FROM meter_imports WHERE meter_id = $1 AND import_id = $2 FOR UPDATE", meter_id, import_id
    )


async def get(uow: UnitOfWork, meter_id: str, import_id: str) -> Import | None:
    """One import."""
    row = await uow.connection.fetchrow(
        f"{_IMPORT} WHERE i.meter_id = $1 AND i.import_id = $2 GROUP BY i.meter_id, i.import_id", meter_id, import_id
    )
    return None if row is None else Import(*row)


async def page(uow: UnitOfWork, meter_id: str, *, after: tuple[datetime, str] | None, limit: int) -> list[Import]:
    """Imports of a meter, newest first; `after` is the last one's (started_at, import_id)."""
    rows = await uow.connection.fetch(
        f"{_IMPORT} WHERE i.meter_id = $1 AND ($2::timestamptz IS NULL OR (i.started_at, i.import_id) < ($2, $3))"
        " GROUP BY i.meter_id, i.import_id ORDER BY i.started_at DESC, i.import_id DESC LIMIT $4",
        meter_id, after[0] if after else None, after[1] if after else None, limit,
    )  # fmt: skip
    return [Import(*row) for row in rows]


async def chunks(uow: UnitOfWork, meter_id: str, import_id: str, *, first: int = 0, limit: int) -> list[Chunk]:
    """What became of the chunks from `first` on."""
    rows = await uow.connection.fetch(
        "SELECT chunk, digest, accepted, unchanged, corrected, refused FROM meter_import_chunks"
        " WHERE meter_id = $1 AND import_id = $2 AND chunk >= $3 ORDER BY chunk LIMIT $4",
        meter_id, import_id, first, limit,
    )  # fmt: skip
    return [_chunk(row) for row in rows]


async def add_chunk(uow: UnitOfWork, meter_id: str, import_id: str, chunk: Chunk) -> None:
    """Keep what became of a chunk, with its readings in the same unit of work."""
    await uow.connection.execute(
        "INSERT INTO meter_import_chunks"
        " (meter_id, import_id, chunk, digest, accepted, unchanged, corrected, refused)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        meter_id, import_id, chunk.chunk, chunk.digest, chunk.accepted, chunk.unchanged, chunk.corrected,
        [list(pair) for pair in chunk.refused],
    )  # fmt: skip


async def finish(uow: UnitOfWork, meter_id: str, import_id: str, now: datetime) -> None:
    """Say that the last chunk is in."""
    await uow.connection.execute(
        "UPDATE meter_imports SET state = 'DONE', finished_at = $3 WHERE meter_id = $1 AND import_id = $2",
        meter_id, import_id, now,
    )  # fmt: skip


def _chunk(row: Any) -> Chunk:
    refused = tuple((int(line), str(reason)) for line, reason in row["refused"])
    return Chunk(row["chunk"], row["digest"], row["accepted"], row["unchanged"], row["corrected"], refused)
