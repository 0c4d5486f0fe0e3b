"""How prices come about: blocks, indices, supply and demand. Refusals first, then vectors, then properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, energies, hours
from trade.money import Series
from trade.price_rules import (
    Point,
    PriceInvalid,
    Tier,
    block_cost_nano,
    block_series,
    check_tiers,
    indexed_series,
    over_slots,
    supply_demand_price,
    supply_demand_series,
)

TIERS = (Tier(1000, 300_000), Tier(3000, 200_000), Tier(None, 100_000))


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        (Tier(1000, 1),),
        (Tier(None, 1), Tier(None, 2)),
        (Tier(1000, 1), Tier(1000, 2), Tier(None, 3)),
        (Tier(0, 1), Tier(None, 2)),
        (Tier(1000, -1), Tier(None, 2)),
        (*(Tier(n, 1) for n in range(1, 51)), Tier(None, 1)),
    ],
    ids=["none", "no end", "two ends", "not rising", "empty", "negative", "too many"],
)
def test_tiers_that_nobody_could_price_by_are_refused(tiers: tuple[Tier, ...]) -> None:
    with pytest.raises(PriceInvalid):
        check_tiers(tiers)


def test_a_slot_on_a_boundary_costs_the_mean_of_both_blocks_by_energy() -> None:
    check_tiers(TIERS)
    # 800 Wh in the first; 200 in the first and 200 in the second; 1,800 in the second and 200 in the last.
    assert block_series(TIERS, hours(800, 400, 2000)) == hours(300_000, 250_000, 190_000)


def test_a_slot_without_energy_has_the_price_of_the_next_watt_hour() -> None:
    assert block_series(TIERS, hours(0, 1000, 0, 2000, 0)) == hours(300_000, 300_000, 200_000, 200_000, 100_000)


def test_one_tier_is_a_flat_price() -> None:
    assert block_series((Tier(None, 7),), hours(5, 0, 9)) == hours(7, 7, 7)


@st.composite
def some_tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    limits = sorted(draw(st.sets(st.integers(1, 2_000_000), max_size=5)))
    prices = draw(st.lists(st.integers(0, 2_000_000), min_size=len(limits) + 1, max_size=len(limits) + 1))
    return tuple(Tier(limit, price) for limit, price in zip([*limits, None], prices, strict=True))


@given(tiers=some_tiers(), energy=energies())
def test_the_slots_of_a_block_price_cost_what_its_tiers_cost(tiers: tuple[Tier, ...], energy: Series) -> None:
    """Each slot's price is rounded to a micro-unit, so a slot is off by half of one per Wh at most."""
    prices = block_series(tiers, energy)
    cost = sum(wh * price for wh, price in zip(energy.values, prices.values, strict=True))
    assert abs(cost - block_cost_nano(tiers, energy.total)) <= Fraction(energy.total, 2)
    known = [tier.price_micro_per_kwh for tier in tiers]
    assert min(known) <= min(prices.values) <= max(prices.values) <= max(known)


@given(tiers=some_tiers(), parts=st.lists(st.integers(0, 500_000), min_size=1, max_size=9))
def test_the_cost_of_blocks_is_the_integral_of_their_prices(tiers: tuple[Tier, ...], parts: list[int]) -> None:
    at, cost = 0, 0
    for part in parts:
        cost += block_cost_nano(tiers, at + part) - block_cost_nano(tiers, at)
        at += part
    assert cost == block_cost_nano(tiers, at)
    bounds = [0, *(tier.up_to_wh for tier in tiers[:-1] if tier.up_to_wh is not None), at]
    by_tier = [
        max(0, min(at, upper) - lower) * tier.price_micro_per_kwh
        for tier, lower, upper in zip(tiers, bounds[:-1], [*bounds[1:-1], max(at, bounds[-2])], strict=True)
    ]
    assert cost == sum(by_tier)


# --- Published series ---------------------------------------------------------------------------------------------


def quarters(*values: int, start: datetime = SLOT_START) -> list[Point]:
    return [Point(start + timedelta(minutes=15 * n), 900, value) for n, value in enumerate(values)]


def test_an_hour_costs_the_mean_of_its_quarters_rounded_half_away() -> None:
    assert over_slots(quarters(10, 20, 30, 41, -10, -20, -30, -42), hours(0, 0)) == hours(25, -26)
    assert over_slots(quarters(1, 1, 1, 3, -1, -1, -1, -3), hours(0, 0)) == hours(2, -2)


def test_a_quarter_costs_what_its_hour_costs() -> None:
    like = Series(SLOT_START, 900, (0,) * 4)
    assert over_slots([Point(SLOT_START, 3600, 70)], like).values == (70,) * 4


def test_a_market_that_goes_over_to_quarters_is_followed() -> None:
    mixed = [Point(SLOT_START, 3600, 8), *quarters(1, 2, 3, 4, start=SLOT_START + timedelta(hours=1))]
    assert over_slots(reversed(mixed), hours(0, 0)) == hours(8, 3)


@pytest.mark.parametrize(
    "points",
    [[], quarters(1, 2, 3), quarters(1, 2)[:1] + quarters(1, 2, 3, 4)[2:], quarters(1, 1, 1, 1)[1:]],
    ids=["none", "too few", "a gap", "too late"],
)
def test_a_gap_is_named_and_never_filled(points: list[Point]) -> None:
    with pytest.raises(PriceInvalid, match="2016-08-02T15:00:00Z"):
        over_slots(points, hours(0))


def test_a_day_of_23_hours_is_priced_by_the_instant() -> None:
    """On 29 March 2026 clocks in Berlin skip an hour; the published day has 23 hours and instants are what counts."""
    midnight = datetime(2026, 3, 28, 23, tzinfo=UTC)
    day = [Point(midnight + timedelta(hours=n), 3600, n) for n in range(23)]
    assert over_slots(day, Series(midnight, 3600, (0,) * 23)).values == tuple(range(23))
    with pytest.raises(PriceInvalid, match="2026-03-29T22:00:00Z"):
        over_slots(day, Series(midnight, 3600, (0,) * 24))


def test_a_margin_is_added_and_a_floor_holds_unless_there_is_none() -> None:
    index = hours(100_000, -60_000, 0)
    assert indexed_series(index, margin_micro_per_kwh=10_000) == hours(110_000, 0, 10_000)
    assert indexed_series(index, margin_micro_per_kwh=10_000, floor_micro_per_kwh=None) == hours(
        110_000, -50_000, 10_000
    )
    assert indexed_series(index, margin_micro_per_kwh=-20_000, floor_micro_per_kwh=5) == hours(80_000, 5, 5)


# --- Supply and demand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("supply", "demand", "export", "imported"), [(-1, 1, 1, 2), (1, -1, 1, 2), (1, 1, 3, 2), (1, 1, -1, 2)]
)
def test_impossible_supply_demand_or_tariffs_are_refused(supply: int, demand: int, export: int, imported: int) -> None:
    with pytest.raises(PriceInvalid):
        supply_demand_price(supply_wh=supply, demand_wh=demand, export_micro=export, import_micro=imported)


def test_series_over_different_slots_are_refused() -> None:
    with pytest.raises(PriceInvalid):
        supply_demand_series(hours(1), hours(1, 1), export_micro=1, import_micro=2)


@pytest.mark.parametrize(
    ("supply", "demand", "price"),
    [
        (0, 1000, 300_000),  # nothing is offered: what the retailer asks
        (500, 1000, 120_000),  # 75,000 x 300,000 / (225,000 x 0.5 + 75,000)
        (1000, 1000, 75_000),  # all demand is met: what the retailer pays
        (5000, 1000, 75_000),
        (0, 0, 75_000),
        (1, 0, 75_000),
    ],
)
def test_the_local_price_by_the_ratio_of_supply_and_demand(supply: int, demand: int, price: int) -> None:
    found = supply_demand_price(supply_wh=supply, demand_wh=demand, export_micro=75_000, import_micro=300_000)
    assert found == price


_wh = st.integers(0, 10**7)
_tariff = st.integers(0, 2_000_000)


def test_tariffs_that_are_both_nothing_leave_the_local_price_at_nothing() -> None:
    assert supply_demand_price(supply_wh=1, demand_wh=2, export_micro=0, import_micro=0) == 0


@given(supply=_wh, more=_wh, demand=_wh, low=_tariff, high=_tariff)
def test_the_local_price_lies_between_the_tariffs_and_falls_as_supply_grows(
    supply: int, more: int, demand: int, low: int, high: int
) -> None:
    export, imported = sorted((low, high))
    tariffs = {"export_micro": export, "import_micro": imported}
    price = supply_demand_price(supply_wh=supply, demand_wh=demand, **tariffs)
    assert export <= price <= imported
    assert supply_demand_price(supply_wh=supply + more, demand_wh=demand, **tariffs) <= price
