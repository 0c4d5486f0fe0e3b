"""What an order goes through while its utility is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bpp import cascade, serving
from bpp.refusals import UnableToUpdate
from bpp.seller import Moment
from energy_catalog import offers
from energy_catalog.offers import Offer
from tests.support.trade_cases import EVENING_BEFORE, an_offer, an_order
from trade.order import Order, OrderEvent, OrderState, Side, UnableToAdvance
from trade.quote import LineKind

NOW = EVENING_BEFORE
AT = Moment(NOW, NOW)
LATER = NOW + timedelta(seconds=10)


def held() -> tuple[Order, Offer]:
    order = an_order(side=Side.SELLER, state=OrderState.INITIALISED, wire_order_id="", meter_id="meter-7")
    offer = an_offer()
    return order, offers.hold(offer, serving.onto(offer.offered_wh, order.contracted_wh))


def asked() -> tuple[Order, Offer]:
    order, offer = held()
    waiting = cascade.ask(
        order, utility_id="utility.example", transaction_id="t", buyer_message_id="m", until=LATER, now=NOW
    )
    return waiting, offer


def clear(order: Order) -> Order:
    rates: Any = {"wheeling_buyer_micro_per_kwh": 50_000, "wheeling_seller_micro_per_kwh": 10_000}
    return cascade.cleared(order, **rates, quote_id="99999999-2222-4333-8444-555555555555", at=AT)


def test_an_order_waits_for_its_utility_with_its_energy_held() -> None:
    waiting, _ = asked()
    assert (waiting.state, waiting.awaiting_message_id, waiting.awaiting_until) == (OrderState.CLEARING, "m", LATER)
    assert cascade.is_waiting(waiting)
    request = cascade.request_of(waiting)
    assert (request.order_id, request.seller_meter_id, request.energy_wh) == (
        waiting.order_id,
        waiting.meter_id,
        waiting.contracted_wh,
    )


def test_the_utilitys_charges_are_in_force_and_in_the_quote() -> None:
    waiting, _ = asked()
    order = clear(waiting)
    assert (order.state, order.awaiting_until) == (OrderState.INITIALISED, None)
    assert order.quote is not None and waiting.quote is not None
    wheeling = [line for line in order.quote.lines if line.kind is LineKind.WHEELING]
    assert [line.price_micro_per_kwh for line in wheeling] == [50_000]
    assert order.quote.total_milli > waiting.quote.total_milli
    assert order.quote.expires_at == NOW + timedelta(seconds=order.quote.ttl_s)
    assert order.wheeling_seller_micro_per_kwh == 10_000


def test_a_confirm_sells_only_once_the_utility_has_logged_it() -> None:
    order, offer = held()
    agreed = replace(order, wire_order_id="buyers-id")
    waiting = cascade.commit(clear(asked()[0]), agreed, buyer_message_id="m2", until=LATER, now=NOW)
    assert (waiting.state, waiting.wire_order_id) == (OrderState.COMMITTING, "buyers-id")
    done = cascade.committed(waiting, offer, now=NOW)
    assert (done.order.state, done.order.awaiting_message_id) == (OrderState.ACTIVE, "")
    assert (done.offer.held_wh.total, done.offer.sold_wh.values) == (0, (1000, 2000, 0))


@pytest.mark.parametrize("event", [OrderEvent.UTILITY_REFUSED, OrderEvent.NO_ANSWER])
def test_a_utility_that_refuses_or_is_silent_at_init_frees_the_energy(event: OrderEvent) -> None:
    waiting, offer = asked()
    over = cascade.refused(waiting, offer, code="40002", sentence="too much", event=event, now=NOW)
    assert (over.order.state, over.order.refusal, over.offer.held_wh.total) == (OrderState.EXPIRED, "too much", 0)


def test_a_refused_confirm_leaves_no_order_of_the_buyers_id() -> None:
    waiting = cascade.commit(clear(asked()[0]), held()[0], buyer_message_id="m2", until=LATER, now=NOW)
    over = cascade.refused(
        replace(waiting, wire_order_id="w"), held()[1], code="1", sentence="no",
        event=OrderEvent.UTILITY_REFUSED, now=NOW,
    )  # fmt: skip
    assert (over.order.state, over.order.wire_order_id, over.offer.held_wh.total) == (OrderState.EXPIRED, "", 0)


def test_a_silent_utility_keeps_a_confirmed_order_waiting_for_ever() -> None:
    waiting = cascade.commit(clear(asked()[0]), held()[0], buyer_message_id="m2", until=NOW, now=NOW)
    again = cascade.still_waiting(waiting, until=LATER, now=NOW)
    assert (again.state, again.awaiting_message_id, again.awaiting_until) == (OrderState.COMMITTING, "m2", LATER)
    assert cascade.still_waiting(again, buyer_message_id="m3", until=LATER, now=NOW).awaiting_message_id == "m3"


def test_an_order_that_waits_neither_expires_nor_is_confirmed() -> None:
    waiting, _ = asked()
    with pytest.raises(UnableToAdvance):
        cascade.commit(waiting, waiting, buyer_message_id="m", until=LATER, now=NOW)


def test_what_a_utility_has_logged_is_never_made_larger() -> None:
    order = replace(clear(asked()[0]), state=OrderState.ACTIVE)
    cascade.check_not_more(order, order.contracted_wh)
    more = order.contracted_wh.with_values(tuple(wh + 1 for wh in order.contracted_wh.values))
    with pytest.raises(UnableToUpdate, match="in a new transaction"):
        cascade.check_not_more(order, more)
    cascade.check_not_more(replace(order, utility_id=""), more)
