"""Offers on the shelf: what may be published and changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bpp import listing
from bpp.listing import Terms
from energy_catalog.offers import Offer, OfferInvalid, OfferState, Source
from energy_catalog.tariffs import Block, Flat, Indexed, SupplyDemand, TimeOfUse
from tests.support.seller_cases import HOME
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, TERMS, an_offer, hours
from trade.money import Series
from trade.price_rules import Point, Tier
from trade.quote import CancellationTerm

PLAIN = Terms("offer-1", Source.SOLAR, "USD", 20_000, 1, 5000, 3600, 300, TERMS, "GRID_INJECTION", None, None)


def publish(energy: Series | None = None, pricing: Any = None, **changes: Any) -> Offer:
    energy = energy or hours(1000, 2000)
    at = {
        "now_trading": changes.pop("now_trading", EVENING_BEFORE),
        "export_limit_w": changes.pop("export_limit_w", None),
    }
    return listing.publish(HOME, energy, pricing or Flat(210_000), replace(PLAIN, **changes), **at)


def change(offer: Offer, **changes: Any) -> Offer:
    unchanged = dict.fromkeys(("energy_wh", "pricing", "order_wh_min", "order_wh_max", "valid_until"))
    return listing.change(offer, **(unchanged | changes))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"energy": hours(0, 0)}, "energy"),
        ({"energy": Series(SLOT_START, 3600, (1,) * 745)}, "energy"),
        ({"energy": Series(SLOT_START, 7200, (1,))}, "energy.slot_s"),
        ({"energy": Series(SLOT_START, 300, (1,))}, "energy.slot_s"),
        ({"energy": hours(1, 1001), "export_limit_w": 1000}, "energy"),
        ({"pricing": Block((Tier(5, 1),))}, "price.blocks"),
        ({"pricing": Indexed("de-lu", (Point(SLOT_START, 3600, 9),), 0)}, "price.index"),
        ({"pricing": SupplyDemand(hours(1), hours(1), 1, 2)}, "price.supply_demand"),
        ({"pricing": SupplyDemand(hours(1, 1), hours(1, 1), 3, 2)}, "price.supply_demand"),
        ({"renewable_per_mille": 1001}, "renewable_per_mille"),
        ({"carbon_g_per_kwh": hours(1)}, "carbon"),
        ({"carbon_g_per_kwh": hours(1, 5001)}, "carbon"),
        ({"certificates": ("I-REC 1",)}, "certificates"),
        ({"certificates": ("x",) * 101}, "certificates"),
        ({"fulfillment_type": "VIRTUAL"}, "wheeling_per_kwh"),
        ({"now_trading": SLOT_START + timedelta(hours=5), "valid_until": SLOT_START + timedelta(days=9)}, "energy"),
        ({"pricing": hours(1)}, "price"),
        ({"energy": hours(10**9), "pricing": Flat(10**12)}, "price"),
        ({"pricing": TimeOfUse(ZoneInfo("UTC"), ((0, 60, 1),))}, "price.time_of_use"),
        ({"order_wh_min": 5001}, "order_wh_min"),
        ({"cancellation_terms": (CancellationTerm(0, 10), CancellationTerm(9, 50))}, "cancellation_terms"),
        ({"valid_until": EVENING_BEFORE}, "valid_until"),
    ],
)
def test_an_offer_that_could_not_be_sold_is_refused_by_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(OfferInvalid) as refusal:
        publish(**given)
    assert refusal.value.field == field


def test_a_new_offer_is_free_and_valid_from_now_to_its_end() -> None:
    offer = publish()
    assert offer.available_wh == hours(1000, 2000)
    assert (offer.valid_from, offer.valid_until) == (EVENING_BEFORE, SLOT_START + timedelta(hours=2))
    assert (offer.provider_id, offer.meter_id) == ("home-7", "meter-7")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"energy_wh": hours(499, 2000, 3000)}, "energy"),
        ({"energy_wh": hours(1000)}, "energy"),
        ({"order_wh_min": 2_000_000}, "order_wh_min"),
    ],
)
def test_a_change_that_breaks_what_was_sold_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(OfferInvalid) as refusal:
        change(an_offer(sold_wh=hours(500, 0, 0)), **given)
    assert refusal.value.field == field


def test_a_withdrawn_offer_cannot_be_changed() -> None:
    offer = listing.withdraw(an_offer())
    assert offer.state is OfferState.WITHDRAWN
    with pytest.raises(OfferInvalid):
        change(offer, order_wh_min=2)


def test_energy_may_fall_to_what_is_taken_and_prices_may_change() -> None:
    changed = change(
        an_offer(sold_wh=hours(500, 0, 0), held_wh=hours(100, 0, 0)), energy_wh=hours(600, 0, 9000), pricing=Flat(1)
    )
    assert changed.available_wh == hours(0, 0, 9000)
    assert changed.price_micro_per_kwh == hours(1, 1, 1)
    assert changed.sold_wh == hours(500, 0, 0)
