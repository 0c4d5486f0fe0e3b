"""Meter readings in a real database: repeats change nothing, corrections are versions, overlaps are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from store import readings
from store.db import Database
from store.readings import Added, Reading
from tests.support.trade_cases import SLOT_START, hours

HOUR = timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


async def add(database: Database, *added: Reading, flow: str = "EXPORT") -> Added:
    async with database.unit_of_work() as uow:
        return await readings.add(uow, "meter-7", flow, added, SLOT_START)


async def test_a_reading_that_overlaps_another_slot_is_refused(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900))
    quarter = Reading(SLOT_START + timedelta(minutes=45), 900, 100)
    longer = Reading(SLOT_START, 7200, 100)
    earlier = Reading(SLOT_START - timedelta(minutes=30), 3600, 100)
    next_hour = Reading(SLOT_START + HOUR, 3600, 100)
    for overlapping in (quarter, longer, earlier):
        assert await add(database, overlapping) == Added(0, 0, 0, (overlapping.starts_at,))
    assert await add(database, next_hour) == Added(1, 0, 0, ())


async def test_saying_a_reading_again_changes_nothing(database: Database) -> None:
    reading = Reading(SLOT_START, 3600, 900)
    assert await add(database, reading) == Added(1, 0, 0, ())
    assert await add(database, reading) == Added(0, 1, 0, ())
    assert await add(database) == Added(0, 0, 0, ())


async def test_a_correction_is_a_new_version_and_the_old_one_stays(database: Database) -> None:
    await add(database, Reading(SLOT_START, 3600, 900))
    assert await add(database, Reading(SLOT_START, 3600, 950)) == Added(0, 0, 1, ())
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
