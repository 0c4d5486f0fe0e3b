"""Providers, assets and ratings in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from store import providers
from store.db import Database
from store.providers import Rating, StoredProvider
from tests.support.trade_cases import EVENING_BEFORE


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


def home(number: int, **changes: Any) -> StoredProvider:
    return StoredProvider(
        provider_id=changes.get("provider_id", f"home-{number}"),
        name=f"Home {number}",
        short_desc="Roof, south",
        image_url="",
        gps="34.1, -117.4",
        meter_id=changes.get("meter_id", f"meter-{number}"),
        rating=changes.get("rating", ""),
        rating_count=changes.get("rating_count", 0),
        delivered_per_mille=changes.get("delivered_per_mille"),
        settled=changes.get("settled", 0),
    )


async def add(database: Database, *added: StoredProvider) -> None:
    async with database.unit_of_work() as uow:
        for provider in added:
            await providers.add(uow, provider, now=EVENING_BEFORE)


async def test_a_provider_id_and_a_meter_are_taken_once(database: Database) -> None:
    await add(database, home(1))
    with pytest.raises(providers.ProviderExists) as refusal:
        await add(database, home(1, meter_id="meter-9"))
    assert refusal.value.field == "provider_id"
    with pytest.raises(providers.ProviderExists) as refusal:
        await add(database, home(2, meter_id="meter-1"))
    assert refusal.value.field == "meter_id"


async def test_providers_are_found_by_id_by_meter_and_in_pages(database: Database) -> None:
    await add(database, home(1), home(2))
    async with database.unit_of_work() as uow:
        assert await providers.get(uow, "home-1") == home(1)
        assert await providers.get(uow, "home-3") is None
        assert await providers.of_meter(uow, "meter-2") == home(2)
        assert await providers.of_meter(uow, "meter-3") is None
        assert await providers.list_for(uow, limit=1) == [home(1)]
        assert await providers.list_for(uow, after="home-1", limit=9) == [home(2)]


async def test_a_providers_rating_is_the_mean_of_each_buyers_newest(database: Database) -> None:
    await add(database, home(1))

    def rating(rater: str, value: str, category: str = "Provider", subject: str = "home-1") -> Rating:
        return Rating(rater, category, subject, "home-1", value, EVENING_BEFORE)

    async with database.unit_of_work() as uow:
        await providers.rate(uow, [rating("bap-a", "1"), rating("bap-b", "4"), rating("bap-a", "2", "Order", "o-1")])
        await providers.rate(uow, [rating("bap-a", "5")])
        assert await providers.get(uow, "home-1") == home(1, rating="4.5", rating_count=2)
        kept = await providers.ratings_of(uow, "home-1", limit=9)
        assert sorted((r.rater_id, r.category, r.value) for r in kept) == [
            ("bap-a", "Order", "2"),
            ("bap-a", "Provider", "5"),
            ("bap-b", "Provider", "4"),
        ]
        assert timedelta(0) == kept[0].at - EVENING_BEFORE


async def test_ratings_at_the_same_moment_all_count(database: Database) -> None:
    await add(database, home(1))

    async def rate(rater: str) -> None:
        async with database.unit_of_work() as uow:
            await providers.rate(uow, [Rating(rater, "Provider", "home-1", "home-1", "4", EVENING_BEFORE)])

    await asyncio.gather(*(rate(f"bap-{number}") for number in range(20)))
    async with database.unit_of_work() as uow:
        assert await providers.get(uow, "home-1") == home(1, rating="4.0", rating_count=20)


async def test_a_score_is_what_was_delivered_of_what_was_contracted(database: Database) -> None:
    await add(database, home(1))
    async with database.unit_of_work() as uow:
        await providers.add_score(uow, "home-1", 3000, 2000)
        assert await providers.get(uow, "home-1") == home(1, delivered_per_mille=666, settled=1)
        await providers.add_score(uow, "home-1", 1000, 1000)
        assert await providers.get(uow, "home-1") == home(1, delivered_per_mille=750, settled=2)
        await providers.add_score(uow, "home-1", 0, 500, settled=0)  # a reading was corrected
        assert await providers.get(uow, "home-1") == home(1, delivered_per_mille=875, settled=2)
