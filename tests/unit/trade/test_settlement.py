"""Who gets which watt-hour of a meter, and what is paid for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, an_order, energies, hours, prices_like, slot_wh
from trade import settlement
from trade.quote import LineKind

AFTER = SLOT_START + timedelta(hours=30)
contracts = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), slot_wh, max_size=8)


@pytest.mark.parametrize(("metered", "contracted"), [(-1, {"a": 5}), (5, {"a": -1, "b": 2})])
def test_negative_energy_is_never_allocated(metered: int, contracted: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="never negative"):
        settlement.allocate(metered, contracted)


def test_a_meter_that_delivered_enough_gives_everyone_their_contract() -> None:
    assert settlement.allocate(101, {"a": 60, "b": 40}) == {"a": 60, "b": 40}


def test_a_shortfall_is_shared_in_proportion_to_the_contracts() -> None:
    assert settlement.allocate(50, {"a": 60, "b": 40}) == {"a": 30, "b": 20}


def test_left_over_watt_hours_go_to_the_largest_remainder_and_ties_to_the_first_id() -> None:
    assert settlement.allocate(1, {"c": 1, "b": 1, "a": 1}) == {"a": 1, "b": 0, "c": 0}
    assert settlement.allocate(4, {"a": 2, "b": 3, "c": 3}) == {"a": 1, "b": 2, "c": 1}


def test_no_orders_get_nothing() -> None:
    assert settlement.allocate(7, {}) == {}


@given(slot_wh, contracts)
def test_shares_sum_exactly_and_none_exceeds_its_contract(metered: int, contracted: dict[str, int]) -> None:
    shares = settlement.allocate(metered, contracted)
    assert shares.keys() == contracted.keys()
    assert sum(shares.values()) == min(metered, sum(contracted.values()))
    assert all(0 <= shares[order_id] <= contracted[order_id] for order_id in shares)


@given(slot_wh, contracts)
def test_no_share_is_a_watt_hour_or_more_from_its_exact_proportion(metered: int, contracted: dict[str, int]) -> None:
    total = sum(contracted.values())
    if metered < total:
        for order_id, share in settlement.allocate(metered, contracted).items():
            assert abs(share * total - contracted[order_id] * metered) < total


@given(slot_wh, contracts, st.randoms(use_true_random=False))
def test_the_order_in_which_contracts_are_listed_does_not_matter(metered: int, contracted: dict[str, int], rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(contracted.items())
    rng.shuffle(shuffled)
    assert settlement.allocate(metered, dict(shuffled)) == settlement.allocate(metered, contracted)


def test_readings_over_other_slots_than_the_contract_are_refused() -> None:
    with pytest.raises(ValueError, match="different slots"):
        settlement.settle(an_order(), metered_wh=hours(1), now=AFTER)


def test_a_negative_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="positive reading"):
        settlement.settle(an_order(), metered_wh=hours(-1, 2000), now=AFTER)


def test_settled_energy_is_the_smaller_of_contract_and_meter_in_every_slot() -> None:
    result = settlement.settle(an_order(), metered_wh=hours(1500, 1900), now=AFTER)
    assert result.delivered_wh == hours(1000, 1900)
    assert [(line.kind, line.amount_milli) for line in result.lines] == [
        (LineKind.ENERGY, 61),  # 2.9 kWh x 0.21 = 0.609
        (LineKind.WHEELING, 6),  # 2.9 kWh x 0.02 = 0.058
    ]
    assert (result.total_milli, result.settled_at) == (67, AFTER)


def test_nothing_delivered_costs_nothing() -> None:
    assert settlement.settle(an_order(), metered_wh=hours(0, 0), now=AFTER).total_milli == 0


@given(st.data())
def test_a_settlement_never_costs_more_than_the_quote_and_delivers_no_more_than_either(data: st.DataObject) -> None:
    contracted = data.draw(energies())
    order = an_order(energy_wh=contracted, price=data.draw(prices_like(contracted)))
    metered = data.draw(energies(len(contracted.values)))
    result = settlement.settle(order, metered_wh=metered, now=AFTER)
    assert order.quote is not None
    assert 0 <= result.total_milli <= order.quote.total_milli
    for delivered, owed, measured in zip(result.delivered_wh.values, contracted.values, metered.values, strict=True):
        assert delivered == min(owed, measured)
