"""A seller's catalog, read by a buyer: what cannot be read is left out and named, the rest survives the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bap.translate as buyer
import bpp.translate as seller
from energy_catalog.offers import Offer, OfferView, Provider, Source
from schemas import tags, values
from tests.support.trade_cases import SLOT_START, an_offer, hours
from tests.support.wire_cases import offers, providers
from trade.money import Series
from trade.policy import BUILT_IN, digest

FACE = Provider("home-7", "Home 7", "Solar panels on a roof", "", "34.1, -117.4", "meter-7")
patient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def a_catalog(**item: Any) -> dict[str, Any]:
    """A stranger's catalog: one item without series, delivered in a window of two hours."""
    whole = {
        "id": "lot",
        "price": {"value": "7", "currency": "INR"},
        "quantity": {"available": {"measure": {"value": "3", "unit": "kWh"}}},
        "fulfillment_ids": ["1"],
    }
    stops = values.window_to_stops(SLOT_START, SLOT_START + timedelta(hours=2))
    items = [{name: value for name, value in {**whole, **item}.items() if value is not None}]
    return {"catalog": {"providers": [{"id": "p", "fulfillments": [{"id": "1", "stops": stops}], "items": items}]}}


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"price": None}, "price.currency"),
        ({"price": {"currency": "INR"}}, "price.value"),
        ({"price": {"currency": "INR", "value": "0.0000001"}}, "price.value"),
        ({"quantity": None}, "quantity.available.measure.unit"),
        ({"quantity": {"available": {"measure": {"value": "1", "unit": "kW"}}}}, "quantity.available.measure.unit"),
        ({"tags": [tags.group_to_wire(tags.ENERGY_SERIES, {"unit": "kWh"})]}, "tags.ENERGY_SERIES.unit"),
        ({"tags": [tags.series_to_wire(tags.PRICE_SERIES, SLOT_START, 60, (1,))]}, "tags.PRICE_SERIES"),
        (
            {"tags": [tags.group_to_wire(tags.OFFER_TERMS, {"wheeling_per_kwh": "free"})]},
            "tags.OFFER_TERMS.wheeling_per_kwh",
        ),
        (
            {"tags": [tags.group_to_wire(tags.BLOCK_PRICES, {"blocks": "9:1 5:1 *:1"})]},
            "tags.BLOCK_PRICES.blocks",
        ),
        (
            {"tags": [tags.group_to_wire(tags.SOURCE_QUALITY, {"renewable_per_mille": "1001"})]},
            "tags.SOURCE_QUALITY.renewable_per_mille",
        ),
        (
            {"tags": [tags.series_to_wire(tags.CARBON_SERIES, SLOT_START, 900, (40, 50))]},
            "tags.CARBON_SERIES",
        ),
    ],
)
def test_an_item_that_cannot_be_read_is_left_out_and_named(item: dict[str, Any], path: str) -> None:
    message = a_catalog(**item)
    good = a_catalog()["catalog"]["providers"][0]["items"][0]
    message["catalog"]["providers"][0]["items"].append(good)
    view = buyer.catalog_from_wire(message, "bpp.example")
    assert [offer.offer_id for offer in view.offers] == ["lot"]
    assert [problem.path for problem in view.problems] == [f"message.catalog.providers[0].items[0].{path}"]


def test_an_item_that_does_not_say_when_is_left_out_and_named() -> None:
    message = a_catalog()
    del message["catalog"]["providers"][0]["fulfillments"]
    view = buyer.catalog_from_wire(message, "bpp.example")
    assert view.offers == []
    assert "does not say when it delivers" in view.problems[0].sentence


def test_an_item_delivered_over_years_is_left_out_and_named() -> None:
    message = a_catalog()
    stops = values.window_to_stops(SLOT_START, SLOT_START + timedelta(days=400))
    message["catalog"]["providers"][0]["fulfillments"][0]["stops"] = stops
    assert "366 days" in buyer.catalog_from_wire(message, "bpp.example").problems[0].sentence


@pytest.mark.parametrize(
    "message", [{}, {"catalog": {}}, {"catalog": {"providers": []}}, {"catalog": {"providers": [{"id": "p"}]}}]
)
def test_an_empty_catalog_has_no_offers(message: dict[str, Any]) -> None:
    assert buyer.offers_from_wire(message, "bpp.example") == []


def test_a_stranger_without_series_offers_one_slot_over_its_window() -> None:
    [offer] = buyer.offers_from_wire(a_catalog(), "bpp.example")
    assert offer.available_wh == Series(SLOT_START, 7200, (3000,))
    assert offer.price_micro_per_kwh == Series(SLOT_START, 7200, (7_000_000,))
    assert (offer.order_wh_min, offer.order_wh_max, offer.has_series) == (0, 3000, False)
    assert (offer.source, offer.provider.name, offer.fulfillment_id) == (Source.OTHER, "p", "1")


def test_a_delivery_may_stand_beside_the_providers_or_be_the_only_one() -> None:
    message = a_catalog()
    provider = message["catalog"]["providers"][0]
    message["catalog"]["fulfillments"] = provider.pop("fulfillments")
    assert len(buyer.offers_from_wire(message, "bpp.example")) == 1
    message = a_catalog(fulfillment_ids=None)
    assert len(buyer.offers_from_wire(message, "bpp.example")) == 1


def test_a_category_that_is_not_the_items_says_nothing_about_it() -> None:
    message = a_catalog(category_ids=["2"])
    message["catalog"]["providers"][0]["categories"] = [
        {"id": "1", "descriptor": {"code": "SOLAR_ENERGY"}},
        {"id": "2", "descriptor": {"code": "WIND_ENERGY"}},
    ]
    assert buyer.offers_from_wire(message, "bpp.example")[0].source is Source.WIND


@patient
@given(provider=providers, shelf=st.lists(offers(), min_size=1, max_size=3))
def test_a_catalog_survives_the_wire(provider: Provider, shelf: list[Offer]) -> None:
    view = buyer.catalog_from_wire(seller.catalog_to_wire([(provider, shelf)]), "bpp.example")
    assert view.problems == []
    face = replace(
        provider,
        meter_id="",
        short_desc=provider.short_desc or provider.name,
        image_url=view.offers[0].provider.image_url,
    )
    assert view.offers == [
        OfferView(
            seller_id="bpp.example",
            provider=face,
            offer_id=offer.offer_id,
            source=offer.source,
            currency=offer.currency,
            available_wh=offer.available_wh,
            price_micro_per_kwh=offer.price_micro_per_kwh,
            wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh,
            order_wh_min=offer.order_wh_min,
            order_wh_max=offer.order_wh_max,
            fulfillment_id=read.fulfillment_id,
            fulfillment_type=offer.fulfillment_type,
            policy=offer.policy,
            policy_digest="" if offer.policy == "plain@1" else digest(BUILT_IN[offer.policy]),
            renewable_per_mille=offer.renewable_per_mille,
            carbon_g_per_kwh=offer.carbon_g_per_kwh,
            certificates=offer.certificates,
            tiers=offer.price_model.tiers,
        )
        for offer, read in zip(shelf, view.offers, strict=True)
    ]


def test_the_meter_of_a_provider_is_never_told() -> None:
    wire = seller.catalog_to_wire([(FACE, [an_offer()])])
    assert "meter-7" not in str(wire)


def test_providers_without_offers_are_not_listed() -> None:
    assert seller.catalog_to_wire([(FACE, [])]) == {"catalog": {}}


def test_a_time_of_use_price_shows_its_mean_and_its_reach_to_those_who_know_one_price() -> None:
    offer = an_offer(offered_wh=hours(1000, 3000, 0), price_micro_per_kwh=hours(200_000, 300_000, 900_000))
    [item] = seller.catalog_to_wire([(FACE, [offer])])["catalog"]["providers"][0]["items"]
    assert item["price"] == {"currency": "USD", "value": "0.275", "minimum_value": "0.2", "maximum_value": "0.3"}


def test_a_provider_whose_score_cannot_be_read_is_left_out_and_named() -> None:
    message = a_catalog()
    message["catalog"]["providers"][0]["tags"] = [tags.group_to_wire(tags.PROVIDER_SCORE, {"settled": "many"})]
    view = buyer.catalog_from_wire(message, "bpp.example")
    assert view.offers == []
    assert view.problems[0].path == "message.catalog.providers[0].tags.PROVIDER_SCORE.settled"


def test_energy_of_unknown_carbon_intensity_says_nothing_and_never_zero() -> None:
    wire = seller.catalog_to_wire([(FACE, [an_offer()])])
    assert "CARBON_SERIES" not in str(wire)
    [offer] = buyer.offers_from_wire(wire, "bpp.example")
    assert offer.carbon_g_per_kwh is None
