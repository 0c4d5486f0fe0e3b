"""Meter readings in a real database: repeats change nothing, corrections are versions, overlaps are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import readings
from store.db import Database
from store.readings import Added, Change, Reading
from tests.support.trade_cases import SLOT_START, hours

HOUR = timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


async def add(database: Database, *added: Reading, flow: str = "EXPORT", at: datetime = SLOT_START) -> Added:
    async with database.unit_of_work() as uow:
        return await readings.add(uow, "meter-7", flow, added, at, source="upload 1")


async def test_a_reading_that_overlaps_another_slot_is_refused(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900))
    quarter = Reading(SLOT_START + timedelta(minutes=45), 900, 100)
    longer = Reading(SLOT_START, 7200, 100)
    earlier = Reading(SLOT_START - timedelta(minutes=30), 3600, 100)
    next_hour = Reading(SLOT_START + HOUR, 3600, 100)
    for overlapping in (quarter, longer, earlier):
        assert await add(database, overlapping) == Added(0, 0, 0, (0,))
    added = await add(database, quarter, next_hour)
    assert (added.accepted, added.overlapping) == (1, (0,))
    assert (added.starts_at, added.ends_at) == (next_hour.starts_at, next_hour.ends_at)


async def test_saying_a_reading_again_changes_nothing(database: Database) -> None:
    reading = Reading(SLOT_START, 3600, 900)
    assert (await add(database, reading)).accepted == 1
    assert await add(database, reading) == Added(0, 1, 0, ())
    assert await add(database) == Added(0, 0, 0, ())


async def test_a_correction_is_a_new_version_and_the_old_one_stays(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900))
    assert (await add(database, Reading(SLOT_START, 3600, 950))).corrected == 1
    async with database.unit_of_work() as uow:
        assert await readings.series(uow, "meter-7", "EXPORT", hours(0)) == [950]
        versions = await uow.connection.fetch("SELECT version, energy_wh FROM readings ORDER BY version")
        assert [tuple(row) for row in versions] == [(1, 900), (2, 950)]
        assert await readings.list_for(uow, "meter-7", "EXPORT", limit=9) == [Reading(SLOT_START, 3600, 950)]


async def test_a_slot_not_wholly_measured_has_no_value(database: Database) -> None:
    quarters = [Reading(SLOT_START + HOUR + timedelta(minutes=15 * n), 900, 10 + n) for n in range(4)]
    await add(database, Reading(SLOT_START, 3600, 900), *quarters[:3])
    async with database.unit_of_work() as uow:
        assert await readings.series(uow, "meter-7", "EXPORT", hours(0, 0)) == [900, None]
    await add(database, quarters[3])
    async with database.unit_of_work() as uow:
        assert await readings.series(uow, "meter-7", "EXPORT", hours(0, 0)) == [900, 46]


async def test_import_and_export_are_two_series(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900))
    await add(database, Reading(SLOT_START, 3600, 5), flow="IMPORT")
    async with database.unit_of_work() as uow:
        assert await readings.series(uow, "meter-7", "IMPORT", hours(0)) == [5]
        assert await readings.series(uow, "meter-8", "IMPORT", hours(0)) == [None]


async def test_readings_are_listed_by_time(database: Database) -> None:
    await add(database, *(Reading(SLOT_START + n * HOUR, 3600, n) for n in range(4)))
    async with database.unit_of_work() as uow:
        middle = await readings.list_for(
            uow, "meter-7", "EXPORT", start=SLOT_START + HOUR, end=SLOT_START + 3 * HOUR, limit=9
        )
        assert [reading.energy_wh for reading in middle] == [1, 2]
        assert len(await readings.list_for(uow, "meter-7", "EXPORT", limit=1)) == 1


async def test_a_measurement_said_again_does_not_undo_an_edit(database: Database) -> None:
    measured = Reading(SLOT_START, 3600, 900)
    edited = Reading(SLOT_START, 3600, 950, "EDITED", "the seal was broken")
    await add(database, measured)
    assert (await add(database, edited)).corrected == 1
    assert await add(database, measured, edited) == Added(0, 2, 0, ())
    async with database.unit_of_work() as uow:
        assert await readings.list_for(uow, "meter-7", "EXPORT") == [edited]
    assert (await add(database, Reading(SLOT_START, 3600, 901))).corrected == 1


async def test_a_measurement_takes_the_place_of_an_estimate_even_of_the_same_size(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900, "ESTIMATED", "on the line"))
    assert (await add(database, Reading(SLOT_START, 3600, 900))).corrected == 1
    async with database.unit_of_work() as uow:
        known = await readings.versions(uow, "meter-7", "EXPORT", history=True)
    assert [(each.version, each.reading.quality, each.reading.reason, each.source) for each in known] == [
        (1, "ESTIMATED", "on the line", "upload 1"),
        (2, "MEASURED", "", "upload 1"),
    ]


async def test_a_slot_is_as_good_as_the_worst_reading_in_it(database: Database) -> None:
    halves = [
        Reading(SLOT_START + n * HOUR / 2, 1800, 10, q) for n, q in enumerate(("MEASURED", "ESTIMATED", "EDITED"))
    ]
    await add(database, *halves, Reading(SLOT_START + 3 * HOUR / 2, 1800, 1))
    async with database.unit_of_work() as uow:
        found = await readings.series_with_quality(uow, "meter-7", "EXPORT", hours(0, 0, 0))
    assert found == [(20, "ESTIMATED"), (11, "EDITED"), (None, "")]


async def test_what_changed_since_is_told_in_stretches(database: Database) -> None:
    await add(database, *(Reading(SLOT_START + n * HOUR, 3600, n) for n in range(6)))
    corrected = [Reading(SLOT_START + n * HOUR, 3600, 99) for n in (1, 2, 4)]
    await add(database, *corrected, at=SLOT_START + HOUR)
    async with database.unit_of_work() as uow:
        window = {"start": SLOT_START, "end": SLOT_START + 6 * HOUR}
        assert await readings.changed_since(uow, "meter-7", "EXPORT", SLOT_START, **window) == [
            Change(SLOT_START + HOUR, SLOT_START + 3 * HOUR),
            Change(SLOT_START + 4 * HOUR, SLOT_START + 5 * HOUR),
        ]
        assert await readings.changed_since(uow, "meter-7", "EXPORT", SLOT_START + HOUR, **window) == []


@settings(max_examples=25, deadline=None)
@given(
    said=st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from((900, 1800, 3600)), st.integers(0, 2)), min_size=1, max_size=30
    ),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_it_does_not_matter_into_which_chunks_a_file_is_cut(
    module_database_url: str, said: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    """Sent whole as one flow and in chunks as the other: the same versions. What holds, sent again, changes nothing."""
    sent = [Reading(SLOT_START + n * timedelta(minutes=15), slot_s, wh) for n, slot_s, wh in said]

    async def bring_in() -> None:
        database = await Database.connect(module_database_url, pool_max=1)
        try:
            async with database.connection() as connection:
                await connection.execute("DELETE FROM readings")
            await add(database, *sent, flow="EXPORT")
            bounds = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
            for first, end in pairwise(bounds):
                await add(database, *sent[first:end], flow="IMPORT")
            async with database.unit_of_work() as uow:
                whole = await readings.versions(uow, "meter-7", "EXPORT", history=True)
                assert await readings.versions(uow, "meter-7", "IMPORT", history=True) == whole
                newest = await readings.list_for(uow, "meter-7", "EXPORT")
            assert await add(database, *newest) == Added(0, len(newest), 0, ())
        finally:
            await database.close()

    asyncio.run(bring_in())
