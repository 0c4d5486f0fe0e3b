"""From quote to contract: what is refused, with which code, and what is held and sold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpp import refusals, seller
from bpp.refusals import UnableTo, UnableToConfirm, UnableToHold, UnableToQuote
from energy_catalog.offers import Offer, OfferState
from tests.support.seller_cases import HOME, SESSION, confirmed, demand, held, ids, moment, quoted
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.money import Money, Series
from trade.order import OrderState

GATE = SLOT_START - timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("asked", "offer", "code", "says"),
    [
        (demand(), an_offer(provider_id="home-8"), refusals.ITEM_NOT_FOUND, "search again"),
        (demand(), an_offer(state=OfferState.WITHDRAWN), refusals.ITEM_NOT_FOUND, "not on sale"),
        (demand(), an_offer(valid_until=EVENING_BEFORE), refusals.ITEM_NOT_FOUND, "not on sale"),
        (demand(1001), an_offer(), refusals.QUANTITY_UNAVAILABLE, "1 kWh are free"),
        (demand(1000), an_offer(held_wh=hours(1, 0, 0)), refusals.QUANTITY_UNAVAILABLE, "0.999 kWh are free"),
        (demand(99), an_offer(order_wh_min=100), refusals.QUANTITY_UNAVAILABLE, "order 0.1 to 1000 kWh"),
        (demand(500), an_offer(order_wh_max=499), refusals.QUANTITY_UNAVAILABLE, "to 0.499 kWh"),
        (demand(1, 2, 3, 4), an_offer(), refusals.FULFILLMENT_UNAVAILABLE, "slots of 3600 s from 2016-08-02T15:00:00Z"),
        (
            demand(requested_wh=Series(SLOT_START, 900, (1,))),
            an_offer(),
            refusals.FULFILLMENT_UNAVAILABLE,
            "ask for energy in these slots",
        ),
        (
            demand(requested_wh=hours(1, start=SLOT_START + timedelta(minutes=5))),
            an_offer(),
            refusals.FULFILLMENT_UNAVAILABLE,
            "these slots",
        ),
        (demand(-1, 5), an_offer(), refusals.INVALID_REQUEST, "never negative"),
        (demand(requested_wh=None), an_offer(), refusals.INVALID_REQUEST, "how much energy"),
        (demand(requested_wh=None, energy_wh=6001), an_offer(), refusals.QUANTITY_UNAVAILABLE, "6 kWh are free"),
    ],
)
def test_select_is_refused_when_the_offer_cannot_serve_it(asked: Any, offer: Offer, code: str, says: str) -> None:
    with pytest.raises(UnableToQuote) as refusal:
        quoted(asked, offer=offer)
    assert refusal.value.code == code
    assert says in refusal.value.sentence


def test_select_is_refused_for_an_unknown_provider_or_item() -> None:
    known: dict[str, Any] = {"session": SESSION, "at": moment(), "ids": ids()}
    with pytest.raises(UnableToQuote) as refusal:
        seller.quote(demand(), offer=an_offer(), provider=None, **known)
    assert refusal.value.code == refusals.PROVIDER_NOT_FOUND
    with pytest.raises(UnableToQuote) as refusal:
        seller.quote(demand(), offer=None, provider=HOME, **known)
    assert refusal.value.code == refusals.ITEM_NOT_FOUND


def test_select_is_refused_one_second_after_the_gate_of_its_first_slot_with_energy() -> None:
    assert quoted(at=moment(trading=GATE)).contracted_wh.total == 3000
    with pytest.raises(UnableToQuote) as refusal:
        quoted(at=moment(trading=GATE + SECOND))
    assert refusal.value.code == refusals.FULFILLMENT_UNAVAILABLE
    assert "until 2016-08-02T14:00:00Z" in refusal.value.sentence
    later = demand(0, 2000)
    assert quoted(later, at=moment(trading=GATE + timedelta(hours=1))).contracted_wh == hours(0, 2000)


def test_the_gate_follows_the_trading_clock_and_the_quote_the_wall_clock() -> None:
    years_later = EVENING_BEFORE + timedelta(days=3650)
    order = quoted(at=moment(wall=years_later))
    assert order.quote is not None
    assert order.quote.expires_at == years_later + timedelta(seconds=300)


def test_a_quote_prices_every_slot_of_a_part_of_the_offer() -> None:
    order = quoted(demand(requested_wh=hours(2000, 3000, start=SLOT_START + timedelta(hours=1))))
    assert order.price_micro_per_kwh == hours(210_000, 220_000, start=SLOT_START + timedelta(hours=1))
    assert order.quote is not None
    assert [line.amount_milli for line in order.quote.lines] == [42_000, 66_000, 10_000]


def test_a_single_quantity_is_spread_over_open_free_slots_inside_the_window() -> None:
    offer = an_offer(sold_wh=hours(0, 500, 0))
    asked = demand(requested_wh=None, energy_wh=2000)
    assert quoted(asked, offer=offer).contracted_wh == hours(1000, 1000, 0)
    second_on = replace(asked, window_start=SLOT_START + timedelta(hours=1))
    assert quoted(second_on, offer=offer).contracted_wh == hours(0, 1500, 500)
    until_second = replace(asked, window_end=SLOT_START + timedelta(hours=1))
    with pytest.raises(UnableToQuote):
        quoted(until_second, offer=offer)
    gate_closed = moment(trading=GATE + SECOND)
    assert quoted(asked, offer=offer, at=gate_closed).contracted_wh == hours(0, 1500, 500)


def test_init_is_refused_without_a_customer_to_bill() -> None:
    with pytest.raises(UnableToHold) as refusal:
        held(demand(customer=None))
    assert refusal.value.code == refusals.INVALID_REQUEST


@pytest.mark.parametrize("state", [OrderState.ACTIVE, OrderState.COMPLETED, OrderState.CANCELLED])
def test_init_is_refused_in_a_session_that_had_a_contract(state: OrderState) -> None:
    with pytest.raises(UnableToHold) as refusal:
        held(earlier=replace(held().order, state=state))
    assert refusal.value.code == refusals.NOT_APPLICABLE
    assert "new transaction" in refusal.value.sentence


def test_init_holds_the_energy_and_says_until_when() -> None:
    decision = held()
    assert decision.offer.held_wh == hours(1000, 2000, 0)
    assert decision.order.state is OrderState.INITIALISED
    assert (decision.order.customer, decision.order.meter_id) == (demand().customer, "meter-7")


def test_init_again_replaces_the_hold_and_keeps_the_orders_identity() -> None:
    first = held()
    again = held(demand(500), offer=first.offer, earlier=first.order, ids=ids(2))
    assert again.offer.held_wh == hours(500, 0, 0)
    assert (again.order.order_id, again.order.tracking_token) == ("order-1", "order-1.token")
    assert again.order.quote is not None
    assert again.order.quote.quote_id == "quote-2"


def test_what_a_session_holds_is_free_for_itself_and_for_nobody_else() -> None:
    first = held(demand(1000, 2000, 3000))
    with pytest.raises(UnableToHold):
        held(demand(1), offer=first.offer)
    assert held(demand(1000), offer=first.offer, earlier=first.order).offer.held_wh == hours(1000, 0, 0)
    expired = replace(first.order, state=OrderState.EXPIRED)
    with pytest.raises(UnableToHold):
        held(demand(1000), offer=first.offer, earlier=expired)


def test_moving_to_another_offer_gives_back_the_first() -> None:
    first = held()
    other = an_offer(offer_id="offer-2")
    moved = held(replace(demand(), offer_id="offer-2"), offer=other, earlier=first.order)
    assert moved.offer.held_wh == hours(1000, 2000, 0)
    assert seller.released(first.offer, first.order).held_wh == hours(0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quote_total": Money(68_001, "USD")}, "The quote is over 0.68 USD"),
        ({"quote_total": Money(68_000, "INR")}, "The quote is over 0.68 USD"),
        ({"requested_wh": hours(1000, 1999)}, "other energy"),
        ({"requested_wh": None, "energy_wh": 2999}, "other energy"),
        ({"offer_id": "offer-2"}, "quote is for item 'offer-1'"),
    ],
)
def test_confirm_is_refused_when_it_accepts_something_else_than_was_quoted(changes: Any, says: str) -> None:
    hold = held()
    with pytest.raises(UnableToConfirm) as refusal:
        seller.confirm(
            hold.order, offer=hold.offer, demand=replace(demand(), **changes), wire_order_id="w", at=moment()
        )
    assert refusal.value.code == refusals.QUOTE_UNAVAILABLE
    assert says in refusal.value.sentence


@pytest.mark.parametrize(("said_milli", "is_taken"), [(7_326, True), (7_000, True), (8_000, False), (7_330, False)])
def test_a_buyer_that_counts_in_cents_confirms_the_quotes_total_rounded(said_milli: int, is_taken: bool) -> None:
    asked = demand(333)  # 0.0666 and 0.00666 of wheeling
    hold = held(asked)
    confirms = replace(asked, quote_total=Money(said_milli, "USD"))
    try:
        decision = seller.confirm(hold.order, offer=hold.offer, demand=confirms, wire_order_id="w", at=moment())
    except UnableToConfirm:
        assert not is_taken
    else:
        assert is_taken
        assert decision.order.quote is not None and decision.order.quote.total_milli == 7_326


def test_confirm_is_refused_when_quote_expired() -> None:
    hold = held()
    expiry = EVENING_BEFORE + timedelta(seconds=300)
    just_in_time = moment(wall=expiry - SECOND)
    assert seller.confirm(hold.order, offer=hold.offer, demand=demand(), wire_order_id="w", at=just_in_time)
    with pytest.raises(UnableToConfirm) as refusal:
        seller.confirm(hold.order, offer=hold.offer, demand=demand(), wire_order_id="w", at=moment(wall=expiry))
    assert refusal.value.code == refusals.QUOTE_UNAVAILABLE
    assert "send init" in refusal.value.sentence


def test_confirm_is_refused_without_init_and_after_expiry() -> None:
    with pytest.raises(UnableToConfirm):
        seller.check_stands(None, now_wall=EVENING_BEFORE)
    with pytest.raises(UnableToConfirm):
        seller.check_stands(replace(held().order, state=OrderState.EXPIRED), now_wall=EVENING_BEFORE)


def test_confirm_is_refused_once_the_gate_closed_although_the_quote_stands() -> None:
    hold = held()
    late = moment(trading=GATE + SECOND)
    with pytest.raises(UnableToConfirm) as refusal:
        seller.confirm(hold.order, offer=hold.offer, demand=demand(), wire_order_id="w", at=late)
    assert refusal.value.code == refusals.FULFILLMENT_UNAVAILABLE


def test_confirm_sells_what_was_held_even_when_the_offer_was_withdrawn_meanwhile() -> None:
    hold = held()
    withdrawn = replace(hold.offer, state=OfferState.WITHDRAWN)
    decision = seller.confirm(hold.order, offer=withdrawn, demand=demand(), wire_order_id="wire-1", at=moment())
    assert decision.order.state is OrderState.ACTIVE
    assert decision.order.wire_order_id == "wire-1"
    assert decision.offer.held_wh == hours(0, 0, 0)
    assert decision.offer.sold_wh == hours(1000, 2000, 0)


def test_confirm_understands_the_quoted_energy_written_over_other_slots() -> None:
    hold = held(demand(0, 2000, 0))
    narrow = demand(requested_wh=hours(2000, start=SLOT_START + timedelta(hours=1)))
    decision = seller.confirm(hold.order, offer=hold.offer, demand=narrow, wire_order_id="w", at=moment())
    assert decision.order.contracted_wh == hours(0, 2000, 0)


def test_a_confirm_said_again_is_a_repeat_and_another_id_is_refused() -> None:
    active = confirmed().order
    assert seller.is_repeat(active, "wire-1")
    assert seller.is_repeat(active, "")
    assert seller.is_repeat(replace(active, state=OrderState.COMPLETED), "wire-1")
    assert not seller.is_repeat(held().order, "wire-1")
    assert not seller.is_repeat(None, "wire-1")
    with pytest.raises(UnableToConfirm) as refusal:
        seller.is_repeat(active, "wire-2")
    assert refusal.value.code == refusals.NOT_APPLICABLE
    with pytest.raises(UnableToConfirm):
        seller.is_repeat(replace(active, state=OrderState.CANCELLED), "wire-1")


def test_expiry_frees_the_energy() -> None:
    hold = held()
    decision = seller.expire(hold.order, hold.offer, now_wall=EVENING_BEFORE)
    assert decision.order.state is OrderState.EXPIRED
    assert decision.offer.available_wh == an_offer().available_wh


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 1500), min_size=3, max_size=3)), max_size=30))
def test_whatever_buyers_do_nothing_is_held_or_sold_twice(steps: list[tuple[int, list[int]]]) -> None:
    """A story of inits, confirms and expiries in any order: what is held and sold is what the live orders say."""
    offer = an_offer()
    live: dict[str, Any] = {}
    for number, (step, values) in enumerate(steps):
        waiting = [order for order in live.values() if order.state is OrderState.INITIALISED]
        try:
            if step >= 2 or not waiting:
                decision = held(demand(*values), offer=offer, ids=ids(number))
            elif step == 1:
                decision = seller.expire(waiting[0], offer, now_wall=EVENING_BEFORE)
            else:
                asked = demand(requested_wh=waiting[0].contracted_wh)
                decision = seller.confirm(waiting[0], offer=offer, demand=asked, wire_order_id="w", at=moment())
        except UnableTo:
            continue
        offer, live[decision.order.order_id] = decision.offer, decision.order

    def taken(state: OrderState) -> Series:
        orders = [order.contracted_wh.values for order in live.values() if order.state is state]
        return hours(*(sum(column) for column in zip((0, 0, 0), *orders, strict=True)))

    assert offer.held_wh == taken(OrderState.INITIALISED)
    assert offer.sold_wh == taken(OrderState.ACTIVE)
    assert min(offer.available_wh.values) >= 0
