"""Files too long for one request: brought in chunk by chunk, gone on with after an interruption, in once.

The sender reads the file and sends its rows in chunks of a fixed number. An import is named by the digest of the file
and of how it is read, so whoever sends the same file again is told where it stands. A chunk, its readings and what was
refused of it are kept in one unit of work; a chunk that is sent again is answered from there and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from api.desk import Answer, Call, Desk
from api.meter_models import (
    CHUNK_BYTES_MAX,
    CHUNK_ROWS,
    CHUNKS_MAX,
    ChunkIn,
    ChunkOut,
    ImportIn,
    ImportOut,
)
from api.meter_uploads import Judged, judge
from api.paging import ListOf, Page, cursor, read_cursor
from api.problems import ApiError, conflict, not_found
from energy_catalog.meter_files.entries import Found
from store import audit, meter_imports, readings
from store.db import UnitOfWork
from store.meter_imports import Chunk, Import
from trade.reading import Reading

_TAGS = ["meters"]
MeterOf = Callable[[Call[Any], UnitOfWork], Awaitable[str]]
After = Callable[[Call[Any], str, dict[str, readings.Added]], Awaitable[None]]


class Imports:
    """The calls of this module: `meter_of` finds the path's meter, `after` is told what changed."""

    def __init__(self, meter_of: MeterOf, after: After) -> None:
        self._meter_of, self._after = meter_of, after

    def add_routes(self, desk: Desk, roles: Sequence[str]) -> None:
        """Give the desk the calls about imports."""
        path = "/api/meters/{meter_id}/imports"
        one = f"{path}/{{import_id}}"
        desk.route("POST", path, role=roles, body=ImportIn, answer=ImportOut, tags=_TAGS)(self.begin)
        desk.route("GET", path, role=roles, query=Page, answer=ListOf[ImportOut], tags=_TAGS)(self.list_imports)
        desk.route("GET", one, role=roles, answer=ImportOut, tags=_TAGS)(self.get_import)
        desk.route("GET", f"{one}/chunks", role=roles, query=Page, answer=ListOf[ChunkOut], tags=_TAGS)(
            self.list_chunks
        )
        desk.route(
            "PUT",
            f"{one}/chunks/{{chunk}}",
            role=roles,
            body=ChunkIn,
            answer=ChunkOut,
            tags=_TAGS,
            body_bytes_max=CHUNK_BYTES_MAX,
        )(self.put_chunk)

    async def begin(self, call: Call[ImportIn]) -> Answer:
        """Begin to bring in a file, or learn where its import stands: the answer's `chunks` is the next chunk."""
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._meter_of(call, uow)
            kept, is_new = await meter_imports.open_(
                uow, meter_id, call.body.import_id, name=call.body.name, started_by=call.token.actor, now=call.now
            )
            if is_new:
                detail = {"import_id": kept.import_id, "name": kept.name}
                await audit.add(
                    uow, actor=call.token.actor, act="import", subject=f"meter:{meter_id}", detail=detail, now=call.now
                )
        return Answer(ImportOut.of(kept), status=201 if is_new else 200)

    async def list_imports(self, call: Call[None]) -> ListOf[ImportOut]:
        """List the imports of a meter, newest first."""
        after = read_cursor(call.query.after, count=2)
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._meter_of(call, uow)
            found = await meter_imports.page(
                uow,
                meter_id,
                after=(_instant(after[0]), str(after[1])) if after else None,
                limit=call.query.limit,
            )
        last = found[-1] if len(found) == call.query.limit else None
        return ListOf[ImportOut](
            items=[ImportOut.of(each) for each in found],
            next=last and cursor(last.started_at.isoformat(), last.import_id),
        )

    async def get_import(self, call: Call[None]) -> ImportOut:
        """Show where an import stands."""
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._meter_of(call, uow)
            return ImportOut.of(await _find(uow, meter_id, call.path["import_id"]))

    async def list_chunks(self, call: Call[None]) -> ListOf[ChunkOut]:
        """List what became of an import's chunks, with every refused row by its line, in order."""
        after = read_cursor(call.query.after, count=1)
        if after and not isinstance(after[0], int):
            raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after")
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._meter_of(call, uow)
            kept = await _find(uow, meter_id, call.path["import_id"])
            first = int(after[0]) + 1 if after else 0
            found = await meter_imports.chunks(uow, meter_id, kept.import_id, first=first, limit=call.query.limit)
        more = len(found) == call.query.limit
        return ListOf[ChunkOut](
            items=[ChunkOut.of(each) for each in found], next=cursor(found[-1].chunk) if more else None
        )

    async def put_chunk(self, call: Call[ChunkIn]) -> ChunkOut:
        """Bring in the next chunk of a file; one that is in already is answered as it was the first time."""
        number, digest = _number(call.path["chunk"]), hashlib.sha256(call.raw).hexdigest()
        added: dict[str, readings.Added] = {}
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._meter_of(call, uow)
            await meter_imports.lock(uow, meter_id, call.path["import_id"])
            kept = await _find(uow, meter_id, call.path["import_id"])
            if number < kept.chunks:
                return ChunkOut.of(await _repeated(uow, meter_id, kept, number, digest))
            _check_next(kept, number, call.body)
            judged = _judged(call.body, call.node.trading.now())
            for flow, of_flow in judged.readings.items():
                source = f"import {kept.import_id}"
                added[flow] = await readings.add(uow, meter_id, flow, of_flow, call.now, source=source)
                judged.refuse_overlapping(flow, added[flow].overlapping)
            chunk = Chunk(
                number,
                digest,
                sum(each.accepted for each in added.values()),
                sum(each.unchanged for each in added.values()),
                sum(each.corrected for each in added.values()),
                tuple(sorted(judged.refused)),
            )
            await meter_imports.add_chunk(uow, meter_id, kept.import_id, chunk)
            if call.body.last:
                await meter_imports.finish(uow, meter_id, kept.import_id, call.now)
        await self._after(call, meter_id, added)
        return ChunkOut.of(chunk)


async def _find(uow: UnitOfWork, meter_id: str, import_id: str) -> Import:
    kept = await meter_imports.get(uow, meter_id, import_id)
    if kept is None:
        raise not_found("import", import_id)
    return kept


async def _repeated(uow: UnitOfWork, meter_id: str, kept: Import, number: int, digest: str) -> Chunk:
    """What became of a chunk that is in; 409 when it held something else."""
    [chunk] = await meter_imports.chunks(uow, meter_id, kept.import_id, first=number, limit=1)
    if chunk.digest != digest:
        raise conflict(
            f"Chunk {number} of this import is in already, with other rows; read the file as it was read at first.",
            field="chunk",
        )
    return chunk


def _check_next(kept: Import, number: int, body: ChunkIn) -> None:
    if kept.state == meter_imports.DONE:
        raise conflict("This import is done; there is nothing to add to it.", field="import_id")
    if number != kept.chunks:
        raise conflict(
            f"Chunk {number} is not the next one; send chunk {kept.chunks}.", field="chunk", next=kept.chunks
        )
    count = len(body.rows) + len(body.refused)
    if count > CHUNK_ROWS or (count < CHUNK_ROWS and not body.last):
        raise ApiError(
            422,
            f"A chunk has {CHUNK_ROWS} rows, good and bad together, only the last may have fewer; this has {count}.",
            field="rows",
            limit=CHUNK_ROWS,
        )


def _judged(body: ChunkIn, now_trading: datetime) -> Judged:
    rows = (
        Found(line, flow, Reading(datetime.fromtimestamp(start_s, UTC), slot_s, energy_wh, quality))
        for line, start_s, slot_s, energy_wh, flow, quality in body.rows
    )
    judged = judge(rows, now_trading=now_trading)
    judged.refused += body.refused
    return judged


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 6 and int(text) < CHUNKS_MAX:
        return int(text)
    raise ApiError(422, f"Chunks are numbered from 0 to {CHUNKS_MAX - 1}.", field="chunk", limit=CHUNKS_MAX)


def _instant(text: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(str(text))
        if instant.tzinfo is None:
            raise ValueError
        return instant
    except ValueError as failure:
        raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after") from failure
