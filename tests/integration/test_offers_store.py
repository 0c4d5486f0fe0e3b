"""Offers in a real database: never oversold whatever the code above does, found by one indexed query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import timedelta
from typing import cast

import asyncpg
import pytest

from energy_catalog.offers import Offer
from store import offers
from store.db import Database
from store.offers import StoredOffer
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Series


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


def stored(offer: Offer) -> StoredOffer:
    return cast(StoredOffer, {field.name: getattr(offer, field.name) for field in fields(offer)})


async def publish(database: Database, *published: Offer) -> None:
    async with database.unit_of_work() as uow:
        for number, offer in enumerate(published):
            await offers.publish(uow, stored(offer), now=EVENING_BEFORE + timedelta(seconds=number))


async def test_an_offer_id_is_published_once(database: Database) -> None:
    await publish(database, an_offer())
    with pytest.raises(offers.OfferExists):
        await publish(database, an_offer())


@pytest.mark.parametrize(
    ("held", "sold"),
    [((1001, 0, 0), (0, 0, 0)), ((500, 0, 0), (501, 0, 0)), ((-1, 0, 0), (0, 0, 0)), ((0, 0), (0, 0, 0))],
    ids=["held above", "held and sold above", "negative", "another length"],
)
async def test_the_database_itself_refuses_to_take_more_than_is_offered(
    database: Database, held: tuple[int, ...], sold: tuple[int, ...]
) -> None:
    await publish(database, an_offer())
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.unit_of_work() as uow:
            await offers.save_taken(
                uow, offer_id="offer-1", offered_wh=hours(1000, 2000, 3000), held_wh=hours(*held), sold_wh=hours(*sold)
            )


async def test_saving_an_offer_that_was_never_published_is_refused(database: Database) -> None:
    async with database.unit_of_work() as uow:
        with pytest.raises(offers.OfferMissing):
            await offers.save(uow, stored(an_offer()), now=EVENING_BEFORE)
        with pytest.raises(offers.OfferMissing):
            await offers.save_taken(uow, offer_id="offer-1", offered_wh=hours(1), held_wh=hours(0), sold_wh=hours(0))


async def test_an_offer_comes_back_exactly_as_it_was_published(database: Database) -> None:
    await publish(database, an_offer())
    async with database.unit_of_work() as uow:
        assert await offers.get(uow, "offer-1") == stored(an_offer())
        assert await offers.lock(uow, "offer-1") == stored(an_offer())
        assert await offers.get(uow, "offer-2") is None


async def test_a_changed_offer_is_saved_whole(database: Database) -> None:
    await publish(database, an_offer())
    changed = an_offer(wheeling_micro_per_kwh=1, order_wh_max=5, sold_wh=hours(10, 0, 0), cancellation_terms=())
    async with database.unit_of_work() as uow:
        await offers.save(uow, stored(changed), now=EVENING_BEFORE)
        assert await offers.get(uow, "offer-1") == stored(changed)


async def test_offers_are_locked_until_the_unit_of_work_ends(database: Database) -> None:
    """Fifty units of work each take 100 Wh of 1000 under lock: ten succeed, whichever they are."""
    await publish(database, an_offer(offered_wh=hours(1000)))

    async def take() -> bool:
        async with database.unit_of_work() as uow:
            offer = await offers.lock(uow, "offer-1")
            assert offer is not None
            if offer["held_wh"].total + 100 > offer["offered_wh"].total:
                return False
            held = hours(offer["held_wh"].total + 100)
            await offers.save_taken(
                uow, offer_id="offer-1", offered_wh=offer["offered_wh"], held_wh=held, sold_wh=offer["sold_wh"]
            )
            return True

    taken = await asyncio.gather(*(take() for _ in range(50)))
    assert sum(taken) == 10


async def test_several_offers_are_locked_in_order_of_id(database: Database) -> None:
    await publish(database, an_offer(), an_offer(offer_id="offer-2"))
    async with database.unit_of_work() as uow:
        assert list(await offers.lock_all(uow, ["offer-2", "offer-1", "offer-1", "no-offer"])) == [
            "offer-1",
            "offer-2",
        ]


async def test_lists_are_pages_newest_first(database: Database) -> None:
    await publish(database, *(an_offer(offer_id=f"offer-{n}", provider_id=f"home-{n % 2}") for n in range(1, 5)))
    async with database.unit_of_work() as uow:
        first = await offers.list_for(uow, limit=3)
        assert [row["offer_id"] for row in first] == ["offer-4", "offer-3", "offer-2"]
        rest = await offers.list_for(uow, after="offer-2", limit=3)
        assert [row["offer_id"] for row in rest] == ["offer-1"]
        odd = await offers.list_for(uow, provider_id="home-1", limit=3)
        assert [row["offer_id"] for row in odd] == ["offer-3", "offer-1"]


@pytest.mark.parametrize(
    ("series", "clashes"),
    [
        (hours(1, 1), False),
        (hours(1, start=SLOT_START + timedelta(minutes=30)), True),
        (Series(SLOT_START, 900, (1,) * 4), True),
        (Series(SLOT_START + timedelta(hours=3), 900, (1,) * 4), False),
    ],
    ids=["the same slots", "slots that begin elsewhere", "shorter slots", "another time"],
)
async def test_one_meter_sells_in_one_grid_of_slots(database: Database, series: Series, clashes: bool) -> None:
    await publish(database, an_offer())
    async with database.unit_of_work() as uow:
        assert await offers.has_other_slots(uow, meter_id="meter-7", series=series) is clashes
        assert not await offers.has_other_slots(uow, meter_id="meter-8", series=series)
