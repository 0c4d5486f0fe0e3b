"""Prosumer's desk, meters: readings in JSON and CSV, and what is known of a meter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.paging import Instant, ListOf, Page, Strict, cursor, read_cursor
from api.problems import ApiError
from api.series import InstantOut, SlotSeconds
from bpp import metering
from bpp.metering import Line
from bpp.scope import PROSUMER, find_meter
from store import readings
from trade.money import utc

#: Largest upload, bytes: LINES_MAX lines of the longer form.
UPLOAD_BYTES_MAX = 2_097_152


class ReadingIn(Strict):
    """Energy through the meter in one slot. Judged line by line: a bad one does not keep the others out."""

    starts_at: str | None = Field(default=None, max_length=64, description="Start of the slot, RFC 3339 with a zone")
    energy_wh: int | float | str | None = Field(default=None, description="Whole Wh, 0 or more")


class ReadingsIn(Strict):
    """Readings of one meter. As text/csv: lines of `starts_at,energy_wh[,flow]`, with `slot_s` and `flow` as query."""

    flow: Literal["EXPORT", "IMPORT"] | None = None
    slot_s: SlotSeconds | None = None
    readings: tuple[ReadingIn, ...] = Field(default=(), max_length=metering.LINES_MAX)
    csv: str | None = Field(default=None, max_length=UPLOAD_BYTES_MAX, description="The lines, as CSV text")


class UploadQuery(Strict):
    """What a CSV upload says about all its lines."""

    flow: Literal["EXPORT", "IMPORT"] = "EXPORT"
    slot_s: SlotSeconds = 3600


class RefusedLine(BaseModel):
    """A line that was not kept; lines of JSON are counted from 1."""

    line: int
    reason: str


class UploadOut(BaseModel):
    """What became of an upload."""

    accepted: int = Field(description="Slots reported for the first time")
    unchanged: int = Field(description="Slots reported before with the same energy")
    corrected: int = Field(description="Slots reported before with other energy; the old value is kept as history")
    refused: list[RefusedLine]


class ReadingOut(BaseModel):
    """The newest value of one slot."""

    starts_at: InstantOut
    slot_s: int
    energy_wh: int
    quality: str


class ReadingsOf(Page):
    """Query of a meter's readings: those that start in [start, end)."""

    flow: Literal["EXPORT", "IMPORT"] = "EXPORT"
    start: Instant | None = None
    end: Instant | None = None


Settle = Callable[[str], Awaitable[Any]]


def _from_csv(raw: bytes) -> ReadingsIn:
    try:
        return ReadingsIn(csv=raw.decode("utf-8-sig"))
    except UnicodeDecodeError as failure:
        raise ApiError(400, "The body is no UTF-8 text; save the CSV as UTF-8.", field="body") from failure


def _lines(body: ReadingsIn) -> list[Line]:
    if body.csv is None:
        return [
            Line(number, entry.starts_at or "", "" if entry.energy_wh is None else str(entry.energy_wh))
            for number, entry in enumerate(body.readings, start=1)
        ]
    try:
        return metering.read_csv(body.csv)
    except metering.CsvUnreadable as refusal:
        raise ApiError(422, f"The upload is refused: {refusal}.", field="body", limit=metering.LINES_MAX) from refusal


class Meters:
    """The calls of this module; `settle` is told of every meter that has new readings."""

    def __init__(self, settle: Settle) -> None:
        self._settle = settle

    async def upload(self, call: Call[ReadingsIn]) -> UploadOut:
        """Report what a meter measured, as JSON or CSV.

        Every line is judged by itself. Contracts that are now wholly measured are settled before the answer.
        """
        body, query, meter_id = call.body, call.query, call.path["meter_id"]
        found = metering.sort_lines(
            _lines(body),
            flow=body.flow or query.flow,
            slot_s=body.slot_s or query.slot_s,
            now_trading=call.node.trading.now(),
        )
        counts = [0, 0, 0]
        refused = list(found.refused)
        async with call.node.database.unit_of_work() as uow:
            await find_meter(call, uow, meter_id)
            for flow, of_flow in found.readings.items():
                added = await readings.add(uow, meter_id, flow, of_flow, call.now)
                refused += metering.overlaps(found, flow, added.overlapping)
                for index, count in enumerate((added.accepted, added.unchanged, added.corrected)):
                    counts[index] += count
        if found.readings[metering.EXPORT]:
            await self._settle(meter_id)
        return UploadOut(
            accepted=counts[0],
            unchanged=counts[1],
            corrected=counts[2],
            refused=[
                RefusedLine(line=entry.line, reason=entry.reason)
                for entry in sorted(refused, key=lambda entry: entry.line)
            ],
        )

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this module."""
        path, tags = "/api/meters/{meter_id}/readings", ["meters"]
        desk.route(
            "POST",
            path,
            role=PROSUMER,
            body=ReadingsIn,
            query=UploadQuery,
            answer=UploadOut,
            tags=tags,
            body_bytes_max=UPLOAD_BYTES_MAX,
            readers={"text/csv": _from_csv},
        )(self.upload)
        desk.route("GET", path, role=PROSUMER, query=ReadingsOf, answer=ListOf[ReadingOut], tags=tags)(list_readings)


async def list_readings(call: Call[None]) -> ListOf[ReadingOut]:
    """List a meter's readings in order of time, the newest version of each."""
    query, meter_id = call.query, call.path["meter_id"]
    start = utc(query.start) if query.start else None
    if after := read_cursor(query.after, count=1):
        start = _following(str(after[0]))
    async with call.node.database.unit_of_work() as uow:
        await find_meter(call, uow, meter_id)
        rows = await readings.list_for(
            uow, meter_id, query.flow, start=start, end=utc(query.end) if query.end else None, limit=query.limit
        )
    following = cursor(rows[-1].starts_at.isoformat()) if len(rows) == query.limit else None
    return ListOf[ReadingOut](
        items=[ReadingOut.model_validate(row, from_attributes=True) for row in rows], next=following
    )


def _following(text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text)) + timedelta(seconds=1)
    except ValueError as failure:
        raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after") from failure
