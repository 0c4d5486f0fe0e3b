"""What a seller that has a utility decides: an order waits while the utility is asked. Plain functions, no I/O.

    init      hold      -> asked      CLEARING     the energy is held; the utility says charges and limit
              answer    -> cleared    INITIALISED  priced again with the utility's wheeling; the buyer gets its on_init
    confirm   commit    -> asked      COMMITTING   all is agreed but the utility; the energy stays held
              answer    -> committed  ACTIVE       held energy is sold; the buyer gets its on_confirm
    no        refused   EXPIRED                    the energy is free; the buyer gets the utility's own sentence

A utility that says nothing to an init in time is a no: nothing was logged, so nothing is lost. One that says nothing
to a confirm may have logged the trade, so it is asked for the status until it is known. The utility is told of
everything that makes a contract smaller; a contract is never made larger (see `check_not_more`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bpp import refusals, serving
from bpp.refusals import UnableToUpdate
from bpp.seller import Decision, Moment
from bpp.utility import Request
from energy_catalog import offers
from energy_catalog.offers import Offer
from trade import pricing
from trade.money import Series
from trade.order import Order, OrderEvent, OrderState, advance


def ask(
    order: Order, *, utility_id: str, transaction_id: str, buyer_message_id: str, until: datetime, now: datetime
) -> Order:
    """The held order while its utility is asked for charges and limit (wall clock)."""
    return replace(
        advance(order, OrderEvent.UTILITY_ASKED, now=now),
        utility_id=utility_id,
        utility_transaction_id=transaction_id,
        awaiting_message_id=buyer_message_id,
        awaiting_until=until,
    )


def cleared(
    order: Order,
    *,
    wheeling_buyer_micro_per_kwh: int,
    wheeling_seller_micro_per_kwh: int,
    quote_id: str,
    at: Moment,
) -> Order:
    """The order that the utility will carry, priced with its charges; its quote stands from now on."""
    assert order.quote is not None  # noqa: S101 - a held order has a quote
    charged = replace(
        advance(order, OrderEvent.HELD, now=at.wall),
        wheeling_micro_per_kwh=wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=wheeling_seller_micro_per_kwh,
        awaiting_message_id="",
        awaiting_until=None,
    )
    ttl_s = order.quote.ttl_s
    quote = pricing.quote_of(charged, energy_wh=order.contracted_wh, now=at.wall, ttl_s=ttl_s, quote_id=quote_id)
    return replace(charged, quote=quote)


def commit(order: Order, agreed: Order, *, buyer_message_id: str, until: datetime, now: datetime) -> Order:
    """The order while its utility is asked to log it; `agreed` is what it will be if the utility does (wall clock)."""
    return replace(
        advance(order, OrderEvent.CONFIRM_RECEIVED, now=now),
        wire_order_id=agreed.wire_order_id,
        customer=agreed.customer,
        awaiting_message_id=buyer_message_id,
        awaiting_until=until,
    )


def committed(order: Order, offer: Offer, *, now: datetime) -> Decision:
    """The contract, now that the utility carries it: held energy is sold (wall clock)."""
    active = replace(advance(order, OrderEvent.CONFIRMED, now=now), awaiting_message_id="", awaiting_until=None)
    return Decision(active, offers.sell(offer, serving.onto(offer.offered_wh, order.contracted_wh)))


def refused(order: Order, offer: Offer, *, code: str, sentence: str, event: OrderEvent, now: datetime) -> Decision:
    """No order, because the utility says no or (`event` NO_ANSWER) nothing: the energy is free again (wall clock).

    The id the buyer proposed is forgotten: asked for its status, there is no such order here.
    """
    over = replace(
        advance(order, event, now=now),
        wire_order_id="",
        refusal_code=code,
        refusal=sentence,
        awaiting_message_id="",
        awaiting_until=None,
    )
    return Decision(over, offers.unhold(offer, serving.onto(offer.offered_wh, order.contracted_wh)))


def still_waiting(order: Order, *, buyer_message_id: str | None = None, until: datetime, now: datetime) -> Order:
    """An order whose utility is asked again, or whose buyer has asked again meanwhile (wall clock)."""
    return replace(
        advance(order, OrderEvent.NO_ANSWER, now=now),
        awaiting_message_id=buyer_message_id or order.awaiting_message_id,
        awaiting_until=until,
    )


def is_waiting(order: Order | None) -> bool:
    """True while the utility is asked, so that the buyer has to wait."""
    return order is not None and order.state in (OrderState.CLEARING, OrderState.COMMITTING)


def request_of(order: Order) -> Request:
    """What the utility is asked to carry; it knows the trade by our own order id."""
    return Request(
        seller_meter_id=order.meter_id,
        buyer_meter_id=order.buyer_meter_id,
        energy_wh=order.contracted_wh,
        currency=order.currency,
        order_id=order.order_id,
    )


def refusal_sentence(utility_id: str, sentence: str) -> str:
    """What the buyer is told when the utility says no."""
    return f"The utility {utility_id} does not carry this trade: {sentence}"


def check_not_more(order: Order, energy_wh: Series) -> None:
    """Refuse to add energy to a contract that a utility has logged; raises UnableToUpdate naming the first slot."""
    if not order.utility_id:
        return
    for (slot, old), new in zip(order.contracted_wh.items(), energy_wh.values, strict=True):
        if new > old:
            raise UnableToUpdate(
                refusals.UPDATE_IMPOSSIBLE,
                f"The utility has logged {old} Wh for the slot from {serving.instant(slot.start)}; order more of it in"
                " a new transaction, which the utility is asked about.",
            )
