"""What a seller decides, from quote to contract: plain functions of an offer, an order and two clocks.

    select   -> quote     a price for energy that is free now; nothing is kept
    init     -> hold      the same, and the energy is kept for the buyer until the quote expires (wall clock)
    confirm  -> confirm   held energy becomes sold energy, at the price that was quoted
    (expiry) -> expire    held energy is free again

What happens to a contract afterwards is in `bpp.contract`. Every function returns what is to be saved and raises a
refusal with a code and a sentence otherwise; nothing here does I/O or knows how letters look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bpp import refusals
from bpp.refusals import UnableTo, UnableToConfirm, UnableToHold, UnableToQuote
from energy_catalog import offers
from energy_catalog.offers import Offer, OfferState, Provider
from trade import pricing
from trade.money import Series, kwh_from_wh
from trade.order import Customer, Order, OrderEvent, OrderState, Side, advance


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks: the wall clock dates quotes, the trading clock dates energy."""

    wall: datetime
    trading: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, in which conversation."""

    buyer_id: str
    transaction_id: str


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for: a series over delivery slots, or one quantity that the seller spreads over free slots."""

    provider_id: str
    offer_id: str
    energy_wh: int | None = None
    requested_wh: Series | None = None
    customer: Customer | None = None


@dataclass(frozen=True, slots=True)
class NewIds:
    """Ids made before they are needed, so that a decision does not depend on chance."""

    order_id: str
    quote_id: str
    payment_id: str
    tracking_token: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An order and the offer it draws on, as they are to be saved."""

    order: Order
    offer: Offer


def quote(
    demand: Demand,
    *,
    offer: Offer | None,
    provider: Provider | None,
    session: Session,
    at: Moment,
    ids: NewIds,
    refusal: type[UnableTo] = UnableToQuote,
) -> Order:
    """A draft order with a quote, if the offer can serve the demand now; raises `refusal` with the reason."""
    if provider is None:
        raise refusal(
            refusals.PROVIDER_NOT_FOUND,
            f"There is no provider {demand.provider_id!r} here; search again for who sells now.",
        )
    if offer is None or offer.provider_id != demand.provider_id:
        raise refusal(
            refusals.ITEM_NOT_FOUND,
            f"Provider {demand.provider_id!r} has no item {demand.offer_id!r}; search again for what it sells now.",
        )
    energy_wh = _demanded(demand, offer, at, refusal)
    check_size(offer, energy_wh, refusal)
    check_on_sale(offer, now_trading=at.trading, refusal=refusal)
    check_gate(offer, energy_wh, now_trading=at.trading, refusal=refusal)
    check_free(offer, energy_wh, refusal)
    price = slots_of(offer.price_micro_per_kwh, energy_wh)
    return Order(
        order_id=ids.order_id,
        side=Side.SELLER,
        state=OrderState.INITIALISED,
        transaction_id=session.transaction_id,
        counterparty_id=session.buyer_id,
        provider_id=offer.provider_id,
        offer_id=offer.offer_id,
        contracted_wh=energy_wh,
        price_micro_per_kwh=price,
        currency=offer.currency,
        created_at=at.wall,
        updated_at=at.wall,
        meter_id=offer.meter_id,
        provider_name=provider.name,
        source=offer.source.value,
        fulfillment_type=offer.fulfillment_type,
        wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh,
        quote=pricing.quote(
            energy_wh=energy_wh,
            price_micro_per_kwh=price,
            wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh,
            currency=offer.currency,
            now=at.wall,
            ttl_s=offer.quote_ttl_s,
            quote_id=ids.quote_id,
        ),
        customer=demand.customer,
        cancellation_terms=offer.cancellation_terms,
        payment_id=ids.payment_id,
        tracking_token=ids.tracking_token,
    )


def hold(
    demand: Demand,
    *,
    offer: Offer | None,
    provider: Provider | None,
    earlier: Order | None,
    session: Session,
    at: Moment,
    ids: NewIds,
) -> Decision:
    """A fresh quote whose energy is held until it expires.

    `earlier` is the session's order with this provider, if there is one: what it holds of the same offer counts as
    free, and it is replaced (its id stays). Once it was confirmed nothing more can be ordered in its session.
    """
    check_replaceable(earlier)
    free = without_hold(offer, earlier)
    order = quote(demand, offer=free, provider=provider, session=session, at=at, ids=ids, refusal=UnableToHold)
    assert free is not None  # noqa: S101 - quote() refuses when there is no offer
    if earlier is not None:
        order = replace(order, order_id=earlier.order_id, created_at=earlier.created_at)
    return Decision(order, offers.hold(free, onto(free.offered_wh, order.contracted_wh)))


def check_replaceable(earlier: Order | None) -> None:
    """Refuse a second contract in one session with one provider; raises UnableToHold."""
    if earlier is not None and earlier.state not in (OrderState.INITIALISED, OrderState.EXPIRED):
        raise UnableToHold(
            refusals.NOT_APPLICABLE,
            f"This session already has an order with the provider, which is {earlier.state}; start a new"
            " transaction to order more.",
        )


def without_hold(offer: Offer | None, earlier: Order | None) -> Offer | None:
    """The offer as if the session's earlier quote held nothing of it."""
    if offer is None or earlier is None or not _holds(earlier) or earlier.offer_id != offer.offer_id:
        return offer
    return offers.unhold(offer, onto(offer.offered_wh, earlier.contracted_wh))


def confirm(
    order: Order | None,
    *,
    offer: Offer,
    demand: Demand,
    wire_order_id: str,
    quoted_minor: int | None,
    at: Moment,
) -> Decision:
    """The contract: held energy becomes sold, at the price and for the energy that was quoted.

    `wire_order_id` is the id the contract shall have; `quoted_minor` and the demand's energy are what the buyer
    believes it accepts, and each is compared when the buyer states it. Raises UnableToConfirm.
    """
    if order is None or order.quote is None or order.state is not OrderState.INITIALISED:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            "No quote of this session stands: it expired, or init was never sent; send init for a fresh quote.",
        )
    if order.quote.expires_at <= at.wall:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote expired at {instant(order.quote.expires_at)}; send init for a fresh quote.",
        )
    _check_claims(order, offer, demand, quoted_minor)
    check_gate(offer, order.contracted_wh, now_trading=at.trading, refusal=UnableToConfirm)
    active = replace(
        advance(order, OrderEvent.CONFIRMED, now=at.wall),
        wire_order_id=wire_order_id,
        customer=demand.customer or order.customer,
    )
    return Decision(active, offers.sell(offer, onto(offer.offered_wh, order.contracted_wh)))


def is_repeat(order: Order | None, wire_order_id: str) -> bool:
    """True when a confirm says again what is a contract already; refuses one that would be a second contract.

    Raises UnableToConfirm when the session's order was confirmed under another id, or is over.
    """
    if order is None or order.state in (OrderState.INITIALISED, OrderState.EXPIRED):
        return False
    if order.state is OrderState.CANCELLED:
        raise UnableToConfirm(
            refusals.NOT_APPLICABLE,
            f"Order {order.wire_order_id!r} was cancelled; start a new transaction to order again.",
        )
    if wire_order_id not in ("", order.wire_order_id, order.order_id):
        raise UnableToConfirm(
            refusals.NOT_APPLICABLE,
            f"This session was confirmed before as order {order.wire_order_id!r}; ask for its status, or start a new"
            " transaction to order more.",
        )
    return True


def expire(order: Order, offer: Offer, *, now_wall: datetime) -> Decision:
    """A quote that ran out: the order ends and its energy is free again."""
    expired = advance(order, OrderEvent.QUOTE_EXPIRED, now=now_wall)
    return Decision(expired, offers.unhold(offer, onto(offer.offered_wh, order.contracted_wh)))


# --- What an offer can serve ---------------------------------------------------------------------------------------


def check_on_sale(offer: Offer, *, now_trading: datetime, refusal: type[UnableTo]) -> None:
    """Refuse when the offer is withdrawn or outside its validity (trading clock)."""
    if offer.state is not OfferState.PUBLISHED or not offer.valid_from <= now_trading < offer.valid_until:
        raise refusal(refusals.ITEM_NOT_FOUND, f"Item {offer.offer_id!r} is not on sale now; search again for what is.")


def check_gate(
    offer: Offer,
    energy_wh: Series,
    *,
    now_trading: datetime,
    refusal: type[UnableTo],
    code: str = refusals.FULFILLMENT_UNAVAILABLE,
) -> None:
    """Refuse when the gate of the first slot that holds energy is closed (trading clock); to the second is in time."""
    first = first_energy(energy_wh)
    gate = first - timedelta(seconds=offer.gate_closure_s)
    if now_trading > gate:
        raise refusal(
            code,
            f"Energy from {instant(first)} could be ordered or changed until {instant(gate)}; choose a later slot.",
        )


def first_energy(energy_wh: Series) -> datetime:
    """Start of the first slot that holds energy; of the series when none does."""
    return next((slot.start for slot, wh in energy_wh.items() if wh), energy_wh.start)


def slots_of(whole: Series, part: Series) -> Series:
    """The values of `whole` over the slots of `part`, which lie within it."""
    offset = int((part.start - whole.start).total_seconds()) // whole.slot_s
    return part.with_values(whole.values[offset : offset + len(part.values)])


def onto(whole: Series, part: Series) -> Series:
    """`part` over the slots of `whole`, zero where it has no slot; raises ValueError when the slots differ."""
    offset, rest = divmod(int((part.start - whole.start).total_seconds()), whole.slot_s)
    after = len(whole.values) - offset - len(part.values)
    if part.slot_s != whole.slot_s or rest or offset < 0 or after < 0:
        raise ValueError("the slots of one series are not among those of the other")
    return whole.with_values((0,) * offset + part.values + (0,) * after)


def _demanded(demand: Demand, offer: Offer, at: Moment, refusal: type[UnableTo]) -> Series:
    if demand.requested_wh is not None:
        return requested(demand.requested_wh, offer, refusal)
    if demand.energy_wh is None:
        raise refusal(
            refusals.INVALID_REQUEST,
            "Say how much energy is wanted: items[0].quantity.selected.measure in kWh, or an ENERGY_SERIES tag group.",
        )
    try:
        return pricing.spread_request(offer.open_wh(at.trading), demand.energy_wh)
    except pricing.NotEnoughEnergy as short:
        raise refusal(
            refusals.QUANTITY_UNAVAILABLE,
            f"{kwh_from_wh(short.asked_wh)} kWh were asked for and {kwh_from_wh(short.free_wh)} kWh are free; ask for"
            " less, or search again.",
        ) from short


def requested(series: Series, offer: Offer, refusal: type[UnableTo]) -> Series:
    """The series asked for, once it is sure that its slots are the offer's; raises `refusal` otherwise."""
    try:
        onto(offer.offered_wh, series)
    except ValueError:
        raise refusal(
            refusals.FULFILLMENT_UNAVAILABLE,
            f"Item {offer.offer_id!r} has slots of {offer.offered_wh.slot_s} s from {instant(offer.offered_wh.start)}"
            f" to {instant(offer.offered_wh.end)}; ask for energy in these slots.",
        ) from None
    if min(series.values) < 0:
        raise refusal(refusals.INVALID_REQUEST, "Energy is never negative; ask for 0 Wh or more in every slot.")
    return series


def check_size(offer: Offer, energy_wh: Series, refusal: type[UnableTo]) -> None:
    """Refuse an order below the offer's least or above its most."""
    if not offer.order_wh_min <= energy_wh.total <= offer.order_wh_max:
        raise refusal(
            refusals.QUANTITY_UNAVAILABLE,
            f"An order of {kwh_from_wh(energy_wh.total)} kWh was asked for; order {kwh_from_wh(offer.order_wh_min)}"
            f" to {kwh_from_wh(offer.order_wh_max)} kWh.",
        )


def check_free(offer: Offer, energy_wh: Series, refusal: type[UnableTo]) -> None:
    """Refuse energy that is held or sold already, naming the first slot where it is."""
    free = slots_of(offer.available_wh, energy_wh)
    for (slot, wanted_wh), free_wh in zip(energy_wh.items(), free.values, strict=True):
        if wanted_wh > free_wh:
            raise refusal(
                refusals.QUANTITY_UNAVAILABLE,
                f"{kwh_from_wh(wanted_wh)} kWh were asked for in the slot from {instant(slot.start)} and"
                f" {kwh_from_wh(free_wh)} kWh are free; ask for less, or search again.",
            )


def _check_claims(order: Order, offer: Offer, demand: Demand, quoted_minor: int | None) -> None:
    """Refuse a confirm that accepts something else than was quoted."""
    assert order.quote is not None  # noqa: S101 - the caller has looked
    if (demand.offer_id, demand.provider_id) != (order.offer_id, order.provider_id):
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote is for item {order.offer_id!r}, not for {demand.offer_id!r}; send init for that one.",
        )
    if quoted_minor is not None and quoted_minor != order.quote.total_minor:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote is over {order.quote.total_minor} minor units of {order.currency}, not {quoted_minor}; confirm"
            " what on_init quoted, or send init for a fresh quote.",
        )
    if demand.requested_wh is not None:
        wanted = requested(demand.requested_wh, offer, UnableToConfirm)
        same_energy = onto(offer.offered_wh, wanted) == onto(offer.offered_wh, order.contracted_wh)
    else:
        same_energy = demand.energy_wh in (None, order.contracted_wh.total)
    if not same_energy:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            "The quote is for other energy than this confirms; confirm what on_init quoted, or send init again.",
        )


def _holds(order: Order) -> bool:
    return order.state is OrderState.INITIALISED


def instant(moment: datetime) -> str:
    """An instant as sentences show it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
