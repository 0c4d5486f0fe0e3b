"""What a seller decides about a contract: changed, cancelled, curtailed, begun. Plain functions, no I/O.

update    the buyer takes other energy in the same slots, until the gate closes
cancel    the buyer gives up before delivery, at the fee its notice earns
curtail   the provider can deliver less than it sold: nothing it takes back is offered again
give_up   the provider cancels the whole; the buyer pays nothing

How it is settled is in `settling`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bpp import refusals, serving
from bpp.refusals import UnableToCancel, UnableToCurtail, UnableToUpdate
from bpp.seller import Decision, Moment
from energy_catalog import offers
from energy_catalog.offers import Offer
from trade import ledger, pricing
from trade.ledger import Transfer
from trade.money import Series, kwh_from_wh
from trade.order import (
    Order,
    OrderEvent,
    OrderState,
    advance,
)
from trade.quote import Quote, QuoteLine

#: Why a buyer may cancel: id -> what it says. Ids are the core specification's habit, three digits.
CANCELLATION_REASONS = {
    "001": "The energy is no longer needed",
    "002": "A better offer was found",
    "003": "The order was made by mistake",
    "004": "The provider is not trusted to deliver",
    "005": "Another reason",
}

#: Why a provider may cancel or curtail.
PROVIDER = "PROVIDER"
CONSUMER = "CONSUMER"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A cancelled order, its offer with the energy free again, and the fee that is due, if any."""

    order: Order
    offer: Offer
    fee: QuoteLine | None
    transfers: tuple[Transfer, ...]


def update(
    order: Order,
    offer: Offer,
    *,
    requested_wh: Series | None,
    energy_wh: int | None,
    at: Moment,
    quote_id: str,
) -> Decision:
    """The contract over other energy in its own slots, priced again at its own prices; raises UnableToUpdate.

    Energy may be added only where it is free and the offer's price is still the contract's. Energy may be given back
    as long as cancelling is free: later, taking less would be a way around the cancellation fee.
    """
    if order.state is not OrderState.ACTIVE:
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE,
            f"Order {order.wire_order_id!r} is {order.state}; only a contract that is not yet delivered can change.",
        )
    serving.check_gate(
        offer,
        order.contracted_wh,
        now_trading=at.trading,
        refusal=UnableToUpdate,
        code=refusals.UPDATE_IMPOSSIBLE,
    )
    new_wh = _updated(order, offer, requested_wh=requested_wh, energy_wh=energy_wh, at=at)
    serving.check_gate(offer, new_wh, now_trading=at.trading, refusal=UnableToUpdate, code=refusals.UPDATE_IMPOSSIBLE)
    serving.check_size(offer, new_wh, UnableToUpdate)
    if offer.price_model.tiers:
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE,
            "The offer is priced in blocks, so that another quantity has another price in every slot; order more"
            " separately, or cancel and order anew.",
        )
    _check_added(order, offer, new_wh, at)
    quote = _requote(order, new_wh, at=at, quote_id=quote_id)
    _check_given_back(order, quote, at)
    grid = offer.offered_wh
    changed = replace(advance(order, OrderEvent.UPDATED, now=at.wall), contracted_wh=new_wh, quote=quote)
    exchanged = offers.exchange(
        offer, old_wh=serving.onto(grid, order.contracted_wh), new_wh=serving.onto(grid, new_wh)
    )
    return Decision(changed, exchanged)


def cancel(order: Order, offer: Offer, *, reason_id: str, at: Moment, quote_id: str) -> Cancellation:
    """The buyer's cancellation: the energy is free again, the fee follows the notice left (trading clock).

    Raises UnableToCancel for an unknown reason, and once delivery has begun or too little notice is left.
    """
    if reason_id and reason_id not in CANCELLATION_REASONS:
        known = ", ".join(f"{key} ({text})" for key, text in CANCELLATION_REASONS.items())
        raise UnableToCancel(
            refusals.INVALID_CANCELLATION_REASON,
            f"There is no cancellation reason {reason_id!r}; give one of {known}.",
        )
    if order.state is not OrderState.ACTIVE:
        raise UnableToCancel(
            refusals.CANCELLATION_IMPOSSIBLE,
            f"Order {order.wire_order_id!r} is {order.state} and can no longer be cancelled.",
        )
    try:
        fee = pricing.cancellation_fee(order, now_trading=at.trading)
    except pricing.UnableToCancel as refusal:
        raise UnableToCancel(
            refusals.CANCELLATION_IMPOSSIBLE,
            f"Order {order.wire_order_id!r} cannot be cancelled any more: {refusal}.",
        ) from refusal
    cancelled = replace(
        advance(order, OrderEvent.CANCELLED, now=at.wall),
        cancelled_by=CONSUMER,
        cancellation_reason_id=reason_id,
        quote=_fee_quote(order, fee, quote_id=quote_id),
    )
    grid = offer.offered_wh
    contracted = serving.onto(grid, order.contracted_wh)
    freed = offers.exchange(offer, old_wh=contracted, new_wh=Series.flat(grid, 0))
    return Cancellation(cancelled, freed, fee, tuple(ledger.seller_cancel(order, fee, at=at.trading)))


def curtail(order: Order, offer: Offer, *, new_wh: Series, at: Moment, quote_id: str) -> Decision:
    """The provider takes back energy of slots that have not begun (trading clock); it is not offered again.

    Raises UnableToCurtail.
    """
    if order.state not in (OrderState.ACTIVE, OrderState.DELIVERING):
        raise UnableToCurtail(
            refusals.UPDATE_IMPOSSIBLE, f"The order is {order.state}; only a contract can be curtailed."
        )
    if not new_wh.is_aligned(order.contracted_wh):
        raise UnableToCurtail(
            refusals.UPDATE_INCONSISTENT, f"The order has other slots; send {_slots(order.contracted_wh)}."
        )
    for (slot, old), new in zip(order.contracted_wh.items(), new_wh.values, strict=True):
        if not 0 <= new <= old:
            raise UnableToCurtail(
                refusals.UPDATE_INCONSISTENT,
                f"Curtailing takes back: the slot from {serving.instant(slot.start)} has {old} Wh; send 0 to {old}.",
            )
        if new != old and slot.start <= at.trading:
            raise UnableToCurtail(
                refusals.UPDATE_IMPOSSIBLE,
                f"The slot from {serving.instant(slot.start)} has begun; leave its {old} Wh as they are.",
            )
    if new_wh == order.contracted_wh or not new_wh.total:
        raise UnableToCurtail(
            refusals.UPDATE_INCONSISTENT,
            "This changes nothing or leaves nothing; send less energy than is contracted, or cancel the order.",
        )
    curtailed = replace(
        advance(order, OrderEvent.CURTAILED, now=at.wall),
        contracted_wh=new_wh,
        curtailed_wh=_taken_so_far(order, new_wh),
        quote=_requote(order, new_wh, at=at, quote_id=quote_id),
    )
    return Decision(curtailed, _taken_back(offer, order.contracted_wh, new_wh))


def give_up(order: Order, offer: Offer, *, reason: str, at: Moment, quote_id: str) -> Decision:
    """The provider cancels the contract: the buyer pays nothing, and the energy is not offered again.

    Raises UnableToCancel when there is no live contract.
    """
    if order.state not in (OrderState.ACTIVE, OrderState.DELIVERING):
        raise UnableToCancel(
            refusals.CANCELLATION_IMPOSSIBLE, f"The order is {order.state}; only a live contract can be cancelled."
        )
    cancelled = replace(
        advance(order, OrderEvent.CANCELLED, now=at.wall),
        cancelled_by=PROVIDER,
        refusal=reason,
        quote=_fee_quote(order, None, quote_id=quote_id),
    )
    nothing = Series.flat(order.contracted_wh, 0)
    return Decision(cancelled, _taken_back(offer, order.contracted_wh, nothing))


def start(order: Order, *, now_wall: datetime) -> Order:
    """The contract once its first slot has begun."""
    return advance(order, OrderEvent.DELIVERY_STARTED, now=now_wall)


def _updated(order: Order, offer: Offer, *, requested_wh: Series | None, energy_wh: int | None, at: Moment) -> Series:
    """The energy an update asks for, over the order's own slots."""
    if requested_wh is not None:
        if not requested_wh.is_aligned(order.contracted_wh) or min(requested_wh.values) < 0:
            raise UnableToUpdate(
                refusals.UPDATE_INCONSISTENT, f"The order has other slots; send {_slots(order.contracted_wh)}."
            )
        return requested_wh
    if energy_wh is None:
        raise UnableToUpdate(
            refusals.UPDATE_INCONSISTENT, "The update does not say how much energy is wanted; send it for every slot."
        )
    own = order.contracted_wh
    free = serving.slots_of(offer.open_wh(at.trading), own)
    room = own.with_values(tuple(a + b for a, b in zip(own.values, free.values, strict=True)))
    try:
        return pricing.spread_request(room, energy_wh)
    except pricing.NotEnoughEnergy as short:
        raise UnableToUpdate(
            refusals.QUANTITY_UNAVAILABLE,
            f"{kwh_from_wh(short.asked_wh)} kWh were asked for and {kwh_from_wh(short.free_wh)} kWh can be had.",
        ) from short


def _check_added(order: Order, offer: Offer, new_wh: Series, at: Moment) -> None:
    """Refuse energy added where none is free, or where the price has moved since the contract."""
    own = order.contracted_wh
    free = serving.slots_of(offer.available_wh, own)
    price = serving.slots_of(offer.price_micro_per_kwh, own)
    for index, (slot, wanted) in enumerate(new_wh.items()):
        added = wanted - own.values[index]
        if added <= 0:
            continue
        serving.check_on_sale(offer, now_trading=at.trading, refusal=UnableToUpdate)
        if added > free.values[index]:
            raise UnableToUpdate(
                refusals.QUANTITY_UNAVAILABLE,
                f"{kwh_from_wh(added)} kWh more were asked for in the slot from {serving.instant(slot.start)} and"
                f" {kwh_from_wh(free.values[index])} kWh are free; ask for less.",
            )
        if price.values[index] != order.price_micro_per_kwh.values[index]:
            raise UnableToUpdate(
                refusals.QUOTE_UNAVAILABLE,
                f"The price of the slot from {serving.instant(slot.start)} has changed since the contract; order the"
                " additional energy separately.",
            )


def _check_given_back(order: Order, quote: Quote, at: Moment) -> None:
    """Refuse a change that costs the buyer less than the contract once cancelling has its price."""
    if order.quote is None or quote.total_milli >= order.quote.total_milli:
        return
    try:
        is_free = pricing.cancellation_fee(order, now_trading=at.trading) is None
    except pricing.UnableToCancel:
        is_free = False
    if not is_free:
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE,
            "Less energy can be taken only while cancelling is free, and that time is over; keep the contract, add to"
            " it, or cancel it on its terms.",
        )


def _taken_back(offer: Offer, old_wh: Series, new_wh: Series) -> Offer:
    """The offer after the provider withdrew part of a contract: sold and offered shrink alike."""
    grid = offer.offered_wh
    old, new = serving.onto(grid, old_wh), serving.onto(grid, new_wh)
    less = offers.exchange(offer, old_wh=old, new_wh=new)
    remaining = tuple(o - (a - b) for o, a, b in zip(grid.values, old.values, new.values, strict=True))
    return replace(less, offered_wh=grid.with_values(remaining))


def _taken_so_far(order: Order, new_wh: Series) -> Series:
    """All that was ever taken back of the contract: billable = min(delivered, contracted - curtailed)."""
    earlier = order.curtailed_wh or Series.flat(new_wh, 0)
    taken = zip(order.contracted_wh.values, new_wh.values, earlier.values, strict=True)
    return new_wh.with_values(tuple(old - new + before for old, new, before in taken))


def _requote(order: Order, energy_wh: Series, *, at: Moment, quote_id: str) -> Quote:
    ttl_s = order.quote.ttl_s if order.quote else 0
    return pricing.quote_of(order, energy_wh=energy_wh, now=at.wall, ttl_s=ttl_s, quote_id=quote_id)


def _fee_quote(order: Order, fee: QuoteLine | None, *, quote_id: str) -> Quote | None:
    """What a cancelled order costs: the fee alone."""
    if order.quote is None:
        return None
    return replace(order.quote, quote_id=quote_id, lines=(fee,) if fee else ())


def _slots(series: Series) -> str:
    return f"{len(series.values)} slots of {series.slot_s} s from {serving.instant(series.start)}"
