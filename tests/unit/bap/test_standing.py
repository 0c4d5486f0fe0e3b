"""Standing orders: when they run, also on daylight-saving days, and what they choose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bap import standing
from bap.standing import Ranking, Terms
from energy_catalog.offers import OfferView, Provider, Source
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE, SLOT_START, an_order, hours
from trade.money import Series, Slot

NEW_YORK = "America/New_York"
WINDOW = Slot(SLOT_START, SLOT_START + timedelta(hours=3))


def terms(**changes: Any) -> Terms:
    """Every evening at 18:00 in New York, for tomorrow from 00:00 to 24:00, 6 kWh at 0.30 at most."""
    given_terms = Terms(
        zone=NEW_YORK,
        at_minute=18 * 60,
        days_ahead=1,
        start_minute=0,
        end_minute=1440,
        price_micro_per_kwh_max=300_000,
        ranking=Ranking.CHEAPEST,
        energy_wh=6_000,
    )
    return replace(given_terms, **changes)


def offer(name: str = "offer-1", *, free: Series | None = None, price: int = 200_000, **changes: Any) -> OfferView:
    """1, 2 and 3 kWh at 0.20, wheeling 0.02."""
    free = free or hours(1000, 2000, 3000)
    view = OfferView(
        seller_id="bpp.example",
        provider=Provider(f"home-{name}", name, "", "", "", ""),
        offer_id=name,
        source=Source.SOLAR,
        currency=DOLLAR,
        available_wh=free,
        price_micro_per_kwh=Series.flat(free, price),
        wheeling_micro_per_kwh=20_000,
        order_wh_min=1,
        order_wh_max=0,
        fulfillment_id="1",
        fulfillment_type="GRID_INJECTION",
    )
    return replace(view, **changes)


def chosen(*offers: OfferView, of: Terms | None = None, **options: Any) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """What a run takes of each offer, and why no more."""
    given_options = {"window": WINDOW, "currency": DOLLAR, "now_trading": EVENING_BEFORE} | options
    choice = standing.choose(offers, of or terms(), **given_options)
    return {pick.offer.offer_id: pick.energy_wh.values for pick in choice.picks}, list(choice.sentences)


# --- When -------------------------------------------------------------------------------------------------------------


def test_a_run_begins_at_its_local_time_and_buys_for_tomorrow() -> None:
    due = standing.next_run(terms(), after=datetime(2017, 1, 10, 12, tzinfo=UTC))
    assert (due.run_date, due.at) == (date(2017, 1, 10), datetime(2017, 1, 10, 23, tzinfo=UTC))
    assert due.window == Slot(datetime(2017, 1, 11, 5, tzinfo=UTC), datetime(2017, 1, 12, 5, tzinfo=UTC))


def test_the_next_run_is_later_than_now_and_never_now() -> None:
    at = datetime(2017, 1, 10, 23, tzinfo=UTC)
    assert standing.next_run(terms(), after=at).run_date == date(2017, 1, 11)
    assert standing.latest_run(terms(), now=at).run_date == date(2017, 1, 10)


def test_a_window_over_a_night_of_daylight_saving_has_23_or_25_hours() -> None:
    spring = standing.run_on(terms(), date(2017, 3, 11)).window  # clocks go forward on the 12th
    autumn = standing.run_on(terms(), date(2017, 11, 4)).window  # and back on 5 November
    assert (spring.end - spring.start, autumn.end - autumn.start) == (timedelta(hours=23), timedelta(hours=25))


def test_a_local_time_that_does_not_exist_is_the_moment_the_clocks_go_forward() -> None:
    run = standing.run_on(terms(at_minute=150), date(2017, 3, 12))
    assert run.at == datetime(2017, 3, 12, 7, tzinfo=UTC)  # 03:00 in summer time, where 02:00 would have been
    skipped = standing.local_instant(date(2011, 12, 30), 12 * 60, ZoneInfo("Pacific/Apia"))  # a day Samoa never had
    assert skipped == datetime(2011, 12, 30, 10, tzinfo=UTC)


def test_a_local_time_that_exists_twice_is_the_first_of_the_two() -> None:
    run = standing.run_on(terms(at_minute=90), date(2017, 11, 5))
    assert run.at == datetime(2017, 11, 5, 5, 30, tzinfo=UTC)  # still summer time


@pytest.mark.parametrize(
    ("start", "end", "minutes"), [(150, 180, 0), (120, 180, 0), (150, 240, 60), (60, 150, 60), (180, 210, 30)]
)
def test_a_window_has_the_minutes_that_exist_and_is_empty_when_none_do(start: int, end: int, minutes: int) -> None:
    window = standing.run_on(terms(start_minute=start, end_minute=end), date(2017, 3, 11)).window
    assert window.end - window.start == timedelta(minutes=minutes)


def test_a_run_may_begin_so_long_before_its_window() -> None:
    before = terms(at_minute=None, before_delivery_s=7200, days_ahead=0, start_minute=17 * 60, end_minute=22 * 60)
    due = standing.next_run(before, after=datetime(2017, 6, 1, 12, tzinfo=UTC))
    assert due.at == due.window.start - timedelta(hours=2) == datetime(2017, 6, 1, 19, tzinfo=UTC)


@given(
    st.integers(0, 4 * 366 * 86_400).map(lambda s: datetime(2016, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    st.integers(0, 1439),
    st.sampled_from([NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.integers(0, 7),
)
def test_every_date_has_one_run_and_they_follow_each_other(
    now: datetime, minute: int, zone: str, days_ahead: int
) -> None:
    rules = terms(zone=zone, at_minute=minute, days_ahead=days_ahead)
    first = standing.next_run(rules, after=now)
    second = standing.next_run(rules, after=first.at)
    assert now < first.at < second.at
    assert standing.latest_run(rules, now=first.at) == first
    assert first.run_date < second.run_date


def test_terms_survive_being_stored() -> None:
    for kept in (terms(), terms(source=Source.WIND, slot_s=900, slot_wh=50, energy_wh=None, score_min=900)):
        assert standing.from_document(standing.to_document(kept)) == kept


# --- What -------------------------------------------------------------------------------------------------------------


def test_the_cheapest_slots_are_taken_first_over_several_offers() -> None:
    dear, cheap = offer("dear", price=250_000), offer("cheap", price=100_000)
    taken, why = chosen(dear, cheap, of=terms(energy_wh=7_000))
    assert taken == {"dear": (1000,), "cheap": (1000, 2000, 3000)}
    assert why == []


def test_the_highest_price_includes_wheeling() -> None:
    taken, why = chosen(offer(price=280_001))
    assert taken == {}
    assert why == ["No offer had energy in the window at 0.3 per kWh or less, wheeling included."]
    assert chosen(offer(price=280_000))[0] == {"offer-1": (1000, 2000, 3000)}


def test_what_is_wanted_in_every_slot_is_never_more_than_that_in_one() -> None:
    each = terms(energy_wh=None, slot_s=3600, slot_wh=1500)
    taken, why = chosen(offer("one"), offer("two", price=210_000), of=each)
    assert taken == {"one": (1000, 1500, 1500), "two": (500,)}
    assert why == []


def test_finer_slots_of_an_offer_share_one_of_the_orders_and_longer_ones_are_not_taken() -> None:
    quarters = offer("quarters", free=Series(SLOT_START, 900, (400,) * 12))
    each = terms(energy_wh=None, slot_s=3600, slot_wh=1000)
    assert chosen(quarters, of=each)[0] == {"quarters": (400, 400, 200, 0, 400, 400, 200, 0, 400, 400, 200)}
    assert chosen(offer(), of=terms(energy_wh=None, slot_s=900, slot_wh=1000))[0] == {}


def test_the_spend_limit_holds_to_the_thousandth_of_a_cent() -> None:
    taken, why = chosen(offer(), of=terms(spend_milli_max=33_000))  # 0.33 dollars at 0.22 all-in is 1.5 kWh
    assert taken == {"offer-1": (1000, 500)}
    assert why == ["The spend limit was reached."]
    assert chosen(offer(), of=terms(spend_milli_max=33_000), spent_milli=33_000)[0] == {}


def test_offers_below_their_least_order_are_left_out_and_the_rest_serves() -> None:
    picky = offer("picky", price=100_000, order_wh_min=50_000)
    taken, why = chosen(picky, offer("easy"), of=terms(energy_wh=1_000))
    assert taken == {"easy": (1000,)}
    assert why == []
    assert chosen(picky)[1][0] == "1 offer(s) take only larger orders than were left to buy."


def test_no_offer_gives_more_than_its_largest_order() -> None:
    assert chosen(offer(order_wh_max=1_500))[0] == {"offer-1": (1000, 500)}


def test_another_currency_or_source_is_no_offer() -> None:
    taken, why = chosen(offer(currency="EUR"), offer(source=Source.WIND), of=terms(source=Source.SOLAR))
    assert taken == {}
    assert why[0] == "2 offer(s) had another currency or source, or too low a score."
    assert chosen()[1] == ["No seller offered anything."]


def test_slots_that_have_begun_or_lie_outside_the_window_are_not_bought() -> None:
    assert chosen(offer(), now_trading=SLOT_START + timedelta(minutes=1))[0] == {"offer-1": (2000, 3000)}
    assert chosen(offer(), window=Slot(SLOT_START, SLOT_START + timedelta(minutes=90)))[0] == {"offer-1": (1000,)}


def test_what_was_bought_before_counts() -> None:
    taken, _ = chosen(offer("second"), of=terms(energy_wh=None, slot_s=3600, slot_wh=1000), bought=[hours(1000, 400)])
    assert taken == {"second": (600, 1000)}


def test_one_run_buys_of_a_bounded_number_of_offers() -> None:
    many = [offer(f"offer-{n:02}", free=hours(10)) for n in range(standing.PICKS_MAX + 5)]
    assert len(chosen(*many)[0]) == standing.PICKS_MAX


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.integers(0, 400_000), st.integers(1, 3000)
        ),
        max_size=5,
    ),
    st.integers(1, 20_000),
    st.integers(1, 200_000),
)
def test_a_choice_never_breaks_its_limits(
    stock: list[tuple[list[int], int, int]], energy_wh: int, spend_milli: int
) -> None:
    offers = [
        offer(f"offer-{n}", free=hours(*wh), price=price, order_wh_min=least)
        for n, (wh, price, least) in enumerate(stock)
    ]
    rules = terms(energy_wh=energy_wh, spend_milli_max=spend_milli)
    choice = standing.choose(
        offers, rules, window=Slot(SLOT_START, SLOT_START + timedelta(hours=6)), currency=DOLLAR,
        now_trading=EVENING_BEFORE,
    )  # fmt: skip
    assert sum(pick.energy_wh.total for pick in choice.picks) <= energy_wh
    assert sum(pick.cost_milli for pick in choice.picks) <= spend_milli
    for pick in choice.picks:
        free, taken = pick.offer.available_wh, pick.energy_wh
        offset = int((taken.start - free.start).total_seconds()) // 3600
        assert all(0 <= wh <= free.values[offset + n] for n, wh in enumerate(taken.values))
        assert taken.total >= pick.offer.order_wh_min
        assert pick.offer.price_micro_per_kwh.values[0] + 20_000 <= rules.price_micro_per_kwh_max


# --- The quote --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "fault"), [(230_000, ""), (229_999, "above the highest price")])
def test_a_quote_above_the_highest_price_is_not_taken(price: int, fault: str) -> None:
    order = an_order(price=210_000)  # 0.23 with wheeling
    lower = replace(order, contracted_wh=order.contracted_wh.with_values((1_000_000, 2_000_000)))
    quoted = replace(lower, quote=an_order(energy_wh=lower.contracted_wh).quote)
    assert fault in standing.fault_of_quote(quoted, terms(price_micro_per_kwh_max=price), spent_milli=0)
    assert bool(fault) == bool(standing.fault_of_quote(quoted, terms(price_micro_per_kwh_max=price), spent_milli=0))


def test_a_quote_above_what_is_left_of_the_days_money_is_not_taken() -> None:
    order = an_order()
    assert order.quote is not None
    limit = order.quote.total_milli + 100
    assert standing.fault_of_quote(order, terms(spend_milli_max=limit), spent_milli=100) == ""
    assert "spend limit" in standing.fault_of_quote(order, terms(spend_milli_max=limit), spent_milli=101)
