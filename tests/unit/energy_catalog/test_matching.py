"""Which offers answer a search, and in which order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_catalog.matching import EARTH_RADIUS_M, GpsInvalid, distance_m, match, position
from energy_catalog.offers import Intent, Offer, OfferState, Provider, Source
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Series

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
