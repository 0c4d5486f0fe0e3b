"""What a quote costs, what cancelling costs, and how a single quantity is spread."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import (
    EVENING_BEFORE,
    SLOT_START,
    an_order,
    energies,
    hours,
    priced_energies,
    prices_micro,
)
from trade import money, pricing, settlement
from trade.money import Series
from trade.quote import TITLES, CancellationTerm, LineKind, QuoteLine

RUPEE = "INR"


def lines(energy: Series, price: Series, wheeling: int = 0, currency: str = "USD") -> list[tuple[LineKind, int]]:
    order = replace(
        an_order(), price_micro_per_kwh=price, wheeling_micro_per_kwh=wheeling, currency=currency, quote=None
    )
    return [(line.kind, line.amount_milli) for line in settlement.quote_lines(order, energy)]


def test_energy_and_prices_over_other_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="different slots"):
        lines(hours(1000), hours(210_000, 210_000))


def test_negative_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="never negative"):
        lines(hours(-1), hours(210_000))


def test_each_distinct_price_has_one_line_in_order_of_time() -> None:
    energy = hours(1000, 2000, 3000, 0)
    order = an_order(energy_wh=energy, price=hours(300_000, 210_000, 300_000, 999_000))
    quote = pricing.quote_of(order, energy_wh=energy, now=EVENING_BEFORE, ttl_s=300, quote_id="q")
    assert [(line.title, line.energy_wh, line.price_micro_per_kwh, line.amount_milli) for line in quote.lines] == [
        ("ENERGY", 4000, 300_000, 120_000),
        ("ENERGY", 2000, 210_000, 42_000),
        ("DISCOM_FEES", 6000, 20_000, 12_000),
    ]
    assert quote.total_milli == 174_000
    assert quote.expires_at == EVENING_BEFORE + timedelta(seconds=300)


def test_no_energy_still_has_a_line_to_show() -> None:
    assert lines(hours(0, 0), hours(210_000, 300_000)) == [(LineKind.ENERGY, 0)]


# Published check vectors of the Indian P2P devkit: (final kWh @ price), wheeling 0.25 per kWh paid by the buyer.
def test_the_published_vector_of_one_interval_costs_255_rupees() -> None:
    assert lines(hours(20_000), hours(12_500_000), 250_000, RUPEE) == [
        (LineKind.ENERGY, 250_00_000),
        (LineKind.WHEELING, 5_00_000),
    ]


def test_the_published_vector_of_two_intervals_keeps_the_half_paisa_until_it_leaves_the_ledger() -> None:
    found = lines(hours(18_500, 14_200), hours(12_500_000, 14_500_000), 250_000, RUPEE)
    assert found == [(LineKind.ENERGY, 231_25_000), (LineKind.ENERGY, 205_90_000), (LineKind.WHEELING, 8_17_500)]
    assert money.minor_from_milli(sum(amount for _, amount in found)) == 445_33


@given(priced_energies(), prices_micro)
def test_a_quote_is_within_half_a_thousandth_of_a_cent_a_slot_of_the_exact_cost(
    case: tuple[Series, Series], wheeling: int
) -> None:
    energy, price = case
    found = lines(energy, price, wheeling)
    exact_nano = sum(e * (p + wheeling) for e, p in zip(energy.values, price.values, strict=True))
    rounded = 2 * len(energy.values)  # each slot once for energy, once for wheeling
    assert 2 * abs(sum(amount for _, amount in found) * 10**4 - exact_nano) <= rounded * 10**4


def test_forty_four_watt_hours_cost_something() -> None:
    """The median slot of a street of homes: in whole cents it would be free."""
    assert lines(hours(44), hours(110_000)) == [(LineKind.ENERGY, 484)]


def line(kind: LineKind, amount_milli: int) -> QuoteLine:
    return QuoteLine(kind, TITLES[kind], amount_milli)


ENERGY, WHEELING = LineKind.ENERGY, LineKind.WHEELING
OURS = [line(ENERGY, 60_900), line(WHEELING, 5_804)]


@pytest.mark.parametrize(
    ("energy_milli", "wheeling_milli", "agreed"),
    [
        (60_900, 5_804, True),
        (61_000, 6_000, True),  # both in whole cents
        (60_900, 6_000, True),
        (60_901, 5_804, False),
        (60_000, 6_000, False),
        (61_000, 5_000, False),
        (66_704, 0, False),  # the sum is right, the kinds are not
    ],
)
def test_another_nodes_lines_are_ours_exactly_or_rounded_to_cents(
    energy_milli: int, wheeling_milli: int, agreed: bool
) -> None:
    theirs = [line(ENERGY, energy_milli), line(WHEELING, wheeling_milli)]
    assert pricing.agree(theirs, OURS) is agreed
    assert pricing.agree([line(ENERGY, energy_milli // 2), *theirs[1:], line(ENERGY, -(-energy_milli // 2))], OURS) is (
        agreed
    )


def test_a_line_of_nothing_says_nothing_and_a_line_we_lack_is_a_difference() -> None:
    assert pricing.agree([*OURS, line(LineKind.TAX, 0)], OURS)
    assert not pricing.agree([*OURS, line(LineKind.TAX, 1000)], OURS)
    assert not pricing.agree(OURS[:1], OURS)


def test_a_total_may_be_exact_or_rounded_or_the_sum_of_rounded_lines() -> None:
    ours = [line(ENERGY, 20_400), line(WHEELING, 2_400)]
    assert [said for said in range(20_000, 24_001, 100) if pricing.is_total_of(said, ours)] == [22_000, 22_800, 23_000]


@given(priced_energies())
def test_a_flat_price_quote_is_the_cost_of_the_series(case: tuple[Series, Series]) -> None:
    energy, price = case
    flat = Series.flat(energy, price.values[0])
    cost = money.cost_milli(energy_wh=energy, price_micro_per_kwh=flat, currency="USD")
    assert lines(energy, flat) == [(LineKind.ENERGY, cost)]


@given(priced_energies(), st.data())
def test_splitting_an_order_in_two_changes_its_price_by_rounding_only(
    case: tuple[Series, Series], data: st.DataObject
) -> None:
    energy, price = case
    part = energy.with_values(tuple(data.draw(st.integers(0, wh)) for wh in energy.values))
    rest = energy.with_values(tuple(wh - taken for wh, taken in zip(energy.values, part.values, strict=True)))
    whole, first, second = lines(energy, price), lines(part, price), lines(rest, price)
    difference = sum(a for _, a in first) + sum(a for _, a in second) - sum(a for _, a in whole)
    assert 2 * abs(difference) <= 3 * len(energy.values)


@given(priced_energies(), st.data())
def test_less_energy_never_costs_more(case: tuple[Series, Series], data: st.DataObject) -> None:
    energy, price = case
    less = energy.with_values(tuple(data.draw(st.integers(0, wh)) for wh in energy.values))
    assert sum(a for _, a in lines(less, price, 20_000)) <= sum(a for _, a in lines(energy, price, 20_000))


# Cancellation: the order's terms are free at 4 h, 25 % at 1 h, 50 % until delivery begins; its energy costs 63 cents.


def fee_with_notice(notice: timedelta, **changes: object) -> int:
    order = an_order(**changes)  # type: ignore[arg-type]
    fee = pricing.cancellation_fee(order, now_trading=SLOT_START - notice)
    assert fee is None or fee.kind is LineKind.CANCELLATION_FEE
    return fee.amount_milli if fee else 0


def test_an_order_cannot_be_cancelled_once_delivery_began() -> None:
    with pytest.raises(pricing.UnableToCancel, match="delivery has begun"):
        fee_with_notice(timedelta(seconds=-1))
    with pytest.raises(pricing.UnableToCancel, match="delivery has begun"):
        fee_with_notice(timedelta(seconds=-1), cancellation_terms=())


def test_an_order_cannot_be_cancelled_with_less_notice_than_any_term() -> None:
    with pytest.raises(pricing.UnableToCancel, match="needs 3600 s of notice, 3599 s are left"):
        fee_with_notice(timedelta(seconds=3599), cancellation_terms=(CancellationTerm(3600, 25),))


@pytest.mark.parametrize(
    ("notice_s", "fee_milli"),
    [(14_401, 0), (14_400, 0), (14_399, 15_750), (3600, 15_750), (3599, 31_500), (0, 31_500)],
)
def test_notice_met_to_the_second_still_counts(notice_s: int, fee_milli: int) -> None:
    assert fee_with_notice(timedelta(seconds=notice_s)) == fee_milli


def test_the_order_of_the_terms_does_not_matter() -> None:
    terms = an_order().cancellation_terms
    assert fee_with_notice(timedelta(hours=2), cancellation_terms=terms[::-1]) == 15_750


def test_without_terms_cancelling_is_free_until_delivery() -> None:
    assert fee_with_notice(timedelta(0), cancellation_terms=()) == 0


def test_notice_counts_from_the_first_slot_that_holds_energy() -> None:
    order = an_order(energy_wh=hours(0, 3000))
    fee = pricing.cancellation_fee(order, now_trading=SLOT_START)
    assert fee is not None
    assert fee.amount_milli == 15_750


@given(energies(), prices_micro, st.integers(0, 100), st.integers(0, 100_000))
def test_a_fee_never_exceeds_what_is_reserved(energy: Series, price: int, percent: int, notice_s: int) -> None:
    order = an_order(energy_wh=energy, price=price, cancellation_terms=(CancellationTerm(0, percent),))
    when = order.delivery_start - timedelta(seconds=notice_s)
    fee = pricing.cancellation_fee(order, now_trading=when)
    assert order.quote is not None
    assert 0 <= (fee.amount_milli if fee else 0) <= order.quote.total_milli


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ([(3600, 101)], "0 to 100"),
        ([(3600, -1)], "0 to 100"),
        ([(-1, 10)], "0 s or more"),
        ([(3600, 10), (3600, 20)], "two terms"),
        ([(0, 10), (3600, 20)], "may not cost less"),
    ],
)
def test_terms_nobody_could_explain_are_refused(terms: list[tuple[int, int]], sentence: str) -> None:
    with pytest.raises(pricing.TermsInvalid, match=sentence):
        pricing.check_terms([CancellationTerm(*term) for term in terms])


def test_terms_in_any_order_are_accepted() -> None:
    pricing.check_terms(an_order().cancellation_terms)
    pricing.check_terms(an_order().cancellation_terms[::-1])
    pricing.check_terms(())


# A single quantity.


def test_more_than_is_free_cannot_be_spread() -> None:
    with pytest.raises(pricing.NotEnoughEnergy) as refusal:
        pricing.spread_request(hours(1000, 2000), 3001)
    assert (refusal.value.asked_wh, refusal.value.free_wh) == (3001, 3000)


def test_a_quantity_is_spread_over_the_earliest_free_slots() -> None:
    assert pricing.spread_request(hours(0, 1000, 2000, 3000), 1500) == hours(0, 1000, 500, 0)


@given(energies(), st.data())
def test_a_spread_quantity_is_whole_and_within_what_is_free(free: Series, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(0, free.total))
    spread = pricing.spread_request(free, wanted)
    assert spread.total == wanted
    assert all(0 <= taken <= wh for taken, wh in zip(spread.values, free.values, strict=True))
