"""Which offers answer a search, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_catalog.matching import EARTH_RADIUS_M, Cheapest, GpsInvalid, boxes_around, distance_m, match, position
from energy_catalog.offers import Intent, Offer, OfferState, Provider, Source
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Series
from trade.price_rules import PriceKind, PriceModel, Tier

NOW = EVENING_BEFORE
HOUR = timedelta(hours=1)
FONTANA = "34.0922, -117.4350"


def found(intent: Intent, *offers: Offer, **changes: Any) -> list[str]:
    return [offer.offer_id for offer in match(intent, offers or [an_offer()], now=NOW, **changes)]


def flat(offer_id: str, price_micro: int, **changes: Any) -> Offer:
    energy = hours(1000, 2000, 3000)
    return an_offer(offer_id=offer_id, price_micro_per_kwh=Series.flat(energy, price_micro), **changes)


def home_at(gps: str) -> dict[str, Provider]:
    return {"home-7": Provider("home-7", "Home 7", "A roof", "", gps, "meter-7")}


@pytest.mark.parametrize(
    "intent",
    [
        Intent(currency="INR"),
        Intent(source=Source.WIND),
        Intent(provider_id="home-8"),
        Intent(offer_id="offer-2"),
        Intent(energy_wh=6001),
        Intent(price_micro_per_kwh_max=209_999),
        Intent(window_start=SLOT_START + 3 * HOUR),
        Intent(window_end=SLOT_START),
        Intent(window_start=SLOT_START, window_end=SLOT_START + HOUR / 2),
        Intent(window_start=SLOT_START, window_end=SLOT_START + HOUR, energy_wh=1001),
        Intent(near_gps=FONTANA, radius_m=1000),
    ],
)
def test_an_offer_that_misses_one_wish_does_not_answer(intent: Intent) -> None:
    assert found(intent) == []


@pytest.mark.parametrize(
    "offer",
    [
        an_offer(state=OfferState.WITHDRAWN),
        an_offer(valid_until=NOW),
        an_offer(gate_closure_s=17 * 3600),
        an_offer(sold_wh=hours(1000, 2000, 3000)),
        an_offer(held_wh=hours(1000, 2000, 2999), order_wh_min=2),
    ],
)
def test_an_offer_from_which_nothing_can_be_ordered_does_not_answer(offer: Offer) -> None:
    assert found(Intent(), offer) == []


def test_an_order_outside_the_offers_limits_is_not_answered() -> None:
    offer = an_offer(order_wh_min=500, order_wh_max=2000)
    assert found(Intent(energy_wh=499), offer) == []
    assert found(Intent(energy_wh=2001), offer) == []
    assert found(Intent(energy_wh=500), offer) == found(Intent(energy_wh=2000), offer) == ["offer-1"]


def test_an_open_wish_is_answered_by_every_open_offer() -> None:
    assert found(Intent()) == ["offer-1"]


def test_only_slots_wholly_inside_the_window_count() -> None:
    second_only = Intent(window_start=SLOT_START + timedelta(seconds=1), window_end=SLOT_START + 3 * HOUR - HOUR / 2)
    assert match(second_only, [an_offer()], now=NOW)
    assert found(Intent(second_only.window_start, second_only.window_end, energy_wh=2000)) == ["offer-1"]
    assert found(Intent(second_only.window_start, second_only.window_end, energy_wh=2001)) == []


def test_the_price_cap_is_met_by_the_average_of_what_is_free_weighted_by_energy() -> None:
    # (1 x 0.20 + 2 x 0.21 + 3 x 0.22) / 6 = 0.21333...; with the dear hour sold, (0.20 + 0.42) / 3 = 0.20666...
    assert found(Intent(price_micro_per_kwh_max=213_333)) == []
    assert found(Intent(price_micro_per_kwh_max=213_334)) == ["offer-1"]
    assert found(Intent(price_micro_per_kwh_max=206_667), an_offer(sold_wh=hours(0, 0, 3000))) == ["offer-1"]


def test_a_price_cap_equal_to_the_price_is_met() -> None:
    assert found(Intent(price_micro_per_kwh_max=210_000), flat("a", 210_000)) == ["a"]


def test_the_cheapest_offer_comes_first_and_equal_prices_go_by_id() -> None:
    assert found(Intent(), flat("b", 200_000), flat("c", 100_000), flat("a", 200_000)) == ["c", "a", "b"]


def test_a_place_that_is_no_position_is_refused() -> None:
    for gps in ("", "12", "1,2,3", "north, south", "91, 0", "0, 181", "nan, 0"):
        with pytest.raises(GpsInvalid):
            found(Intent(near_gps=gps))


def test_a_provider_without_a_position_is_near_nobody() -> None:
    assert found(Intent(near_gps=FONTANA), providers=home_at("somewhere")) == []


def test_only_providers_within_the_radius_answer() -> None:
    nearby = home_at("34.0922, -117.4250")  # 0.01 degrees of longitude: about 920 m
    assert found(Intent(near_gps=FONTANA, radius_m=900), providers=nearby) == []
    assert found(Intent(near_gps=FONTANA, radius_m=940), providers=nearby) == ["offer-1"]
    assert found(Intent(near_gps=FONTANA), providers=nearby) == ["offer-1"]


degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(degrees, degrees)
def test_distances_are_symmetric_and_never_longer_than_half_the_globe(
    here: tuple[float, float], there: tuple[float, float]
) -> None:
    assert distance_m(here, there) == pytest.approx(distance_m(there, here))
    assert 0 <= distance_m(here, there) <= 3.1416 * EARTH_RADIUS_M


def test_a_degree_of_latitude_is_a_known_distance() -> None:
    assert distance_m((0, 0), (1, 0)) == pytest.approx(111_195, abs=1)
    # Paris to London city centres: 343.5 km by the great circle.
    assert distance_m((48.8566, 2.3522), (51.5074, -0.1278)) == pytest.approx(343_556, abs=100)
    assert position("12.9716,77.5946") == (12.9716, 77.5946)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 5)), unique_by=lambda pair: pair[0]))
def test_answers_are_sorted_by_price_then_id_however_they_are_stored(stored: list[tuple[str, int]]) -> None:
    answers = found(Intent(), *[flat(offer_id, price * 100_000) for offer_id, price in stored]) if stored else []
    assert answers == [offer_id for offer_id, _ in sorted(stored, key=lambda pair: (pair[1], pair[0]))]


@given(here=degrees, there=degrees, radius_m=st.integers(0, 20_100_000))
def test_whoever_is_within_the_radius_is_within_the_boxes(
    here: tuple[float, float], there: tuple[float, float], radius_m: int
) -> None:
    """The database filters by boxes, so a box too small would hide offers; too large costs only a look."""
    boxes = boxes_around(here, radius_m)
    assert 1 <= len(boxes) <= 2
    for south, west, north, east in boxes:
        assert south <= north and -180 <= west <= east <= 180
    if distance_m(here, there) <= radius_m:
        latitude, longitude = there
        assert any(s <= latitude <= n and w <= longitude <= e for s, w, n, e in boxes)


def test_a_box_is_hardly_larger_than_its_circle_and_splits_at_the_date_line() -> None:
    ((south, west, north, east),) = boxes_around((52.5, 13.4), 10_000)
    assert distance_m((south, 13.4), (north, 13.4)) == pytest.approx(20_000, abs=1)
    assert distance_m((52.5, west), (52.5, east)) == pytest.approx(20_000, rel=1e-4)
    assert len(boxes_around((0, 179.99), 10_000)) == len(boxes_around((0, -179.99), 10_000)) == 2
    assert boxes_around((89.99, 0), 10_000)[0][1::2] == (-180, 180)


# --- Quality, delivery, rating and score ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intent", "offer"),
    [
        (Intent(fulfillment_type="V2G"), an_offer()),
        (Intent(renewable_per_mille_min=1), an_offer()),
        (Intent(renewable_per_mille_min=901), an_offer(renewable_per_mille=900)),
        (Intent(carbon_g_per_kwh_max=5000), an_offer()),
        # (1 x 10 + 2 x 40 + 3 x 50) / 6 kWh = 40 g per kWh.
        (Intent(carbon_g_per_kwh_max=39), an_offer(carbon_g_per_kwh=hours(10, 40, 50))),
    ],
)
def test_energy_that_is_not_known_to_be_as_wished_does_not_answer(intent: Intent, offer: Offer) -> None:
    assert found(intent, offer) == []


def test_the_carbon_of_what_is_free_in_the_window_counts() -> None:
    offer = an_offer(carbon_g_per_kwh=hours(10, 40, 50))
    assert found(Intent(carbon_g_per_kwh_max=40), offer) == ["offer-1"]
    first = Intent(window_end=SLOT_START + HOUR, carbon_g_per_kwh_max=10)
    assert found(first, offer) == ["offer-1"]
    assert found(Intent(carbon_g_per_kwh_max=30), replace(offer, sold_wh=hours(0, 0, 3000))) == ["offer-1"]


def test_rating_and_score_are_wishes_about_the_provider() -> None:
    known = {"home-7": replace(home_at("0, 0")["home-7"], rating="4.5", rating_count=2, delivered_per_mille=990)}
    new = home_at("0, 0")
    for wish, providers in (
        (Intent(rating_tenths_min=46), known),
        (Intent(delivered_per_mille_min=991), known),
        (Intent(rating_tenths_min=10), new),
        (Intent(delivered_per_mille_min=0), new),
        (Intent(rating_tenths_min=10), {}),
    ):
        assert found(wish, providers=providers) == []
    assert found(Intent(rating_tenths_min=45, delivered_per_mille_min=990), providers=known) == ["offer-1"]


def test_what_the_meter_cannot_export_any_more_does_not_answer() -> None:
    limited = an_offer(meter_free_wh=hours(500, 2000, 100))
    assert found(Intent(energy_wh=2600), limited) == ["offer-1"]
    assert found(Intent(energy_wh=2601), limited) == []


def test_a_block_price_is_what_the_whole_demand_costs() -> None:
    tiers = (Tier(1000, 300_000), Tier(None, 100_000))
    blocks = flat("blocks", 300_000, price_model=PriceModel(PriceKind.BLOCK, tiers=tiers))
    assert found(Intent(energy_wh=2000, price_micro_per_kwh_max=199_999), blocks) == []
    assert found(Intent(energy_wh=2000, price_micro_per_kwh_max=200_000), blocks) == ["blocks"]
    assert found(Intent(energy_wh=4000), blocks, flat("flat", 160_000)) == ["blocks", "flat"]
    assert found(Intent(energy_wh=1000), blocks, flat("flat", 160_000)) == ["flat", "blocks"]


@given(
    prices=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
    limit=st.integers(1, 10),
    batch=st.integers(1, 7),
)
def test_stopping_early_loses_no_offer_that_is_among_the_cheapest(
    prices: list[tuple[int, int, int]], limit: int, batch: int
) -> None:
    offers = [
        an_offer(offer_id=f"offer-{n:02}", price_micro_per_kwh=hours(*(price * 1000 for price in three)))
        for n, three in enumerate(prices)
    ]
    by_least = sorted(offers, key=lambda offer: (min(offer.price_micro_per_kwh.values), offer.offer_id))
    cheapest = Cheapest(Intent(), now=NOW, limit=limit)
    for start in range(0, len(by_least), batch):
        some = by_least[start : start + batch]
        cheapest.consider(some, {})
        if cheapest.is_complete(price_least=min(some[-1].price_micro_per_kwh.values), offer_id=some[-1].offer_id):
            break
    assert cheapest.offers == match(Intent(), offers, now=NOW)[:limit]
