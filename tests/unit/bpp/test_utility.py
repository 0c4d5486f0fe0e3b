"""How much a meter may still trade, and what its utility charges: every rule of bpp/utility.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpp import utility
from bpp.utility import GridMeter, Request, Trade, TradeState, UnableToCarry
from trade.money import Series

START = datetime(2026, 1, 15, 10, tzinfo=UTC)
ROOF = GridMeter("roof", 5000, 50, None, None, 20_000, 10_000, "USD")
FLAT = GridMeter("flat", 3000, 50, None, None, 30_000, 10_000, "USD")
BOTH = {"roof": ROOF, "flat": FLAT}
HOUR = Request("roof", "flat", Series(START, 3600, (1000, 500)), "USD")


def test_a_slots_limit_is_the_share_of_the_sanctioned_load() -> None:
    # 5 kW x 50 % for an hour are 2.5 kWh; 3 kW x 50 % are 1.5 kWh, and the lesser counts.
    assert utility.check(HOUR, BOTH, {}).remaining_wh.values == (1500, 1500)
    assert utility.check(HOUR, {"roof": ROOF}, {}).remaining_wh.values == (2500, 2500)


def test_a_limit_of_the_meters_own_counts_when_it_is_lower_and_never_when_it_is_higher() -> None:
    assert replace(ROOF, export_limit_w=1000).limit_w("EXPORT") == 1000
    assert replace(ROOF, export_limit_w=9000).limit_w("EXPORT") == 2500
    assert replace(ROOF, import_limit_w=0).limit_w("IMPORT") == 0


def test_each_side_pays_its_own_meters_rate_and_an_unknown_buyer_the_sellers() -> None:
    cleared = utility.check(HOUR, BOTH, {})
    assert (cleared.wheeling_buyer_micro_per_kwh, cleared.wheeling_seller_micro_per_kwh) == (30_000, 10_000)
    assert utility.check(HOUR, {"roof": ROOF}, {}).wheeling_buyer_micro_per_kwh == 20_000


@pytest.mark.parametrize(
    ("request_", "meters", "sentence"),
    [
        (HOUR, {"flat": FLAT}, "Meter 'roof' is not on this utility's grid"),
        (replace(HOUR, currency="INR"), BOTH, "in USD, not in INR"),
        (replace(HOUR, energy_wh=Series(START, 3600, (2501,))), BOTH, "may export 2.5 kWh"),
        (replace(HOUR, energy_wh=Series(START, 3600, (1501,))), BOTH, "may import 1.5 kWh"),
        (replace(HOUR, energy_wh=Series(START, 600, (1,))), BOTH, "quarters of an hour"),
        (replace(HOUR, energy_wh=Series(START + timedelta(minutes=5), 900, (1,))), BOTH, "quarters of an hour"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_meter_slot_and_what_is_left(
    request_: Request, meters: dict[str, GridMeter], sentence: str
) -> None:
    with pytest.raises(UnableToCarry, match=sentence):
        utility.check(request_, meters, {})


def test_a_free_meter_charges_nothing_in_any_currency() -> None:
    free = replace(ROOF, wheeling_buyer_micro_per_kwh=0, wheeling_seller_micro_per_kwh=0)
    assert utility.check(replace(HOUR, currency="INR"), {"roof": free}, {}).wheeling_buyer_micro_per_kwh == 0


def test_slots_of_different_lengths_share_one_limit() -> None:
    quarter = Request("roof", "", Series(START + utility.QUARTER, 900, (600,)), "USD")
    used = utility.usage(quarter, {"roof": ROOF})
    # 625 Wh fit into a quarter, 25 are left in this one, and an hour's energy is spread evenly: 4 x 25.
    assert utility.check(replace(HOUR, energy_wh=Series(START, 3600, (100,))), {"roof": ROOF}, used)
    with pytest.raises(UnableToCarry, match=r"0\.1 kWh are left"):
        utility.check(replace(HOUR, energy_wh=Series(START, 3600, (101,))), {"roof": ROOF}, used)


@given(
    slot_s=st.sampled_from([900, 1800, 2700, 3600, 7200]),
    values=st.lists(st.integers(0, 10**9), min_size=1, max_size=30),
)
def test_no_joule_is_lost_when_slots_are_cut_into_quarters(slot_s: int, values: list[int]) -> None:
    cut = utility.quarters(Series(START, slot_s, tuple(values)))
    assert sum(cut.values()) == sum(values) * utility.J_PER_WH
    each = max(values) * utility.J_PER_WH // (slot_s // 900)
    assert all(joules <= each + 1 for joules in cut.values())


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12))
def test_whatever_is_carried_never_exceeds_the_limit_in_any_quarter(wishes: list[int]) -> None:
    used: dict[utility.Place, int] = {}
    for number, wh in enumerate(wishes):
        energy = Series(START, 3600, (wh,)) if number % 2 else Series(START, 1800, (wh, 0))
        request = replace(HOUR, energy_wh=energy)
        try:
            utility.check(request, BOTH, used)
        except UnableToCarry:
            continue
        for place, joules in utility.usage(request, BOTH).items():
            used[place] = used.get(place, 0) + joules
    assert all(joules <= BOTH[meter].limit_j(flow) for (meter, flow, _), joules in used.items())


def test_a_smaller_trade_gives_back_and_a_cancelled_one_gives_all() -> None:
    less = replace(HOUR, energy_wh=HOUR.energy_wh.with_values((400, 500)))
    before, after = utility.usage(HOUR, BOTH), utility.usage(less, BOTH)
    given_back = utility.change(before, after)
    assert sum(given_back.values()) == -600 * 2 * utility.J_PER_WH
    assert utility.change(before, {}) == {place: -joules for place, joules in before.items()}


TRADE = Trade("t", "bpp", "o", "x", TradeState.ACTIVE, HOUR, 1, 1, START, START)


def test_a_trade_keeps_its_slots_and_changes_no_more_once_it_is_cancelled() -> None:
    assert utility.resize(TRADE, HOUR.energy_wh.with_values((1, 1)), now=START).request.energy_wh.values == (1, 1)
    with pytest.raises(UnableToCarry, match="2 slots of 3600 s"):
        utility.resize(TRADE, Series(START, 3600, (1,)), now=START)
    with pytest.raises(UnableToCarry, match="is CANCELLED"):
        utility.resize(utility.cancel(TRADE, now=START), HOUR.energy_wh, now=START)


def test_the_utility_replaces_either_sides_figure_over_the_trades_own_slots() -> None:
    figure = HOUR.energy_wh.with_values((900, 0))
    assert utility.replace_allocation(TRADE, "SELLER", figure, now=START).seller_alloc_wh == figure
    assert utility.replace_allocation(TRADE, "BUYER", figure, now=START).buyer_alloc_wh == figure
    for wrong in (Series(START, 1800, (1, 1)), figure.with_values((-1, 0))):
        with pytest.raises(UnableToCarry, match="0 Wh or more"):
            utility.replace_allocation(TRADE, "BUYER", wrong, now=START)
