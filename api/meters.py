"""The meter calls of both nodes: readings in, what is known and what looks wrong, estimates, edits, imports.

A seller's meter earns and a buyer's meter pays, so both nodes have the same calls. A node says who may act for a meter
(`Keeper.find`), which flow is meant when nobody says one, and what happens after readings changed (`Keeper.settle`,
called once the readings are committed: whatever it does can be done again later by the node's jobs).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from api import meter_uploads as uploads
from api.desk import Call, Desk
from api.meter_imports import Imports
from api.meter_models import (
    FINDINGS_MAX,
    JUDGED_MAX,
    UPLOAD_BYTES_MAX,
    CostOut,
    EditsIn,
    EstimatedReading,
    EstimateIn,
    EstimateOut,
    FindingOut,
    FindingsOf,
    FindingsOut,
    ReadingOut,
    ReadingsIn,
    ReadingsOf,
    UploadOut,
    UploadQuery,
    lines_of,
)
from api.meter_uploads import Judged
from api.paging import ListOf, cursor, read_cursor
from api.problems import ApiError
from energy_catalog.meter_files.entries import Unreadable
from energy_catalog.meter_files.values import zone_named
from store import audit, readings
from store.db import UnitOfWork
from trade import vee
from trade.meter_ids import MeterIdRefused, bare_meter_id
from trade.money import decimal_text, utc
from trade.reading import EDITED, ESTIMATED, MEASURED, Reading, shown

#: Longest stretch that is estimated at once.
ESTIMATE_MAX = timedelta(days=62)
_TAGS = ["meters"]
_XML = ("application/atom+xml", "application/xml", "text/xml")
_CSV = "text/csv"
#: How finely a feed says its costs: hundred-thousandths of the currency.
_COST_PLACES = 5

#: Raises 403 or 404 when the caller may not act for this meter, or there is none.
Find = Callable[[Call[Any], UnitOfWork, str], Awaitable[Any]]
#: Told of a meter, the flow and the slots that have new versions, after they are committed.
Settle = Callable[[Call[Any], str, str, datetime, datetime], Awaitable[Any]]
#: The most power the meter's connection or assets allow in that flow, watts; 0: not known.
Rated = Callable[[UnitOfWork, str, str], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Keeper:
    """What a node adds to the calls: `roles` may make them, `flow` is meant when nobody says one."""

    roles: tuple[str, ...]
    flow: str
    find: Find
    settle: Settle
    rated_w: Rated

    async def meter_of(self, call: Call[Any], uow: UnitOfWork) -> str:
        """The bare id of the meter in the path, if the caller may act for it; raises ApiError."""
        try:
            meter_id = bare_meter_id(call.path["meter_id"])
        except MeterIdRefused as refusal:
            raise ApiError(422, f"The path's meter id {refusal}.", field="meter_id") from refusal
        await self.find(call, uow, meter_id)
        return meter_id

    async def after(self, call: Call[Any], meter_id: str, added: dict[str, readings.Added]) -> None:
        """Tell the node's settlement what changed."""
        for flow, what in added.items():
            if what.starts_at is not None and what.ends_at is not None:
                await self.settle(call, meter_id, flow, what.starts_at, what.ends_at)


class Meters:
    """The calls of this module, for one node."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def add_routes(self, desk: Desk) -> None:
        """Give the desk the calls about meters."""
        roles, path = self._keeper.roles, "/api/meters/{meter_id}"
        desk.route(
            "POST",
            f"{path}/readings",
            role=roles,
            body=ReadingsIn,
            query=UploadQuery,
            answer=UploadOut,
            tags=_TAGS,
            body_bytes_max=UPLOAD_BYTES_MAX,
            readers={_CSV: _text, **dict.fromkeys(_XML, _feed)},
        )(self.upload)
        desk.route("GET", f"{path}/readings", role=roles, query=ReadingsOf, answer=ListOf[ReadingOut], tags=_TAGS)(
            self.list_readings
        )
        desk.route("GET", f"{path}/findings", role=roles, query=FindingsOf, answer=FindingsOut, tags=_TAGS)(
            self.list_findings
        )
        desk.route("POST", f"{path}/estimate", role=roles, body=EstimateIn, answer=EstimateOut, tags=_TAGS)(
            self.estimate
        )
        desk.route("POST", f"{path}/edits", role=roles, body=EditsIn, answer=UploadOut, tags=_TAGS)(self.edit)
        Imports(self._keeper.meter_of, self._keeper.after).add_routes(desk, roles)

    async def upload(self, call: Call[ReadingsIn]) -> UploadOut:
        """Report what a meter measured: JSON lines, a CSV file with its mapping, or a Green Button (ESPI) feed.

        Every value is judged by itself; an upload may be repeated. What the readings settle is settled before the
        answer.
        """
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._keeper.meter_of(call, uow)
        flow = call.body.flow or call.query.flow or self._keeper.flow
        try:
            judged = await asyncio.to_thread(_judged, call, flow, call.node.trading.now())
        except Unreadable as refusal:
            raise ApiError(422, f"The upload is refused: {refusal}.", field="body") from refusal
        added: dict[str, readings.Added] = {}
        async with call.node.database.unit_of_work() as uow:
            for its_flow, of_flow in judged.readings.items():
                source = f"upload {call.request_id}"
                added[its_flow] = await readings.add(uow, meter_id, its_flow, of_flow, call.now, source=source)
                judged.refuse_overlapping(its_flow, added[its_flow].overlapping)
        await self._keeper.after(call, meter_id, added)
        return _upload_out(judged, added)

    async def list_readings(self, call: Call[None]) -> ListOf[ReadingOut]:
        """List a meter's readings in order of time: the newest version of each or, with `history`, all of them."""
        query = call.query
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._keeper.meter_of(call, uow)
            found = await readings.versions(
                uow,
                meter_id,
                query.flow or self._keeper.flow,
                start=utc(query.start) if query.start else None,
                end=utc(query.end) if query.end else None,
                after=_after(query.after),
                limit=query.limit,
                history=query.history,
            )
        items = [ReadingOut.of(each) for each in found]
        last = found[-1] if len(found) == query.limit else None
        return ListOf[ReadingOut](items=items, next=last and cursor(last.reading.starts_at.isoformat(), last.version))

    async def list_findings(self, call: Call[None]) -> FindingsOut:
        """Say what looks wrong in a range: gaps, duplicates, spikes, roll-overs, suspicious units, runs of zeros."""
        query = call.query
        flow = query.flow or self._keeper.flow
        _check_zone(query.zone)
        start, end = (utc(value) if value else None for value in (query.start, query.end))
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._keeper.meter_of(call, uow)
            known = await readings.versions(
                uow, meter_id, flow, start=start, end=end, limit=JUDGED_MAX + 1, history=True
            )
            rated_w = query.rated_w or await self._keeper.rated_w(uow, meter_id, flow)
        if len(known) > JUDGED_MAX:
            raise ApiError(
                422,
                f"The range holds more than {JUDGED_MAX} readings; ask for less at once.",
                field="end",
                limit=JUDGED_MAX,
            )
        zero_run_s = vee.DAY_S if flow == "IMPORT" else 3 * vee.DAY_S
        newest = {version.reading.starts_at: version for version in known}
        found = await asyncio.to_thread(
            vee.validate,
            _said_twice(known) + [version.reading for version in newest.values()],
            start=start,
            end=min(end, call.node.trading.now()) if end else None,
            zone=query.zone,
            limits=vee.Limits(rated_w=rated_w, zero_run_s=zero_run_s),
        )
        found = [finding for finding in found if query.kind in (None, finding.kind)]
        qualities = [version.reading.quality for version in newest.values()]
        return FindingsOut(
            slot_s=vee.slot_length_s(version.reading for version in newest.values()),
            measured=qualities.count(MEASURED),
            estimated=qualities.count(ESTIMATED),
            edited=qualities.count(EDITED),
            counts={kind: sum(finding.kind == kind for finding in found) for kind in vee.Kind},
            findings=[FindingOut.of(finding) for finding in found[:FINDINGS_MAX]],
        )

    async def estimate(self, call: Call[EstimateIn]) -> EstimateOut:
        """Fill the gaps of a range with estimates, marked as such; a measurement that comes later takes their place."""
        body, flow = call.body, call.body.flow or self._keeper.flow
        start, end = utc(body.start), min(utc(body.end), call.node.trading.now())
        _check_zone(body.zone)
        if not timedelta(0) < end - start <= ESTIMATE_MAX:
            raise ApiError(
                422,
                f"'end' must be after 'start', no more than {ESTIMATE_MAX.days} days later and not still to come.",
                field="end",
                limit=ESTIMATE_MAX.days,
            )
        reach = timedelta(days=vee.LIKE_DAYS_REACH)
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._keeper.meter_of(call, uow)
            known = await readings.list_for(uow, meter_id, flow, start=start - reach, end=end + reach)
            inside = [reading for reading in known if reading.ends_at > start and reading.starts_at < end]
            missing = vee.gaps(inside, start=start, end=end)
            made = await asyncio.to_thread(vee.estimate, known, missing, method=body.method, zone=body.zone)
            source = f"estimate {call.request_id}"
            added = await readings.add(uow, meter_id, flow, made.readings, call.now, source=source)
            detail = {"flow": flow, "start": shown(start), "end": shown(end), "method": body.method.value}
            await self._audit(call, uow, "estimate", meter_id, {**detail, "slots": added.accepted})
        await self._keeper.after(call, meter_id, {flow: added})
        return EstimateOut(
            estimated=[EstimatedReading.model_validate(each, from_attributes=True) for each in made.readings],
            left=[FindingOut.of(finding) for finding in made.left],
        )

    async def edit(self, call: Call[EditsIn]) -> UploadOut:
        """Put values right, with a reason. What was there stays as the earlier version, and the audit names both."""
        body, flow = call.body, call.body.flow or self._keeper.flow
        judged, changes = Judged(), []
        async with call.node.database.unit_of_work() as uow:
            meter_id = await self._keeper.meter_of(call, uow)
            starts = [utc(line.starts_at) for line in body.readings]
            known = await readings.list_for(
                uow, meter_id, flow, start=min(starts), end=max(starts) + timedelta(seconds=1)
            )
            earlier = {reading.starts_at: reading for reading in known}
            for number, (starts_at, line) in enumerate(zip(starts, body.readings, strict=True), start=1):
                before = earlier.get(starts_at)
                if before is None:
                    reason = "no reading starts then; upload it, or have the gap estimated"
                    judged.refused.append((number, reason))
                    continue
                judged.readings[flow].append(vee.edit(before, energy_wh=line.energy_wh, reason=body.reason))
                judged.lines[flow].append(number)
                changes.append([shown(starts_at), before.energy_wh, line.energy_wh])
            source = f"edit {call.request_id}"
            added = await readings.add(uow, meter_id, flow, judged.readings[flow], call.now, source=source)
            if changes:
                detail = {"flow": flow, "reason": body.reason, "slots": changes}
                await self._audit(call, uow, "edit", meter_id, detail)
        await self._keeper.after(call, meter_id, {flow: added})
        return _upload_out(judged, {flow: added})

    async def _audit(self, call: Call[Any], uow: UnitOfWork, act: str, meter_id: str, detail: dict[str, Any]) -> None:
        await audit.add(uow, actor=call.token.actor, act=act, subject=f"meter:{meter_id}", detail=detail, now=call.now)


def _text(raw: bytes) -> ReadingsIn:
    try:
        return ReadingsIn(csv=raw.decode("utf-8-sig"))
    except UnicodeDecodeError as failure:
        raise ApiError(400, "The body is no UTF-8 text; save the CSV as UTF-8.", field="body") from failure


def _feed(_raw: bytes) -> ReadingsIn:
    """A feed is read from the bytes as they came; there is nothing to check before."""
    return ReadingsIn()


def _judged(call: Call[ReadingsIn], flow: str, now_trading: datetime) -> Judged:
    """The upload's values, judged; raises Unreadable. Runs beside the node's own work: a file takes a while."""
    body, query = call.body, call.query
    if call.request.content_type in _XML:
        return uploads.judge_espi(call.raw, flow=flow, now_trading=now_trading)
    if body.csv is not None:
        document = body.mapping if body.mapping is not None else uploads.mapping_document(query.mapping)
        entries = uploads.of_csv(
            body.csv,
            document=document,
            flow=flow,
            slot_s=body.slot_s or query.slot_s,
            zone=body.zone or query.zone,
        )
    else:
        entries = uploads.of_lines(body.readings, flow=flow, slot_s=body.slot_s or query.slot_s or vee.HOUR_S)
    return uploads.judge(entries, now_trading=now_trading)


def _upload_out(judged: Judged, added: dict[str, readings.Added]) -> UploadOut:
    cost = None
    if judged.cost_e5 is not None:
        cost = CostOut(currency=judged.currency, amount=decimal_text(judged.cost_e5, places=_COST_PLACES))
    return UploadOut(
        accepted=sum(each.accepted for each in added.values()),
        unchanged=sum(each.unchanged for each in added.values()),
        corrected=sum(each.corrected for each in added.values()),
        refused=lines_of(judged.refused),
        cost=cost,
    )


def _said_twice(known: list[readings.Version]) -> list[Reading]:
    """Earlier versions that came with the same upload as the next one: the source contradicts itself."""
    return [
        earlier.reading
        for earlier, later in pairwise(known)
        if earlier.source and (earlier.source, earlier.reading.starts_at) == (later.source, later.reading.starts_at)
    ]


def _check_zone(name: str) -> None:
    try:
        zone_named(name)
    except Unreadable as refusal:
        raise ApiError(422, f"'zone' is refused: {refusal}.", field="zone") from refusal


def _after(text: str | None) -> tuple[datetime, int] | None:
    parts = read_cursor(text, count=2)
    if parts is None:
        return None
    try:
        return utc(datetime.fromisoformat(str(parts[0]))), int(parts[1])
    except ValueError as failure:
        raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after") from failure
