"""What meters measured, slot by slot. A correction is a new version of a slot; what was said before stays.

A reading that says again what is known changes nothing, so an upload can be repeated safely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.db import UnitOfWork
from trade.money import Series

#: Longest slot a reading may cover: how far back an overlapping one can begin.
SLOT_S_MAX = 86_400


@dataclass(frozen=True, slots=True)
class Reading:
    """Energy through a meter in [starts_at, starts_at + slot_s)."""

    starts_at: datetime
    slot_s: int
    energy_wh: int
    quality: str = "MEASURED"

    @property
    def ends_at(self) -> datetime:
        """The end of the slot (exclusive)."""
        return self.starts_at + timedelta(seconds=self.slot_s)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an upload: how many were new, said again, or corrected, and which slots were refused."""

    accepted: int
    unchanged: int
    corrected: int
    #: Starts of slots that overlap a slot measured before with another length or beginning.
    overlapping: tuple[datetime, ...]


async def add(uow: UnitOfWork, meter_id: str, flow: str, readings: Sequence[Reading], now: datetime) -> Added:
    """Keep readings of one meter and flow (EXPORT or IMPORT); `now` is the wall clock.

    The readings of one upload must not overlap each other. One upload per meter runs at a time.
    """
    if not readings:
        return Added(0, 0, 0, ())
    await uow.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('readings ' || $1, 0))", meter_id)
    known = {
        row["starts_at"]: row
        for row in await uow.connection.fetch(
            "SELECT DISTINCT ON (starts_at) starts_at, slot_s, energy_wh, version FROM readings"
            " WHERE meter_id = $1 AND flow = $2 AND starts_at > $3 AND starts_at < $4"
            " ORDER BY starts_at, version DESC",
            meter_id,
            flow,
            min(reading.starts_at for reading in readings) - timedelta(seconds=SLOT_S_MAX),
            max(reading.ends_at for reading in readings),
        )
    }
    overlapping = _overlapping(readings, [Reading(r["starts_at"], r["slot_s"], 0) for r in known.values()])
    new, unchanged, corrected = [], 0, 0
    for reading in readings:
        earlier = known.get(reading.starts_at)
        if reading.starts_at in overlapping:
            continue
        if earlier is None:
            new.append((reading, 1))
        elif earlier["energy_wh"] == reading.energy_wh:
            unchanged += 1
        else:
            corrected += 1
            new.append((reading, earlier["version"] + 1))
    if new:
        await uow.connection.execute(
            "INSERT INTO readings (meter_id, flow, starts_at, version, slot_s, energy_wh, quality, received_at)"
            " SELECT $1, $2, t.*, $8"
            " FROM unnest($3::timestamptz[], $4::int[], $5::int[], $6::bigint[], $7::text[]) AS t",
            meter_id,
            flow,
            [reading.starts_at for reading, _ in new],
            [version for _, version in new],
            [reading.slot_s for reading, _ in new],
            [reading.energy_wh for reading, _ in new],
            [reading.quality for reading, _ in new],
            now,
        )
    return Added(len(new) - corrected, unchanged, corrected, tuple(sorted(overlapping)))


async def series(uow: UnitOfWork, meter_id: str, flow: str, like: Series) -> list[int | None]:
    """The newest value for every slot of `like`, in Wh; None where the slot is not wholly measured.

    Readings of shorter slots are added up when together they fill the slot.
    """
    rows = await uow.connection.fetch(
        "SELECT DISTINCT ON (starts_at) starts_at, slot_s, energy_wh FROM readings"
        " WHERE meter_id = $1 AND flow = $2 AND starts_at >= $3 AND starts_at < $4 ORDER BY starts_at, version DESC",
        meter_id,
        flow,
        like.start,
        like.end,
    )
    covered_s, energy_wh = [0] * len(like.values), [0] * len(like.values)
    for row in rows:
        offset_s = int((row["starts_at"] - like.start).total_seconds())
        slot = offset_s // like.slot_s
        if offset_s + row["slot_s"] <= (slot + 1) * like.slot_s:
            covered_s[slot] += row["slot_s"]
            energy_wh[slot] += row["energy_wh"]
    return [e if s == like.slot_s else None for e, s in zip(energy_wh, covered_s, strict=True)]


async def list_for(
    uow: UnitOfWork,
    meter_id: str,
    flow: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int,
) -> list[Reading]:
    """The newest version of each reading that starts in [start, end), in order of time."""
    rows = await uow.connection.fetch(
        "SELECT DISTINCT ON (starts_at) starts_at, slot_s, energy_wh, quality FROM readings"
        " WHERE meter_id = $1 AND flow = $2 AND ($3::timestamptz IS NULL OR starts_at >= $3)"
        " AND ($4::timestamptz IS NULL OR starts_at < $4) ORDER BY starts_at, version DESC LIMIT $5",
        meter_id,
        flow,
        start,
        end,
        limit,
    )
    return [Reading(row["starts_at"], row["slot_s"], row["energy_wh"], row["quality"]) for row in rows]


def _overlapping(readings: Sequence[Reading], known: Sequence[Reading]) -> set[datetime]:
    """Starts of readings that share time with a known slot without being that very slot. Both are walked in order."""
    found = set()
    slots = sorted(known, key=lambda slot: slot.starts_at)
    first = 0
    for reading in sorted(readings, key=lambda reading: reading.starts_at):
        while first < len(slots) and slots[first].ends_at <= reading.starts_at:
            first += 1
        index = first
        while index < len(slots) and slots[index].starts_at < reading.ends_at:
            same = (slots[index].starts_at, slots[index].slot_s) == (reading.starts_at, reading.slot_s)
            if not same:
                found.add(reading.starts_at)
            index += 1
    return found
