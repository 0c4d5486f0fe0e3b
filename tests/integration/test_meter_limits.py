"""A meter's limit guards the sum of all its offers, in the database: refusals first, then crowds and two processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from bpp import shelf
from energy_catalog import offers as rules
from energy_catalog.offers import Offer
from store import meter_limits, offers
from store.db import Database
from store.meter_limits import LimitBelowTaken
from tests.support import meter_hammer
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Series


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=8)
    yield opened
    await opened.close()


async def publish(database: Database, *published: Offer) -> None:
    async with database.unit_of_work() as uow:
        for offer in published:
            await shelf.publish(uow, offer, now=EVENING_BEFORE)


async def limit(database: Database, export_w: int) -> None:
    async with database.unit_of_work() as uow:
        await meter_limits.set_limit(
            uow, "meter-7", export_w=export_w, now_trading=EVENING_BEFORE, now_wall=EVENING_BEFORE
        )


async def take(database: Database, offer_id: str, *held: int, sold: tuple[int, ...] = (0, 0, 0)) -> None:
    async with database.unit_of_work() as uow:
        offer = await shelf.lock_known(uow, offer_id)
        grid = offer.offered_wh
        await offers.save_taken(
            uow,
            offer_id=offer_id,
            offered_wh=grid,
            held_wh=grid.with_values(held),
            sold_wh=grid.with_values(sold),
        )


async def test_the_database_refuses_more_over_two_offers_than_their_meter_exports(database: Database) -> None:
    await publish(database, an_offer(), an_offer(offer_id="offer-2"), an_offer(offer_id="other", meter_id="meter-8"))
    await limit(database, 1500)
    await take(database, "offer-1", 500, 1000, 1500, sold=(500, 0, 0))
    await take(database, "offer-2", 500, 500, 0)  # to the last Wh of two slots
    for held in ((501, 500, 0), (500, 501, 0), (500, 500, 1)):
        with pytest.raises(asyncpg.CheckViolationError, match="meter-7 would export more"):
            await take(database, "offer-2", *held)
    await take(database, "other", 1000, 2000, 3000)  # another meter is not concerned
    await take(database, "offer-1", 0, 0, 0)
    await take(database, "offer-2", 1000, 1500, 1500)


async def test_a_new_offer_that_is_taken_already_is_counted_too(database: Database) -> None:
    await publish(database, an_offer(sold_wh=hours(1000, 0, 0)))
    await limit(database, 1000)
    with pytest.raises(asyncpg.CheckViolationError):
        await publish(database, an_offer(offer_id="offer-2", held_wh=hours(1, 0, 0)))
    await publish(database, an_offer(offer_id="offer-2", held_wh=hours(0, 1000, 0)))


async def test_slots_of_another_length_count_in_every_slot_that_they_touch(database: Database) -> None:
    quarters = Series(SLOT_START, 900, (250,) * 4)
    await publish(database, an_offer(), an_offer(offer_id="quarters", offered_wh=quarters))
    await limit(database, 1000)
    await take(database, "quarters", 200, 0, 0, 0, sold=(0, 0, 0, 100))
    with pytest.raises(asyncpg.CheckViolationError):
        await take(database, "offer-1", 701, 0, 0)
    await take(database, "offer-1", 700, 1000, 1000)


async def test_a_limit_below_what_is_taken_is_refused_and_names_the_slot(database: Database) -> None:
    await publish(database, an_offer(sold_wh=hours(0, 900, 0)), an_offer(offer_id="offer-2", held_wh=hours(0, 300, 0)))
    with pytest.raises(LimitBelowTaken) as refusal:
        await limit(database, 1199)
    assert (refusal.value.starts_at, refusal.value.over_wh) == (SLOT_START + timedelta(hours=1), 1)
    async with database.unit_of_work() as uow:
        assert await meter_limits.get(uow, "meter-7") is None  # nothing of it was kept
    await limit(database, 1200)
    async with database.unit_of_work() as uow:
        assert await meter_limits.get(uow, "meter-7") == 1200
        await meter_limits.drop_limit(uow, "meter-7")
    await take(database, "offer-2", 1000, 2000, 3000)


async def test_what_is_free_of_an_offer_is_what_its_meter_has_left(database: Database) -> None:
    await publish(database, an_offer(), an_offer(offer_id="offer-2"))
    async with database.unit_of_work() as uow:
        unlimited = await shelf.lock_known(uow, "offer-2")
        assert unlimited.meter_free_wh is None
    await limit(database, 1500)
    await take(database, "offer-1", 0, 200, 1500, sold=(700, 0, 0))
    async with database.unit_of_work() as uow:
        offer = await shelf.lock_known(uow, "offer-2")
        seen = await shelf.get(uow, "offer-2")
    assert offer == seen
    assert offer.meter_free_wh == hours(800, 1300, 0)
    assert offer.available_wh == hours(800, 1300, 0)
    held = rules.hold(offer, hours(800, 300, 0))
    assert held.available_wh == hours(0, 1000, 0)
    assert rules.unhold(held, hours(800, 0, 0)).available_wh == hours(800, 1000, 0)
    with pytest.raises(rules.UnableToTake):
        rules.hold(offer, hours(801, 0, 0))


async def test_a_limit_that_comes_while_energy_is_sold_counts_that_sale(database: Database) -> None:
    """A sale has locked its offer before there is a limit; setting one waits for it and then knows of it."""
    await publish(database, an_offer())
    async with database.unit_of_work() as uow:
        offer = await shelf.lock_known(uow, "offer-1")
        setting = asyncio.create_task(limit(database, 600))
        await asyncio.sleep(0.2)
        assert not setting.done()
        await shelf.save_taken(uow, rules.hold(offer, hours(601, 0, 0)))
    with pytest.raises(LimitBelowTaken):
        await setting


async def test_two_offers_of_one_meter_are_locked_by_crowds_without_a_deadlock(database: Database) -> None:
    await publish(database, an_offer(), an_offer(offer_id="offer-2"), an_offer(offer_id="a", meter_id="meter-8"))
    await limit(database, 3000)

    async def lock_both(*offer_ids: str) -> None:
        async with database.unit_of_work() as uow:
            locked = await shelf.lock_all(uow, offer_ids)
            for offer in locked.values():
                await shelf.save_taken(uow, offer)

    pairs = [("offer-1", "offer-2"), ("offer-2", "offer-1"), ("a", "offer-2"), ("offer-1", "a")] * 10
    async with asyncio.timeout(20):
        await asyncio.gather(*(lock_both(*pair) for pair in pairs))


async def test_two_processes_never_sell_more_than_the_meter_exports(database: Database, database_url: str) -> None:
    """Two replicas with five writers each take from three offers behind one meter until nothing is left."""
    await publish(
        database,
        *(an_offer(offer_id=name, offered_wh=hours(4000, 4000, 4000)) for name in meter_hammer.OFFERS),
    )
    await limit(database, 5000)
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.meter_hammer", database_url, "5", "60", str(seed)),
            stdout=asyncio.subprocess.PIPE,
        )
        for seed in (1, 2)
    ]
    async with asyncio.timeout(90):
        outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    taken_wh = sum(int(output) for output, _ in outputs)
    async with database.unit_of_work() as uow:
        shown = [await shelf.lock_known(uow, name) for name in meter_hammer.OFFERS]
    by_slot = [sum(offer.held_wh.values[slot] + offer.sold_wh.values[slot] for offer in shown) for slot in range(3)]
    most_wh = 5000 // meter_hammer.PORTION_WH * meter_hammer.PORTION_WH
    assert by_slot == [most_wh] * 3  # sold out, and not a portion more
    assert taken_wh == sum(by_slot)
