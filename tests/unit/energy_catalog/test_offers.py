"""What an offer refuses to promise, and that no watt-hour is ever taken twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_catalog import offers
from energy_catalog.offers import OfferInvalid, OfferState, UnableToTake
from tests.support.trade_cases import EVENING_BEFORE, HOUR_S, SLOT_START, an_offer, hours
from trade.quote import CancellationTerm

NOW = EVENING_BEFORE
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"offered_wh": hours(0, 0)}, "energy"),
        ({"offered_wh": hours(5, -1)}, "energy"),
        ({"held_wh": hours(0, 0, 3001)}, "energy"),
        ({"price_micro_per_kwh": hours(1, 1)}, "price"),
        ({"price_micro_per_kwh": hours(1, 1, -1)}, "price"),
        ({"wheeling_micro_per_kwh": -1}, "price"),
        ({"order_wh_min": 0}, "order_wh_min"),
        ({"order_wh_min": 500, "order_wh_max": 499}, "order_wh_min"),
        ({"gate_closure_s": -1}, "quote_ttl_s"),
        ({"quote_ttl_s": 0}, "quote_ttl_s"),
        ({"valid_until": EVENING_BEFORE - timedelta(days=2)}, "valid_until"),
        ({"cancellation_terms": (CancellationTerm(0, 101),)}, "cancellation_terms"),
    ],
)
def test_an_offer_that_could_not_be_sold_as_it_says_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(OfferInvalid) as refusal:
        offers.check_offer(an_offer(**changes))
    assert refusal.value.field == field


def test_a_sound_offer_is_accepted() -> None:
    offers.check_offer(an_offer())


@pytest.mark.parametrize(
    "changes",
    [
        {"state": OfferState.WITHDRAWN},
        {"valid_from": NOW + SECOND},
        {"valid_until": NOW},
    ],
)
def test_a_withdrawn_or_invalid_offer_is_closed(changes: dict[str, Any]) -> None:
    assert not an_offer(**changes).is_open(NOW)


def test_a_gate_closes_after_its_exact_second() -> None:
    offer = an_offer(gate_closure_s=4 * HOUR_S)
    gate = SLOT_START - timedelta(hours=4)
    assert offer.open_wh(gate) == hours(1000, 2000, 3000)
    assert offer.open_wh(gate + SECOND) == hours(0, 2000, 3000)
    last = gate + timedelta(hours=2)
    assert offer.is_open(last)
    assert not offer.is_open(last + SECOND)


def test_energy_of_other_slots_is_never_taken() -> None:
    with pytest.raises(UnableToTake, match="not the offer's slots"):
        offers.hold(an_offer(), hours(1))


def test_held_energy_cannot_be_held_again_until_it_lapses() -> None:
    held = offers.hold(an_offer(), hours(1000, 0, 0))
    assert held.available_wh == hours(0, 2000, 3000)
    with pytest.raises(UnableToTake):
        offers.hold(held, hours(1, 0, 0))
    assert offers.unhold(held, hours(1000, 0, 0)) == an_offer()


def test_energy_that_was_not_held_cannot_be_sold_or_freed() -> None:
    for step in (offers.sell, offers.unhold):
        with pytest.raises(UnableToTake):
            step(an_offer(), hours(1, 0, 0))


def test_a_change_of_a_contract_frees_the_old_energy_for_the_new() -> None:
    sold = offers.sell(offers.hold(an_offer(), hours(1000, 500, 0)), hours(1000, 500, 0))
    changed = offers.exchange(sold, old_wh=hours(1000, 500, 0), new_wh=hours(1000, 2000, 0))
    assert changed.sold_wh == hours(1000, 2000, 0)
    with pytest.raises(UnableToTake):
        offers.exchange(changed, old_wh=hours(0, 0, 0), new_wh=hours(0, 1, 0))
    assert offers.exchange(changed, old_wh=hours(1000, 2000, 0), new_wh=hours(0, 0, 0)) == an_offer()


@given(st.lists(st.tuples(st.sampled_from(["hold", "unhold", "sell", "give back"]), st.integers(0, 2000))))
def test_whatever_buyers_do_no_watt_hour_is_taken_twice(steps: list[tuple[str, int]]) -> None:
    offer = an_offer()
    nothing = hours(0, 0, 0)
    for step, wh in steps:
        energy = hours(wh // 2, wh, 0)
        try:
            if step == "hold":
                offer = offers.hold(offer, energy)
            elif step == "unhold":
                offer = offers.unhold(offer, energy)
            elif step == "sell":
                offer = offers.sell(offer, energy)
            else:
                offer = offers.exchange(offer, old_wh=energy, new_wh=nothing)
        except UnableToTake:
            pass
        taken = zip(offer.held_wh.values, offer.sold_wh.values, offer.offered_wh.values, strict=True)
        assert all(held >= 0 and sold >= 0 and held + sold <= offered for held, sold, offered in taken)
