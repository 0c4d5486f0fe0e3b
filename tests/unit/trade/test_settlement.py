"""What of a contract is settled, what it costs, and the most that it can cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, an_order, energies, hours, prices_like
from trade import settlement
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
