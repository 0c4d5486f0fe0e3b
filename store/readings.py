"""What meters said, slot by slot. A correction, an estimate or an edit is a new version; what was said before stays.

Readings are taken one after the other, as they were sent: a file cut into any chunks leaves the same versions behind,
and sent again it changes nothing. A measurement that only repeats the last measurement of its slot does not undo an
edit or bring back what was put right.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from store.db import UnitOfWork
from trade.money import Series
from trade.reading import EDITED, ESTIMATED, MEASURED, SLOT_S_MAX, Reading

__all__ = [
    "Added",
    "Change",
    "Reading",
    "Version",
    "add",
    "changed_since",
    "list_for",
    "series",
    "series_with_quality",
    "versions",
]

_DAY = timedelta(seconds=SLOT_S_MAX)
#: Above every version: a list of the newest goes on with the next slot.
_VERSION_MAX = 2**31 - 1
#: Worst first: what a slot made of several readings is called.
_WORST_FIRST = (ESTIMATED, EDITED, MEASURED)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an upload: how many were new, said again, or corrected, and which were refused.

    `overlapping` holds the places, in the upload, of readings whose slot overlaps one known with other bounds.
    """

    accepted: int
    unchanged: int
    corrected: int
    overlapping: tuple[int, ...]
    #: From the first to the last slot that got a new version; None when nothing changed.
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of what is known of a slot."""

    reading: Reading
    version: int
    received_at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Change:
    """Slots of a meter that adjoin each other and have new versions."""

    starts_at: datetime
    ends_at: datetime


@dataclass(slots=True)
class _Known:
    """The newest version of a slot, and what was measured last."""

    slot_s: int
    version: int
    energy_wh: int
    quality: str
    measured_wh: int | None

    def says(self, reading: Reading) -> bool:
        """True when this reading says nothing new."""
        if reading.quality == MEASURED:
            return self.measured_wh == reading.energy_wh
        return (self.energy_wh, self.quality) == (reading.energy_wh, reading.quality)


def _measured_wh(known: _Known | None) -> int | None:
    return None if known is None else known.measured_wh


class _Slots:
    """The slots of one meter and flow over some time: no two overlap."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._slots: dict[datetime, _Known] = {}
        for row in rows:  # in order of time and version
            earlier = self._slots.get(row["starts_at"])
            measured_wh = row["energy_wh"] if row["quality"] == MEASURED else _measured_wh(earlier)
            self._slots[row["starts_at"]] = _Known(
                row["slot_s"], row["version"], row["energy_wh"], row["quality"], measured_wh
            )
        self._starts = sorted(self._slots)

    def version_for(self, reading: Reading) -> int:
        """The version this reading becomes; 0 when it says nothing new, -1 when its slot overlaps another."""
        starts_at = reading.starts_at
        known = self._slots.get(starts_at)
        measured_wh = reading.energy_wh if reading.quality == MEASURED else _measured_wh(known)
        if known is not None:
            if known.slot_s != reading.slot_s:
                return -1
            if known.says(reading):
                return 0
        elif self._overlaps(reading):
            return -1
        else:
            insort(self._starts, starts_at)
        version = known.version + 1 if known is not None else 1
        self._slots[starts_at] = _Known(reading.slot_s, version, reading.energy_wh, reading.quality, measured_wh)
        return version

    def _overlaps(self, reading: Reading) -> bool:
        place = bisect_left(self._starts, reading.starts_at)
        if place < len(self._starts) and self._starts[place] < reading.ends_at:
            return True
        if not place:
            return False
        before = self._starts[place - 1]
        return before + timedelta(seconds=self._slots[before].slot_s) > reading.starts_at


async def add(
    uow: UnitOfWork, meter_id: str, flow: str, readings: Sequence[Reading], now: datetime, *, source: str = ""
) -> Added:
    """Keep readings of one meter and flow (EXPORT or IMPORT), in their order; `now` is the wall clock.

    `source` names the upload or import. One upload per meter runs at a time.
    """
    if not readings:
        return Added(0, 0, 0, ())
    await uow.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('readings ' || $1, 0))", meter_id)
    slots = _Slots(await _around(uow, meter_id, flow, readings))
    new: list[tuple[Reading, int]] = []
    overlapping: list[int] = []
    corrected = 0
    for place, reading in enumerate(readings):
        version = slots.version_for(reading)
        if version < 0:
            overlapping.append(place)
        elif version:
            corrected += version > 1
            new.append((reading, version))
    if new:
        await _insert(uow, meter_id, flow, new, now=now, source=source)
    return Added(
        len(new) - corrected,
        len(readings) - len(new) - len(overlapping),
        corrected,
        tuple(overlapping),
        min((reading.starts_at for reading, _ in new), default=None),
        max((reading.ends_at for reading, _ in new), default=None),
    )


async def _around(uow: UnitOfWork, meter_id: str, flow: str, readings: Sequence[Reading]) -> list[Any]:
    """Every version of the slots that these readings could touch, in order; far apart readings are asked for apart."""
    spans: list[list[datetime]] = []
    for reading in sorted(readings, key=lambda reading: reading.starts_at):
        if spans and reading.starts_at - _DAY <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], reading.ends_at)
        else:
            spans.append([reading.starts_at - _DAY, reading.ends_at])
    rows: list[Any] = await uow.connection.fetch(
        "SELECT r.starts_at, r.slot_s, r.energy_wh, r.quality, r.version"
        " FROM unnest($3::timestamptz[], $4::timestamptz[]) AS span (after, before)"
        " JOIN readings r ON r.meter_id = $1 AND r.flow = $2 AND r.starts_at > span.after AND r.starts_at < span.before"
        " ORDER BY r.starts_at, r.version",
        meter_id,
        flow,
        [after for after, _ in spans],
        [before for _, before in spans],
    )
    return rows


async def _insert(
    uow: UnitOfWork, meter_id: str, flow: str, new: Sequence[tuple[Reading, int]], *, now: datetime, source: str
) -> None:
    await uow.connection.execute(
        "INSERT INTO readings"
        " (meter_id, flow, starts_at, version, slot_s, energy_wh, quality, reason, received_at, source)"
        " SELECT $1, $2, t.*, $9, $10"
        " FROM unnest($3::timestamptz[], $4::int[], $5::int[], $6::bigint[], $7::text[], $8::text[]) AS t",
        meter_id,
        flow,
        [reading.starts_at for reading, _ in new],
        [version for _, version in new],
        [reading.slot_s for reading, _ in new],
        [reading.energy_wh for reading, _ in new],
        [reading.quality for reading, _ in new],
        [reading.reason for reading, _ in new],
        now,
        source,
    )


async def series(uow: UnitOfWork, meter_id: str, flow: str, like: Series) -> list[int | None]:
    """The newest value for every slot of `like`, in Wh; None where the slot is not wholly measured.

    Readings of shorter slots are added up when together they fill the slot.
    """
    return [value for value, _ in await series_with_quality(uow, meter_id, flow, like)]


async def series_with_quality(
    uow: UnitOfWork, meter_id: str, flow: str, like: Series
) -> list[tuple[int, str] | tuple[None, str]]:
    """Like `series`, with the quality of each value: the worst of the readings it is made of (empty without one)."""
    covered_s, energy_wh = [0] * len(like.values), [0] * len(like.values)
    qualities: list[set[str]] = [set() for _ in like.values]
    for reading in await list_for(uow, meter_id, flow, start=like.start, end=like.end):
        offset_s = int((reading.starts_at - like.start).total_seconds())
        slot = offset_s // like.slot_s
        if offset_s + reading.slot_s <= (slot + 1) * like.slot_s:
            covered_s[slot] += reading.slot_s
            energy_wh[slot] += reading.energy_wh
            qualities[slot].add(reading.quality)
    return [
        (wh, next(quality for quality in _WORST_FIRST if quality in found)) if seconds == like.slot_s else (None, "")
        for wh, seconds, found in zip(energy_wh, covered_s, qualities, strict=True)
    ]


async def list_for(
    uow: UnitOfWork,
    meter_id: str,
    flow: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int | None = None,
) -> list[Reading]:
    """The newest version of each reading that starts in [start, end), in order of time."""
    found = await versions(uow, meter_id, flow, start=start, end=end, limit=limit)
    return [each.reading for each in found]


async def versions(
    uow: UnitOfWork,
    meter_id: str,
    flow: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    history: bool = False,
) -> list[Version]:
    """What is known of slots that start in [start, end): the newest version of each or, with `history`, every one.

    `after` is the (starts_at, version) of the last one seen.
    """
    rows = await uow.connection.fetch(
        f"SELECT {'' if history else 'DISTINCT ON (starts_at)'}"  # noqa: S608
        " starts_at, slot_s, energy_wh, quality, reason, version, received_at, source FROM readings"
        " WHERE meter_id = $1 AND flow = $2 AND ($3::timestamptz IS NULL OR starts_at >= $3)"
        " AND ($4::timestamptz IS NULL OR starts_at < $4)"
        " AND ($5::timestamptz IS NULL OR (starts_at, version) > ($5, $6))"
        f" ORDER BY starts_at, version {'' if history else 'DESC'} LIMIT $7",
        meter_id,
        flow,
        start,
        end,
        after[0] if after else None,
        after[1] if after and history else _VERSION_MAX,
        limit,
    )
    return [
        Version(
            Reading(row["starts_at"], row["slot_s"], row["energy_wh"], row["quality"], row["reason"]),
            row["version"],
            row["received_at"],
            row["source"],
        )
        for row in rows
    ]


async def changed_since(
    uow: UnitOfWork, meter_id: str, flow: str, since: datetime, *, start: datetime, end: datetime
) -> list[Change]:
    """Which slots that start in [start, end) got a new version after `since` (wall clock), as adjoining stretches.

    For whoever settled at `since` and asks whether there is anything to settle again.
    """
    rows = await uow.connection.fetch(
        "SELECT DISTINCT starts_at, slot_s FROM readings WHERE meter_id = $1 AND flow = $2 AND starts_at >= $3"
        " AND starts_at < $4 AND received_at > $5 ORDER BY starts_at",
        meter_id,
        flow,
        start,
        end,
        since,
    )
    found: list[Change] = []
    for row in rows:
        starts_at: datetime = row["starts_at"]
        ends_at = starts_at + timedelta(seconds=row["slot_s"])
        if found and found[-1].ends_at == starts_at:
            found[-1] = Change(found[-1].starts_at, ends_at)
        else:
            found.append(Change(starts_at, ends_at))
    return found
