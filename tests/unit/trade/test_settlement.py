"""What of a contract is settled, what it costs, and the most that it can cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, an_order, energies, hours, prices_like
from trade import settlement
from trade.money import Series
from trade.order import Order
from trade.policy import BUILT_IN, PenaltyRule
from trade.quote import LineKind

AFTER = SLOT_START + timedelta(hours=30)


def test_readings_over_other_slots_than_the_contract_are_refused() -> None:
    with pytest.raises(ValueError, match="different slots"):
        settlement.settle(an_order(), seller_alloc_wh=hours(1), now=AFTER)


def test_a_negative_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="positive reading"):
        settlement.settle(an_order(), seller_alloc_wh=hours(-1, 2000), now=AFTER)


def test_settled_energy_is_the_smaller_of_contract_and_meter_in_every_slot() -> None:
    result = settlement.settle(an_order(), seller_alloc_wh=hours(1500, 1900), now=AFTER)
    assert result.delivered_wh == hours(1000, 1900)
    assert [(line.kind, line.amount_milli) for line in result.lines] == [
        (LineKind.ENERGY, 60_900),  # 2.9 kWh x 0.21
        (LineKind.WHEELING, 5_800),  # 2.9 kWh x 0.02
    ]
    assert (result.total_milli, result.settled_at) == (66_700, AFTER)


def test_nothing_delivered_costs_nothing() -> None:
    assert settlement.settle(an_order(), seller_alloc_wh=hours(0, 0), now=AFTER).total_milli == 0


@given(st.data())
def test_a_settlement_never_costs_more_than_the_quote_and_delivers_no_more_than_either(data: st.DataObject) -> None:
    contracted = data.draw(energies())
    order = an_order(energy_wh=contracted, price=data.draw(prices_like(contracted)))
    metered = data.draw(energies(len(contracted.values)))
    result = settlement.settle(order, seller_alloc_wh=metered, now=AFTER)
    assert order.quote is not None
    assert 0 <= result.total_milli <= order.quote.total_milli
    for delivered, owed, measured in zip(result.delivered_wh.values, contracted.values, metered.values, strict=True):
        assert delivered == min(owed, measured)


# What a contract can come to cost.

TWO_SIDED = BUILT_IN["street@1"]


def test_a_quote_is_the_settlement_of_full_delivery() -> None:
    for rules in (*BUILT_IN.values(), replace(TWO_SIDED, tax_ppm=180_000, platform_buyer_micro_per_kwh=420_000)):
        order = an_order(policy=rules)
        full = order.contracted_wh
        result = settlement.settle(order, seller_alloc_wh=full, buyer_alloc_wh=full, now=AFTER)
        assert settlement.quote_lines(order, full) == result.lines


@pytest.mark.parametrize(("energy", "words"), [(hours(1), "different slots"), (hours(-1, 0), "never negative")])
def test_a_quote_over_other_slots_or_negative_energy_is_refused(energy: Series, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settlement.quote_lines(an_order(), energy)


def test_escrow_holds_the_quote_where_nothing_can_cost_more_than_full_delivery() -> None:
    for rules in (*BUILT_IN.values(), replace(TWO_SIDED, penalty=PenaltyRule.SELLER, penalty_micro_per_kwh=9_000_000)):
        order = an_order(policy=rules)
        assert settlement.exposure_milli(order) == sum(
            line.amount_milli for line in settlement.quote_lines(order, order.contracted_wh)
        )


def test_escrow_holds_the_penalty_where_taking_nothing_costs_more_than_taking_all() -> None:
    order = an_order(policy=replace(TWO_SIDED, penalty_micro_per_kwh=900_000))
    untaken = settlement.settle(order, seller_alloc_wh=hours(1000, 2000), buyer_alloc_wh=hours(0, 0), now=AFTER)
    assert untaken.total_milli == 270_000  # 3 kWh at 0.90, while the quote is 0.69
    assert 270_000 <= settlement.exposure_milli(order) <= 270_000 + 14


def test_escrow_holds_the_slots_that_cost_something_where_others_pay_the_buyer() -> None:
    order = an_order(price=hours(-500_000, 210_000), wheeling_micro_per_kwh=0)
    assert 420_00 <= settlement.exposure_milli(order) <= 420_00 + 14
    generous = an_order(price=-500_000, wheeling_micro_per_kwh=0)
    assert 0 <= settlement.exposure_milli(generous) <= 14


@pytest.mark.parametrize("final", [hours(1001, 0), hours(-1, 0), hours(1000)])
def test_an_agreed_figure_lies_between_nothing_and_the_contract(final: Series) -> None:
    with pytest.raises(ValueError, match="between 0 and the contract"):
        settlement.settle(an_order(), seller_alloc_wh=hours(1000, 2000), final_wh=final, now=AFTER)


def test_an_agreed_figure_replaces_what_the_meters_make() -> None:
    order = an_order(policy=replace(TWO_SIDED, penalty_micro_per_kwh=900_000))
    full = hours(1000, 2000)
    result = settlement.settle(order, seller_alloc_wh=full, buyer_alloc_wh=full, final_wh=hours(500, 0), now=AFTER)
    assert result.delivered_wh == hours(500, 0)
    # Neither meter fell short, so nobody pays a penalty for what was agreed on.
    assert {flow.kind for flow in result.flows} == {LineKind.ENERGY, LineKind.WHEELING}


# A provider's score.


def settled_order(*, delivered: Series, **changes: object) -> Order:
    order = an_order(**changes)  # type: ignore[arg-type]
    return replace(order, settlement=settlement.settle(order, seller_alloc_wh=delivered, now=AFTER))


def test_a_score_is_delivered_of_promised_over_all_settled_orders() -> None:
    orders = [settled_order(delivered=hours(1000, 1500)), settled_order(delivered=hours(0, 2000)), an_order()]
    assert settlement.delivered_per_mille(orders) == 750  # 4.5 of 6 kWh; the third is not settled


def test_over_delivery_in_one_slot_does_not_make_up_for_another() -> None:
    assert settlement.delivered_per_mille([settled_order(delivered=hours(0, 9000))]) == 666


def test_what_a_buyer_left_is_not_held_against_the_seller() -> None:
    order = an_order(policy=TWO_SIDED, seller_alloc_wh=hours(1000, 2000))
    untaken = settlement.settle(order, seller_alloc_wh=hours(1000, 2000), buyer_alloc_wh=hours(0, 0), now=AFTER)
    assert settlement.delivered_per_mille([replace(order, settlement=untaken)]) == 1000


def test_a_provider_that_promised_nothing_has_no_score() -> None:
    assert settlement.delivered_per_mille([]) is None
