"""Offers that may answer a search, out of a real database: what is filtered there, in which order, by which index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bpp import shelf
from bpp.shelf import Faces
from energy_catalog import matching
from energy_catalog.offers import Intent, Offer, OfferState, Source
from store import offer_search, providers
from store.db import Database
from store.offer_search import Wish
from store.providers import Rating, StoredProvider
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Series
from trade.price_rules import PriceKind, PriceModel, Tier

DAY = timedelta(days=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


def provider(provider_id: str, gps: str = "34.1, -117.4") -> StoredProvider:
    return StoredProvider(
        provider_id=provider_id,
        name=provider_id,
        short_desc="",
        image_url="",
        gps=gps,
        meter_id=f"meter of {provider_id}",
        rating="",
        rating_count=0,
        delivered_per_mille=None,
        settled=0,
    )


async def publish(database: Database, *published: Offer) -> None:
    async with database.unit_of_work() as uow:
        for offer in published:
            await shelf.publish(uow, offer, now=EVENING_BEFORE)


async def found(database: Database, *, now: Any = EVENING_BEFORE, **wishes: Any) -> list[str]:
    async with database.unit_of_work() as uow:
        batch = await offer_search.candidates(uow, Wish(**wishes), now=now, by=None, after=None, limit=50)
    return [offer["offer_id"] for offer in batch.offers]


def flat(offer_id: str, price_micro: int, **changes: Any) -> Offer:
    offer = an_offer(offer_id=offer_id, **changes)
    return replace(offer, price_micro_per_kwh=Series.flat(offer.offered_wh, price_micro))


async def test_the_cheapest_come_first_whatever_else_they_are(database: Database) -> None:
    await publish(database, flat("dear", 300_000), flat("cheap", 100_000), an_offer(), flat("also cheap", 100_000))
    assert await found(database) == ["also cheap", "cheap", "offer-1", "dear"]


async def test_what_cannot_be_ordered_now_is_no_candidate(database: Database) -> None:
    await publish(
        database,
        an_offer(),
        an_offer(offer_id="withdrawn", state=OfferState.WITHDRAWN),
        an_offer(offer_id="not yet", valid_from=EVENING_BEFORE + timedelta(hours=1)),
        an_offer(offer_id="no more", valid_until=EVENING_BEFORE),
        an_offer(offer_id="sold out", sold_wh=hours(1000, 2000, 3000)),
        an_offer(offer_id="held", held_wh=hours(1000, 2000, 2999), order_wh_min=2),
        an_offer(offer_id="closed", gate_closure_s=18 * 3600),
    )
    assert await found(database) == ["offer-1"]


@pytest.mark.parametrize(
    ("wish", "ids"),
    [
        ({"energy_wh": 1500}, ["small", "usual"]),
        ({"energy_wh": 3000}, ["usual"]),
        ({"price_micro_per_kwh_max": 199_999}, ["small"]),
        ({"currency": "INR"}, ["far"]),
        ({"source": "WIND"}, ["small"]),
        ({"fulfillment_type": "V2G"}, ["far"]),
        ({"provider_id": "home-8"}, ["small"]),
        ({"offer_id": "far"}, ["far"]),
        ({"renewable_per_mille_min": 900}, ["small"]),
        ({"carbon_g_per_kwh_max": 50}, ["usual"]),
        ({"window_start": SLOT_START + DAY}, ["far"]),
        ({"window_end": SLOT_START + DAY}, ["small", "usual"]),
        ({"window_start": SLOT_START, "window_end": SLOT_START + timedelta(hours=1)}, ["small", "usual"]),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
async def test_every_wish_is_a_filter(database: Database, wish: dict[str, Any], ids: list[str]) -> None:
    tomorrow = hours(1000, 1000, start=SLOT_START + DAY)
    await publish(
        database,
        an_offer(offer_id="usual", carbon_g_per_kwh=hours(60, 40, 60), order_wh_min=500),
        flat("small", 1, provider_id="home-8", source=Source.WIND, order_wh_max=2000, renewable_per_mille=900),
        flat(
            "far",
            400_000,
            offered_wh=tomorrow,
            valid_until=SLOT_START + 3 * DAY,
            currency="INR",
            fulfillment_type="V2G",
            order_wh_min=2000,
            order_wh_max=2000,
            renewable_per_mille=899,
        ),
    )
    assert await found(database, **wish) == ids


async def test_ratings_and_scores_are_filters_and_nobodys_rated_passes_none(database: Database) -> None:
    async with database.unit_of_work() as uow:
        for name in ("good", "poor", "new"):
            await providers.add(uow, provider(name), now=EVENING_BEFORE)
        given = [("good", "5"), ("poor", "2")]
        await providers.rate(
            uow, [Rating("bap", "Provider", name, name, value, EVENING_BEFORE) for name, value in given]
        )
        await providers.add_score(uow, "good", 1000, 950)
        await providers.add_score(uow, "poor", 1000, 500)
    await publish(database, *(an_offer(offer_id=name, provider_id=name) for name in ("good", "poor", "new")))
    assert await found(database, rating_tenths_min=20) == ["good", "poor"]
    assert await found(database, rating_tenths_min=21) == ["good"]
    assert await found(database, delivered_per_mille_min=950) == ["good"]
    assert await found(database, delivered_per_mille_min=951) == []


async def test_a_block_price_is_found_by_its_cheapest_block(database: Database) -> None:
    falling = PriceModel(PriceKind.BLOCK, tiers=(Tier(1000, 300_000), Tier(None, 50_000)))
    await publish(database, flat("blocks", 300_000, price_model=falling), flat("flat", 100_000))
    assert await found(database) == ["blocks", "flat"]
    async with database.unit_of_work() as uow:
        options: Any = {"now": EVENING_BEFORE, "limit": 1, "considered_max": 100, "faces": Faces()}
        little = await shelf.search(uow, Intent(energy_wh=1000), **options)
        much = await shelf.search(uow, Intent(energy_wh=6000), **options)
    assert ([o.offer_id for o in little], [o.offer_id for o in much]) == (["flat"], ["blocks"])


async def test_batches_follow_each_other_without_a_gap_or_a_repeat(database: Database) -> None:
    await publish(database, *(flat(f"offer-{n:02}", 100_000 + n // 3) for n in range(20)))
    seen: list[str] = []
    after = None
    async with database.unit_of_work() as uow:
        while True:
            batch = await offer_search.candidates(uow, Wish(), now=EVENING_BEFORE, by=None, after=after, limit=7)
            seen += [offer["offer_id"] for offer in batch.offers]
            after = batch.after
            if after is None:
                break
    assert seen == [f"offer-{n:02}" for n in range(20)]


async def test_a_search_finds_what_a_search_of_everything_finds(database: Database) -> None:
    """Prices that vary by slot: the lowest says little about the mean, and the cheapest are found all the same."""
    shown = []
    for number in range(60):
        prices = tuple((number * 7919 + slot * 104_729) % 400_000 for slot in range(3))
        shown.append(an_offer(offer_id=f"offer-{number:02}", price_micro_per_kwh=hours(*prices)))
    await publish(database, *shown)
    intent = Intent(energy_wh=2000)
    all_of_them = matching.match(intent, shown, now=EVENING_BEFORE)
    async with database.unit_of_work() as uow:
        for limit in (1, 5, 17):
            some = await shelf.search(uow, intent, now=EVENING_BEFORE, limit=limit, considered_max=1000, faces=Faces())
            assert [offer.offer_id for offer in some] == [offer.offer_id for offer in all_of_them[:limit]]


@pytest.mark.parametrize("narrow_max", [0, 5_000])
async def test_a_place_is_a_circle_by_either_index(
    database: Database, monkeypatch: pytest.MonkeyPatch, narrow_max: int
) -> None:
    monkeypatch.setattr(offer_search, "NARROW_MAX", narrow_max)
    places = {"here": "0.0, 179.999", "across": "0.0, -179.999", "corner": "0.008, 179.991", "far": "1.0, 179.999"}
    async with database.unit_of_work() as uow:
        for name, gps in {**places, "nowhere": "unknown"}.items():
            await providers.add(uow, provider(name, gps), now=EVENING_BEFORE)
    await publish(database, *(an_offer(offer_id=name, provider_id=name) for name in (*places, "nowhere")))
    async with database.unit_of_work() as uow:
        options: Any = {"now": EVENING_BEFORE, "limit": 9, "considered_max": 100, "faces": Faces()}
        near = await shelf.search(uow, Intent(near_gps="0.0, 179.999", radius_m=1000), **options)
        wide = await shelf.search(uow, Intent(near_gps="0.0, 179.999", radius_m=200_000), **options)
    assert sorted(offer.offer_id for offer in near) == ["across", "here"]
    assert sorted(offer.offer_id for offer in wide) == ["across", "corner", "far", "here"]


async def test_few_offers_in_a_place_or_window_are_fetched_by_their_index(database: Database) -> None:
    async with database.unit_of_work() as uow:
        for number in range(300):
            await providers.add(uow, provider(f"home-{number}", f"{number % 80}.5, {number}.5"), now=EVENING_BEFORE)
    later = [hours(1000, start=SLOT_START + timedelta(hours=n)) for n in range(300)]
    until = SLOT_START + 30 * DAY
    await publish(
        database,
        *(flat(f"offer-{n}", n, provider_id=f"home-{n}", offered_wh=later[n], valid_until=until) for n in range(300)),
    )
    here = matching.boxes_around((7.5, 7.5), 1000)
    async with database.unit_of_work() as uow:
        await uow.connection.execute("ANALYZE offers")
        assert await offer_search.narrowest(uow, Wish()) is None
        assert await offer_search.narrowest(uow, Wish(boxes=here)) == "place"
        window = Wish(window_start=SLOT_START, window_end=SLOT_START + timedelta(hours=1))
        assert await offer_search.narrowest(uow, window) == "window"
        assert await offer_search.narrowest(uow, replace(window, boxes=here)) in ("place", "window")


async def test_offers_that_are_over_leave_the_searches_and_stay_in_the_list(database: Database) -> None:
    await publish(database, an_offer(), flat("later", 1, offered_wh=hours(5, start=SLOT_START + DAY)))
    async with database.unit_of_work() as uow:
        over = SLOT_START + timedelta(hours=3)
        assert await offer_search.delist_ended(uow, over - timedelta(seconds=1), limit=10) == 0
        assert await offer_search.delist_ended(uow, over, limit=10) == 1
        assert await offer_search.delist_ended(uow, over, limit=10) == 0
        assert await shelf.get(uow, "offer-1") is not None
    assert await found(database) == ["later"]
