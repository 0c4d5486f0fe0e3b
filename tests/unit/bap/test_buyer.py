"""What a buyer decides on the way to a contract; refusals first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import buyer, quotes
from energy_catalog.offers import OfferView, Provider, Source
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE, an_order, hours, requote
from trade import settlement
from trade.money import Series
from trade.order import Customer, OrderState

WAIT = timedelta(seconds=60)
LATER = EVENING_BEFORE + timedelta(seconds=400)
CUSTOMER = Customer("Anna", "anna@example.com", "+4915112345")


def a_view(**changes: Any) -> OfferView:
    available = changes.pop("available_wh", hours(1000, 2000, 3000))
    view = OfferView(
        seller_id="bpp.example",
        provider=Provider("home-7", "Home 7", "Rooftop", "", "34.1, -117.4", "meter-7"),
        offer_id="offer-1",
        source=Source.SOLAR,
        currency=DOLLAR,
        available_wh=available,
        price_micro_per_kwh=available.with_values(tuple(200_000 + 10_000 * n for n in range(len(available.values)))),
        wheeling_micro_per_kwh=20_000,
        order_wh_min=100,
        order_wh_max=5000,
        fulfillment_id="1",
        fulfillment_type="GRID_INJECTION",
    )
    return replace(view, **changes)


def choose(wish: buyer.Wish, *, offer: OfferView | None = None, draft: Any = None) -> buyer.Step:
    return buyer.choose(
        offer or a_view(),
        wish,
        draft=draft,
        transaction_id="transaction-1",
        order_id="order-9",
        message_id="message-1",
        now=EVENING_BEFORE,
        wait=WAIT,
    )


def a_wish(series: Series | None = None, energy_wh: int | None = None) -> buyer.Wish:
    return buyer.Wish("anna", CUSTOMER, series, energy_wh)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (a_wish(hours(1001)), "energy.energy_wh.0"),
        (a_wish(hours(1000, 2000, 3000, 1)), "energy"),
        (a_wish(hours(100, start=hours(1).start + timedelta(minutes=30))), "energy"),
        (a_wish(Series(hours(1).start, 900, (100,))), "energy"),
        (a_wish(hours(99)), "energy"),
        (a_wish(hours(0, 0)), "energy"),
        (a_wish(hours(1000, 2000, 2001)), "energy"),
        (a_wish(energy_wh=6001), "energy_wh"),
    ],
)
def test_a_wish_the_offer_cannot_meet_is_unfit_and_names_the_field(wish: buyer.Wish, field: str) -> None:
    with pytest.raises(buyer.Unfit) as refusal:
        choose(wish)
    assert refusal.value.field == field


def test_choosing_again_after_confirming_is_refused() -> None:
    with pytest.raises(buyer.NotNow, match="ACTIVE"):
        choose(a_wish(hours(500)), draft=an_order(state=OrderState.ACTIVE))


def test_choosing_again_replaces_the_draft_under_its_own_id() -> None:
    step = choose(a_wish(hours(500)), draft=an_order(state=OrderState.INITIALISED))
    assert (step.order.order_id, step.order.state) == ("order-1", OrderState.SELECTING)
    assert step.order.quote is None


def test_a_series_inside_the_offer_takes_the_prices_of_its_slots() -> None:
    wanted = hours(2000, 1000, start=hours(1).start + timedelta(hours=1))
    order = choose(a_wish(wanted)).order
    assert order.price_micro_per_kwh.values == (210_000, 220_000)
    assert order.awaiting_until == EVENING_BEFORE + WAIT


def test_one_quantity_is_spread_over_the_offers_slots_earliest_first() -> None:
    assert choose(a_wish(energy_wh=1500)).order.contracted_wh.values == (1000, 500, 0)


def test_init_and_confirm_need_a_quote_that_still_stands() -> None:
    for state, start in ((OrderState.QUOTED, buyer.start_init), (OrderState.INITIALISED, buyer.start_confirm)):
        with pytest.raises(buyer.NotNow, match="expired"):
            start(an_order(state=state), message_id="m", now=LATER, wait=WAIT)


def test_confirm_before_init_is_refused() -> None:
    with pytest.raises(buyer.NotNow, match="QUOTED"):
        buyer.start_confirm(an_order(state=OrderState.QUOTED), message_id="m", now=EVENING_BEFORE, wait=WAIT)


def test_confirm_reserves_the_quotes_total_and_proposes_our_id() -> None:
    step = buyer.start_confirm(an_order(), message_id="m", now=EVENING_BEFORE, wait=WAIT)
    assert (step.order.state, step.order.wire_order_id) == (OrderState.CONFIRMING, "order-1")
    [reserve] = step.transfers
    legs = {leg.account: leg.amount_milli for leg in reserve.legs}
    assert step.order.quote is not None and step.order.quote.total_milli == 69_000
    assert legs == {"wallet:anna": -69_000, "escrow:order-1": 69_000}


def quoted(**changes: Any) -> quotes.Quoted:
    order = an_order()
    assert order.quote is not None
    energy_wh = changes.get("contracted_wh", order.contracted_wh)
    prices = Series.flat(energy_wh, order.price_micro_per_kwh.values[0])
    lines = settlement.quote_lines(replace(order, price_micro_per_kwh=prices), energy_wh)
    counted = replace(order.quote, lines=lines)
    return quotes.Quoted(**{"quote": counted, "contracted_wh": energy_wh, **changes})


def test_a_quote_in_another_currency_refuses_the_order() -> None:
    draft = an_order(state=OrderState.SELECTING)
    assert draft.quote is not None
    step = quotes.record_quote(draft, quoted(quote=replace(draft.quote, currency="INR")), now=EVENING_BEFORE)
    assert step is not None
    assert (step.order.state, step.order.refusal_code) == (OrderState.REFUSED, "QUOTE_UNFIT")


@pytest.mark.parametrize("energy_wh", [hours(1000, 2001), hours(1001, 1999), hours(3001)])
def test_a_quote_for_more_than_was_asked_refuses_the_order(energy_wh: Series) -> None:
    step = quotes.record_quote(
        an_order(state=OrderState.SELECTING), quoted(contracted_wh=energy_wh), now=EVENING_BEFORE
    )
    assert step is not None and step.order.state is OrderState.REFUSED


def test_a_quote_for_less_is_taken_with_its_series() -> None:
    less = hours(1000, 500)
    step = quotes.record_quote(an_order(state=OrderState.SELECTING), quoted(contracted_wh=less), now=EVENING_BEFORE)
    assert step is not None
    assert (step.order.state, step.order.contracted_wh) == (OrderState.QUOTED, less)


@pytest.mark.parametrize("too_much_milli", [1, -1])
def test_a_quote_that_its_own_prices_do_not_come_to_refuses_the_order(too_much_milli: int) -> None:
    right = quoted().quote
    first, *others = right.lines
    wrong = replace(right, lines=(replace(first, amount_milli=first.amount_milli + too_much_milli), *others))
    step = quotes.record_quote(an_order(state=OrderState.SELECTING), quoted(quote=wrong), now=EVENING_BEFORE)
    assert step is not None
    assert (step.order.state, step.order.refusal_code) == (OrderState.REFUSED, "QUOTE_UNFIT")
    said = "0.69001" if too_much_milli > 0 else "0.68999"
    assert step.order.refusal.startswith(f"The seller's quote comes to {said} USD")
    assert step.order.refusal.endswith("charges come to 0.69.")


def test_a_quote_in_whole_cents_is_taken_at_the_exact_figure_and_that_is_told() -> None:
    # 1.033 and 2 kWh: 0.63693 and 0.06066. A node that counts in cents says 0.64 and 0.06.
    asked = hours(1033, 2000)
    exact = quoted(contracted_wh=asked).quote
    energy, wheeling = exact.lines
    rounded = replace(exact, lines=(replace(energy, amount_milli=64_000), replace(wheeling, amount_milli=6_000)))
    draft = an_order(state=OrderState.SELECTING, energy_wh=asked)
    step = quotes.record_quote(draft, quoted(quote=rounded, contracted_wh=asked), now=EVENING_BEFORE)
    assert step is not None and step.order.quote is not None
    assert step.order.quote.lines == exact.lines
    assert step.events == (("order.quoted", {"total_milli": 69_759, "seller_total_milli": 70_000}),)


def test_a_late_quote_changes_nothing() -> None:
    assert quotes.record_quote(an_order(state=OrderState.CONFIRMING), quoted(), now=EVENING_BEFORE) is None
    assert quotes.record_hold(an_order(state=OrderState.ACTIVE), quoted(), now=EVENING_BEFORE) is None


def test_an_unanswered_draft_ends_and_an_unanswered_confirm_is_chased_ever_more_slowly() -> None:
    silent = buyer.note_silence(an_order(state=OrderState.SELECTING), message_id="m", now=LATER, wait=WAIT)
    assert silent.order.state is OrderState.EXPIRED
    assert silent.order.refusal_code == "NO_ANSWER"

    order = an_order(state=OrderState.CONFIRMING, awaiting_until=EVENING_BEFORE + WAIT)
    pauses = []
    for _ in range(8):
        assert order.awaiting_until is not None
        now = order.awaiting_until
        order = buyer.note_silence(order, message_id="m", now=now, wait=WAIT).order
        assert order.awaiting_until is not None
        pauses.append((order.awaiting_until - now).total_seconds())
        assert order.state is OrderState.UNANSWERED
    assert pauses == [120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_late_confirmation_is_taken_and_a_second_one_changes_nothing() -> None:
    late = buyer.record_confirmation(an_order(state=OrderState.UNANSWERED), wire_order_id="theirs", now=LATER)
    assert late is not None
    assert (late.order.state, late.order.wire_order_id) == (OrderState.ACTIVE, "theirs")
    assert buyer.record_confirmation(late.order, wire_order_id="theirs", now=LATER) is None


def test_a_confirmation_of_what_was_never_confirmed_is_not_taken() -> None:
    assert buyer.record_confirmation(an_order(), wire_order_id="theirs", now=LATER) is None


def test_a_refusal_after_confirm_gives_everything_reserved_back() -> None:
    step = buyer.refuse(
        an_order(state=OrderState.UNANSWERED), code="40002", sentence="Sold out.", reserved_milli=69_000, now=LATER
    )
    [released] = step.transfers
    assert {leg.account: leg.amount_milli for leg in released.legs} == {
        "escrow:order-1": -69_000,
        "wallet:anna": 69_000,
    }
    assert (step.order.state, step.order.refusal) == (OrderState.REFUSED, "Sold out.")


def test_delivery_does_not_start_while_a_cancel_is_under_way() -> None:
    assert buyer.start_delivery(an_order(state=OrderState.CANCELLING), now=LATER) is None
    started = buyer.start_delivery(an_order(state=OrderState.ACTIVE), now=LATER)
    assert started is not None and started.order.state is OrderState.DELIVERING


def test_the_event_of_a_step_is_named_after_the_state() -> None:
    order = an_order(state=OrderState.SELECTING)
    quote = requote(order, order.contracted_wh, quote_id="q")
    step = quotes.record_quote(order, quoted(quote=quote), now=EVENING_BEFORE)
    assert step is not None and step.events == (("order.quoted", {"total_milli": quote.total_milli}),)


def test_an_unfit_second_quote_leaves_the_first_standing() -> None:
    order = an_order(state=OrderState.QUOTED)
    assert quotes.record_quote(order, quoted(contracted_wh=hours(9000, 9000)), now=EVENING_BEFORE) is None
    held = an_order(state=OrderState.INITIALISED)
    assert quotes.record_hold(held, quoted(contracted_wh=hours(9000, 9000)), now=EVENING_BEFORE) is None
