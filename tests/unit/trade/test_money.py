"""Whole units in, whole units out; nothing rounds but money, once, half away from zero."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, hours, priced_energies
from trade import money
from trade.money import DecimalRefused, Money, Series, Slot


@pytest.mark.parametrize(
    "text", ["abc1", "1e3", "", ".", "-", "NaN", "Infinity", "１", "0x1", " 1", "1 ", "1_0", "1,5"]
)
def test_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(DecimalRefused):
        money.wh_from_kwh(text)


def test_energy_finer_than_a_watt_hour_is_refused_and_not_rounded() -> None:
    with pytest.raises(DecimalRefused, match="3 decimal places"):
        money.wh_from_kwh("1.2345")


def test_idle_zeros_do_not_count_as_decimal_places() -> None:
    assert money.wh_from_kwh("1.2500000") == 1250


def test_a_number_too_long_for_the_database_is_refused() -> None:
    with pytest.raises(DecimalRefused):
        money.micro_from_price("1" + "0" * 12)


@pytest.mark.parametrize(
    ("milli", "currency", "text"),
    [
        (250_000, "USD", "2.50"),
        (108_432, "USD", "1.08432"),
        (108_430, "USD", "1.0843"),
        (-5_000, "INR", "-0.05"),
        (-1, "INR", "-0.00001"),
        (7_000, "JPY", "7"),
        (7_500, "JPY", "7.5"),
        (100_000, "JPY", "100"),
        (0, "KWD", "0.000"),
        (1_234_500, "XWH", "1.2345"),
        (12_000_000, "XCO", "12.000"),
    ],
)
def test_amounts_are_written_with_the_places_of_their_currency_and_the_finer_ones_that_count(
    milli: int, currency: str, text: str
) -> None:
    assert money.amount_from_milli(milli, currency) == text


@given(st.integers(min_value=-(10**13), max_value=10**13))
def test_a_written_quantity_reads_back_as_itself(units: int) -> None:
    assert money.wh_from_kwh(money.kwh_from_wh(units)) == units
    assert money.whole_units(money.amount_from_milli(units, "USD"), places=5) == units


@given(st.integers(min_value=0, max_value=10**17))
def test_a_written_price_reads_back_as_itself(micro: int) -> None:
    assert money.micro_from_price(money.price_from_micro(micro)) == micro


@given(st.integers(min_value=-(10**20), max_value=10**20), st.integers(min_value=1, max_value=10**10))
def test_division_rounds_half_away_from_zero_as_decimal_does(numerator: int, denominator: int) -> None:
    rounded = money.divide_half_away(numerator, denominator)
    with localcontext(prec=60):
        exact = Decimal(numerator) / Decimal(denominator)
        assert rounded == int(exact.to_integral_value(rounding=ROUND_HALF_UP))


@pytest.mark.parametrize(("nano", "milli"), [(8_175_005_000, 817_501), (5_000, 1), (4_999, 0), (-5_000, -1)])
def test_half_a_thousandth_of_a_cent_is_rounded_away_from_zero(nano: int, milli: int) -> None:
    assert money.milli_from_nano(nano, "USD") == milli


@pytest.mark.parametrize(("currency", "milli"), [("USD", 21_000), ("JPY", 210), ("KWD", 210_000), ("XWH", 210_000)])
def test_a_kilowatt_hour_at_021_costs_so_many_thousandths_of_each_minor_unit(currency: str, milli: int) -> None:
    assert money.cost_milli(energy_wh=hours(1000), price_micro_per_kwh=hours(210_000), currency=currency) == milli
    assert money.nano_from_milli(milli, currency) == 210_000_000


def test_each_slot_is_rounded_for_itself() -> None:
    # 3 Wh at 0.0055 are 1.65 thousandths of a cent: 2 in each slot, though three slots together are 4.95.
    assert money.cost_milli(energy_wh=hours(3, 3, 3), price_micro_per_kwh=hours(*[5_500] * 3), currency="USD") == 6


@pytest.mark.parametrize(
    ("milli", "minor", "payable"),
    [(1_499, 1, 1), (1_500, 2, 1), (999, 1, 0), (-1_500, -2, 0), (-1, 0, 0), (2_000, 2, 2)],
)
def test_what_leaves_the_ledger_is_whole_and_a_payout_never_more_than_there_is(
    milli: int, minor: int, payable: int
) -> None:
    assert money.minor_from_milli(milli) == minor
    assert money.payable_minor(milli) == payable


def test_a_strangers_figure_is_ours_or_ours_rounded_to_minor_units() -> None:
    ours = 22_500
    assert [said for said in range(22_000, 24_000, 500) if money.is_same_or_rounded(said, ours)] == [22_500, 23_000]
    assert money.is_same_or_rounded(1_499, 1_499) and money.is_same_or_rounded(-1_000, -1_400)


@given(priced_energies())
def test_a_cost_is_within_half_a_thousandth_of_a_cent_a_slot_of_the_exact_cost(case: tuple[Series, Series]) -> None:
    energy, price = case
    exact_nano = sum(e * p for e, p in zip(energy.values, price.values, strict=True))
    cost = money.cost_milli(energy_wh=energy, price_micro_per_kwh=price, currency="USD")
    assert abs(cost * 10**4 - exact_nano) * 2 <= 10**4 * len(energy.values)


def test_series_over_other_slots_have_no_cost() -> None:
    later = hours(210_000, start=SLOT_START + timedelta(hours=1))
    with pytest.raises(ValueError, match="different slots"):
        money.cost_milli(energy_wh=hours(1000), price_micro_per_kwh=later, currency="USD")


def test_a_series_refuses_a_local_start_no_slots_and_slots_of_no_length() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    with pytest.raises(ValueError, match="UTC"):
        Series(datetime(2026, 1, 1, tzinfo=kolkata), 3600, (1,))
    with pytest.raises(ValueError, match="at least one slot"):
        Series(SLOT_START, 3600, ())
    with pytest.raises(ValueError, match="positive length"):
        Series(SLOT_START, 0, (1,))


def test_a_series_knows_its_slots_and_the_stretch_it_uses() -> None:
    series = hours(0, 5, 0, 7, 0)
    hour = timedelta(hours=1)
    assert series.total == 12
    assert series.end == SLOT_START + 5 * hour
    assert list(series.slots())[1] == Slot(SLOT_START + hour, SLOT_START + 2 * hour)
    assert series.span == Slot(SLOT_START + hour, SLOT_START + 4 * hour)
    assert hours(0, 0).span == Slot(SLOT_START, SLOT_START + 2 * hour)


@given(
    st.integers(1, 30),
    st.sampled_from([60, 900, 3600]),
    st.none() | st.integers(-40_000, 150_000),
    st.none() | st.integers(-40_000, 150_000),
)
def test_the_slots_within_two_instants_are_those_that_lie_wholly_between(
    count: int, slot_s: int, start_s: int | None, end_s: int | None
) -> None:
    series = Series(SLOT_START, slot_s, (0,) * count)
    start = None if start_s is None else SLOT_START + timedelta(seconds=start_s)
    end = None if end_s is None else SLOT_START + timedelta(seconds=end_s)
    assert list(series.within(start, end)) == [
        index
        for index, slot in enumerate(series.slots())
        if (start is None or slot.start >= start) and (end is None or slot.end <= end)
    ]


def test_a_series_takes_only_as_many_values_as_it_has_slots() -> None:
    with pytest.raises(ValueError, match="as many values"):
        hours(1, 2).with_values((1,))


def test_money_of_two_currencies_is_never_added() -> None:
    with pytest.raises(money.CurrencyMismatch):
        Money(1, "USD") + Money(1, "INR")
    assert Money(5, "USD") - Money(7, "USD") == Money(-2, "USD")


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        money.utc(datetime(2026, 1, 1))  # noqa: DTZ001
