"""What a buyer decides: pure rules from an order and a piece of news to the next order, the money moved, what to tell.

Every function takes the order as it is, and `now` (wall clock) or `now_trading`, and returns a `Step`; none does I/O. A
step's transfers and events are stored with the order in the same unit of work. The life of an order is the table in
`trade/order.py`; this module adds what only a buyer knows: that nothing is owed before its confirm reserved the money,
that silence after a confirm is not a no, that a seller may lower a contract but not raise it unasked, and that a
settlement is paid only when it equals the buyer's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from energy_catalog.offers import OfferView
from trade import ledger, pricing, settlement
from trade.ledger import Transfer
from trade.money import Series
from trade.order import (
    Customer,
    Order,
    OrderEvent,
    OrderState,
    Side,
    advance,
    can_advance,
)
from trade.policy import PLAIN, Policy
from trade.price_rules import block_series

#: States in which a contract exists or may exist at the seller: money is reserved, letters about it make sense.
CONTRACTED = frozenset(
    {
        OrderState.CONFIRMING,
        OrderState.UNANSWERED,
        OrderState.ACTIVE,
        OrderState.DELIVERING,
        OrderState.CANCELLING,
        OrderState.DISPUTED,
        OrderState.COMPLETED,
    }
)
#: States that a draft may be chosen anew from.
_DRAFTS = frozenset({OrderState.SELECTING, OrderState.QUOTED, OrderState.INITIALISING, OrderState.INITIALISED})
#: Longest pause between two questions about an order whose seller is silent.
CHASE_PAUSE_MAX = timedelta(hours=1)


class Unable(Exception):
    """A buyer's wish that cannot be met; `sentence` says why and what to do, `field` and `limit` what it broke."""

    def __init__(self, sentence: str, *, field: str | None = None, limit: str | int | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.field, self.limit = sentence, field, limit


class Unfit(Unable):
    """The wish itself does not fit the offer or the contract: another wish would do."""


class NotNow(Unable):
    """The order's state does not allow it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What comes of one decision: the order to save, the money to move, the events to tell (kind, what it says)."""

    order: Order
    transfers: tuple[Transfer, ...] = ()
    events: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a consumer wants of one offer: a series, or so many Wh in all, wherever the offer has them first.

    It is paid in the offer's currency, from what the account holds of that. `policy` is the offer's, as this node knows
    it; `meter_id` the meter of the account, empty when it has none.
    """

    account_id: str
    customer: Customer
    series: Series | None = None
    energy_wh: int | None = None
    policy: Policy = PLAIN
    meter_id: str = ""


def stepped(order: Order, *transfers: Transfer, **told: Any) -> Step:
    """A step whose event is named after the state it led to."""
    return Step(order, transfers, ((f"order.{order.state.lower()}", told),))


def _advanced(order: Order, event: OrderEvent, now: datetime) -> Order:
    """`advance`, with the table's refusal as a sentence for the consumer."""
    if not can_advance(order, event):
        raise NotNow(f"Order {order.order_id} is {order.state}; that does not allow this.", field="state")
    return advance(order, event, now=now)


def _asking(order: Order, message_id: str, now: datetime, wait: timedelta) -> Order:
    return replace(order, awaiting_message_id=message_id, awaiting_until=now + wait)


# --- Choosing -----------------------------------------------------------------------------------------------------


def choose(
    offer: OfferView,
    wish: Wish,
    *,
    draft: Order | None,
    transaction_id: str,
    order_id: str,
    message_id: str,
    now: datetime,
    wait: timedelta,
) -> Step:
    """Begin an order for an offer, or begin its session's draft anew.

    Raises Unfit when the offer cannot give what is wished, NotNow when the session has an order that is no draft.
    """
    contracted_wh = _wished(offer, wish)
    _check_meters(offer, wish)
    order = Order(
        order_id=order_id,
        side=Side.BUYER,
        state=OrderState.SELECTING,
        transaction_id=transaction_id,
        counterparty_id=offer.seller_id,
        provider_id=offer.provider.provider_id,
        offer_id=offer.offer_id,
        contracted_wh=contracted_wh,
        price_micro_per_kwh=_prices_over(offer, contracted_wh),
        currency=offer.currency,
        created_at=now,
        updated_at=now,
        meter_id=offer.provider.meter_id,
        account_id=wish.account_id,
        provider_name=offer.provider.name,
        source=offer.source.value,
        fulfillment_id=offer.fulfillment_id,
        fulfillment_type=offer.fulfillment_type,
        wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh,
        customer=wish.customer,
        policy=wish.policy,
        buyer_meter_id=wish.meter_id,
    )
    if draft is not None:
        if draft.state not in _DRAFTS:
            raise NotNow(
                f"Order {draft.order_id} with this provider in this transaction is {draft.state};"
                " search again to trade with it once more.",
                field="transaction_id",
            )
        state = advance(draft, OrderEvent.SELECT_SENT, now=now).state
        order = replace(order, order_id=draft.order_id, created_at=draft.created_at, state=state)
    return stepped(_asking(order, message_id, now, wait), message_id=message_id)


def _wished(offer: OfferView, wish: Wish) -> Series:
    """The energy asked for, on the offer's slots; raises Unfit when the offer cannot give it."""
    if wish.series is None:
        try:
            asked = pricing.spread_request(offer.available_wh, wish.energy_wh or 0)
        except pricing.NotEnoughEnergy as short:
            raise Unfit(
                f"The offer has {short.free_wh} Wh left; ask for no more.", field="energy_wh", limit=short.free_wh
            ) from short
    else:
        asked = wish.series
        _check_within(offer.available_wh, asked)
    least, most = offer.order_wh_min, offer.order_wh_max
    if asked.total < max(1, least):
        raise Unfit(f"The seller takes orders of at least {max(1, least)} Wh.", field="energy", limit=max(1, least))
    if most and asked.total > most:
        raise Unfit(f"The seller takes orders of at most {most} Wh.", field="energy", limit=most)
    return asked


def _check_meters(offer: OfferView, wish: Wish) -> None:
    """Refuse an order of an account without a meter where both meters count, and one of a meter with itself."""
    if wish.policy.is_two_sided and not wish.meter_id:
        raise Unfit(
            f"The offer is settled by {wish.policy.id}, which counts the buyer's meter, too; give the account its meter"
            " (PUT /api/accounts/{account_id}/meter) and order again.",
            field="account_id",
        )
    if wish.meter_id and wish.meter_id == offer.provider.meter_id:
        raise Unfit("The offer is of the account's own meter; a contract needs two meters.", field="offer_id")


def _check_within(available_wh: Series, asked: Series) -> None:
    offset, rest = divmod(int((asked.start - available_wh.start).total_seconds()), available_wh.slot_s)
    end = offset + len(asked.values)
    if asked.slot_s != available_wh.slot_s or rest or offset < 0 or end > len(available_wh.values):
        raise Unfit(
            f"'energy' must lie on the offer's slots of {available_wh.slot_s} s"
            f" between {available_wh.start.isoformat()} and {available_wh.end.isoformat()}.",
            field="energy",
            limit=available_wh.slot_s,
        )
    for index, (wanted, free) in enumerate(zip(asked.values, available_wh.values[offset:end], strict=True)):
        if wanted > free:
            raise Unfit(f"Slot {index} of the offer has {free} Wh left.", field=f"energy.energy_wh.{index}", limit=free)


def _prices_over(offer: OfferView, energy_wh: Series) -> Series:
    """What each slot should cost: the offer's price, or what its blocks make of the quantity."""
    if offer.tiers:
        return block_series(offer.tiers, energy_wh)
    prices = offer.price_micro_per_kwh
    offset = int((energy_wh.start - prices.start).total_seconds()) // prices.slot_s
    return energy_wh.with_values(prices.values[offset : offset + len(energy_wh.values)])


# --- Committing --------------------------------------------------------------------------------------------------


def start_init(order: Order, *, message_id: str, now: datetime, wait: timedelta) -> Step:
    """Ask the seller to hold the energy; raises NotNow without a quote that still stands."""
    updated = _advanced(order, OrderEvent.INIT_SENT, now)
    _check_quote_stands(order, now)
    return stepped(_asking(updated, message_id, now, wait), message_id=message_id)


def start_confirm(order: Order, *, message_id: str, now: datetime, wait: timedelta) -> Step:
    """Reserve the most the contract can cost and propose our own id for it; raises NotNow without a standing hold."""
    updated = _advanced(order, OrderEvent.CONFIRM_SENT, now)
    _check_quote_stands(order, now)
    updated = replace(_asking(updated, message_id, now, wait), wire_order_id=order.order_id)
    needed_milli = settlement.exposure_milli(updated)
    return stepped(updated, *ledger.reserve(updated, at=now, needed_milli=needed_milli), message_id=message_id)


def _check_quote_stands(order: Order, now: datetime) -> None:
    if order.quote is None or order.quote.expires_at <= now:
        raise NotNow("The quote has expired; select again for a new one.", field="quote")


# --- Answers to a confirm -----------------------------------------------------------------------------------------


def record_confirmation(order: Order, *, wire_order_id: str, now: datetime) -> Step | None:
    """on_confirm, or a status that shows the contract exists; also long after the silence began. None when known."""
    if order.state not in (OrderState.CONFIRMING, OrderState.UNANSWERED):
        return None
    updated = replace(
        advance(order, OrderEvent.CONFIRMED, now=now),
        wire_order_id=wire_order_id or order.wire_order_id,
        awaiting_until=None,
        refusal_code="",
        refusal="",
    )
    return stepped(updated)


def refuse(order: Order, *, code: str, sentence: str, reserved_milli: int, now: datetime) -> Step:
    """A definite no to select, init or confirm: the order ends and what was reserved goes back."""
    updated = replace(
        advance(order, OrderEvent.SELLER_REFUSED, now=now), refusal_code=code, refusal=sentence, awaiting_until=None
    )
    released = ledger.release(updated, at=now, reserved_milli=reserved_milli) if reserved_milli else []
    return stepped(updated, *released, code=code, sentence=sentence)


def can_refuse(order: Order) -> bool:
    """True when a refusal would still end the order."""
    return can_advance(order, OrderEvent.SELLER_REFUSED)


def note_silence(order: Order, *, message_id: str, now: datetime, wait: timedelta) -> Step:
    """Nobody answered in time. A draft ends; after a confirm the outcome is unknown and the seller is asked again.

    Each pause is twice the one before, `wait` at least and CHASE_PAUSE_MAX at most.
    """
    if order.state in (OrderState.ACTIVE, OrderState.DELIVERING):
        return Step(_asking(order, message_id, now, _longer_pause(order, wait)))
    updated = advance(order, OrderEvent.NO_ANSWER, now=now)
    if updated.state is OrderState.EXPIRED:
        sentence = "The seller did not answer in time."
        return stepped(
            replace(updated, awaiting_until=None, refusal_code="NO_ANSWER", refusal=sentence), sentence=sentence
        )
    chasing = _asking(updated, message_id, now, _longer_pause(order, wait))
    return stepped(chasing, message_id=message_id) if updated.state is not order.state else Step(chasing)


def _longer_pause(order: Order, wait: timedelta) -> timedelta:
    last = order.awaiting_until - order.updated_at if order.awaiting_until else wait
    return min(max(wait, 2 * last), CHASE_PAUSE_MAX)


def expire(order: Order, *, now: datetime) -> Step:
    """The quote ran out before it was confirmed."""
    return stepped(replace(advance(order, OrderEvent.QUOTE_EXPIRED, now=now), awaiting_until=None))


def start_delivery(order: Order, *, now: datetime) -> Step | None:
    """The first contracted slot has begun; None when the order is past that."""
    if not can_advance(order, OrderEvent.DELIVERY_STARTED) or order.state is OrderState.CANCELLING:
        return None
    return stepped(advance(order, OrderEvent.DELIVERY_STARTED, now=now))
