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
from datetime import datetime

from bpp import refusals, serving
from bpp.refusals import UnableTo, UnableToConfirm, UnableToHold, UnableToQuote
from energy_catalog import offers
from energy_catalog.offers import Offer, Provider
from trade import pricing
from trade.money import Money, Series, Slot, amount_from_milli, is_same_or_rounded, kwh_from_wh
from trade.order import (
    Customer,
    Order,
    OrderEvent,
    OrderState,
    Side,
    advance,
)
from trade.policy import PLAIN, Policy, digest
from trade.price_rules import block_series


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
    """What is asked for: a series over delivery slots, or one quantity that the seller spreads over free slots.

    A window narrows where a single quantity may be spread; a series says for itself when it wants energy.
    """

    provider_id: str
    offer_id: str
    energy_wh: int | None = None
    requested_wh: Series | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    fulfillment_id: str = ""
    customer: Customer | None = None
    #: The id the buyer proposes for the contract, and the total it believes it pays (with its currency).
    order_id: str = ""
    quote_total: Money | None = None
    #: The meter whose import counts for the buyer, and the policy it means to agree to, where it names them.
    buyer_meter_id: str = ""
    policy: str = ""
    policy_digest: str = ""


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
    policy: Policy = PLAIN,
    refusal: type[UnableTo] = UnableToQuote,
) -> Order:
    """A draft order with a quote, if the offer can serve the demand now; raises `refusal` with the reason.

    `policy` is the one the offer names, in its own words.
    """
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
    _check_policy(demand, offer, policy, refusal)
    energy_wh = _demanded(demand, offer, at, refusal)
    serving.check_size(offer, energy_wh, refusal)
    serving.check_on_sale(offer, now_trading=at.trading, refusal=refusal)
    serving.check_gate(offer, energy_wh, now_trading=at.trading, refusal=refusal)
    serving.check_free(offer, energy_wh, refusal)
    order = Order(
        order_id=ids.order_id,
        side=Side.SELLER,
        state=OrderState.INITIALISED,
        transaction_id=session.transaction_id,
        counterparty_id=session.buyer_id,
        provider_id=offer.provider_id,
        offer_id=offer.offer_id,
        contracted_wh=energy_wh,
        price_micro_per_kwh=_prices(offer, energy_wh),
        currency=offer.currency,
        created_at=at.wall,
        updated_at=at.wall,
        meter_id=offer.meter_id,
        provider_name=provider.name,
        source=offer.source.value,
        fulfillment_id=demand.fulfillment_id or "1",
        fulfillment_type=offer.fulfillment_type,
        wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh or policy.wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=policy.wheeling_seller_micro_per_kwh,
        customer=demand.customer,
        cancellation_terms=offer.cancellation_terms,
        payment_id=ids.payment_id,
        tracking_token=ids.tracking_token,
        policy=policy,
        buyer_meter_id=demand.buyer_meter_id,
        available_wh=serving.slots_of(offer.available_wh, energy_wh),
    )
    quote_ = pricing.quote_of(order, energy_wh=energy_wh, now=at.wall, ttl_s=offer.quote_ttl_s, quote_id=ids.quote_id)
    return replace(order, quote=quote_)


def _prices(offer: Offer, energy_wh: Series) -> Series:
    """The price of each slot ordered: the offer's, or what its blocks make of the quantity."""
    tiers = offer.price_model.tiers
    return block_series(tiers, energy_wh) if tiers else serving.slots_of(offer.price_micro_per_kwh, energy_wh)


def _check_policy(demand: Demand, offer: Offer, policy: Policy, refusal: type[UnableTo]) -> None:
    """Refuse rules that are not the offer's, and a meter that would trade with itself."""
    said = (demand.policy or policy.id, demand.policy_digest or digest(policy))
    if demand.policy and said != (policy.id, digest(policy)):
        raise refusal(
            refusals.QUOTE_UNAVAILABLE,
            f"The offer is settled by policy {policy.id} (digest {digest(policy)}), not by {said[0][:60]!r}"
            f" ({said[1][:16]}); search again for its terms.",
        )
    if offer.meter_id and demand.buyer_meter_id == offer.meter_id:
        raise refusal(
            refusals.INVALID_REQUEST,
            "The meter named in BUYER_METER is the seller's own; a contract needs two meters.",
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
    policy: Policy = PLAIN,
) -> Decision:
    """A fresh quote whose energy is held until it expires.

    `earlier` is the session's order with this provider, if there is one: what it holds of the same offer counts as
    free, and it is replaced (its id stays). Once it was confirmed nothing more can be ordered in its session.
    """
    check_replaceable(earlier)
    if demand.customer is None:
        raise UnableToHold(refusals.INVALID_REQUEST, "Say who is billed: order.billing with a name.")
    if policy.is_two_sided and not demand.buyer_meter_id:
        raise UnableToHold(
            refusals.INVALID_REQUEST,
            f"Policy {policy.id} settles by both meters; name the buyer's: order.tags BUYER_METER with a meter_id.",
        )
    free = without_hold(offer, earlier)
    order = quote(
        demand,
        offer=free,
        provider=provider,
        session=session,
        at=at,
        ids=ids,
        policy=policy,
        refusal=UnableToHold,
    )
    assert free is not None  # noqa: S101 - quote() refuses when there is no offer
    if earlier is not None:
        order = replace(
            order,
            order_id=earlier.order_id,
            tracking_token=earlier.tracking_token,
            payment_id=earlier.payment_id,
            created_at=earlier.created_at,
        )
    return Decision(order, offers.hold(free, serving.onto(free.offered_wh, order.contracted_wh)))


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
    if offer is None or earlier is None or earlier.offer_id != offer.offer_id:
        return offer
    return released(offer, earlier)


def released(offer: Offer, earlier: Order) -> Offer:
    """An offer that a session no longer wants, without what the session's quote held of it."""
    if earlier.state is not OrderState.INITIALISED:
        return offer
    return offers.unhold(offer, serving.onto(offer.offered_wh, earlier.contracted_wh))


def check_stands(order: Order | None, *, now_wall: datetime) -> Order:
    """The session's order, once it is sure that its quote can still be confirmed; raises UnableToConfirm."""
    if order is None or order.quote is None or order.state is not OrderState.INITIALISED:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            "No quote of this session stands: it expired, or init was never sent; send init for a fresh quote.",
        )
    if order.quote.expires_at <= now_wall:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote expired at {serving.instant(order.quote.expires_at)}; send init for a fresh quote.",
        )
    return order


def confirm(
    order: Order | None,
    *,
    offer: Offer,
    demand: Demand,
    wire_order_id: str,
    at: Moment,
) -> Decision:
    """The contract: held energy becomes sold, at the price and for the energy that was quoted.

    `wire_order_id` is the id the contract shall have; the demand's total and energy are what the buyer believes it
    accepts, and each is compared when the buyer states it. Raises UnableToConfirm.
    """
    order = check_stands(order, now_wall=at.wall)
    _check_claims(order, offer, demand)
    serving.check_gate(offer, order.contracted_wh, now_trading=at.trading, refusal=UnableToConfirm)
    active = replace(
        advance(order, OrderEvent.CONFIRMED, now=at.wall),
        wire_order_id=wire_order_id,
        customer=demand.customer or order.customer,
    )
    return Decision(active, offers.sell(offer, serving.onto(offer.offered_wh, order.contracted_wh)))


def is_repeat(order: Order | None, wire_order_id: str) -> bool:
    """True when a confirm says again what is a contract already; refuses one that would be a second contract.

    Raises UnableToConfirm when the session's order was confirmed under another id, or is over.
    """
    if order is None or order.state in (OrderState.CLEARING, OrderState.INITIALISED, OrderState.EXPIRED):
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
    return Decision(expired, offers.unhold(offer, serving.onto(offer.offered_wh, order.contracted_wh)))


def _demanded(demand: Demand, offer: Offer, at: Moment, refusal: type[UnableTo]) -> Series:
    if demand.requested_wh is not None:
        return serving.requested(demand.requested_wh, offer, refusal)
    if demand.energy_wh is None:
        raise refusal(
            refusals.INVALID_REQUEST,
            "Say how much energy is wanted: items[0].quantity.selected.measure in kWh, or an ENERGY_SERIES tag group.",
        )
    free = offer.open_wh(at.trading)
    free = free.with_values(tuple(wh if _is_within(demand, slot) else 0 for slot, wh in free.items()))
    try:
        return pricing.spread_request(free, demand.energy_wh)
    except pricing.NotEnoughEnergy as short:
        raise refusal(
            refusals.QUANTITY_UNAVAILABLE,
            f"{kwh_from_wh(short.asked_wh)} kWh were asked for and {kwh_from_wh(short.free_wh)} kWh are free; ask for"
            " less, or search again.",
        ) from short


def _is_within(demand: Demand, slot: Slot) -> bool:
    after_start = demand.window_start is None or slot.start >= demand.window_start
    return after_start and (demand.window_end is None or slot.end <= demand.window_end)


def _check_claims(order: Order, offer: Offer, demand: Demand) -> None:
    """Refuse a confirm that accepts something else than was quoted."""
    assert order.quote is not None  # noqa: S101 - the caller has looked
    if (demand.offer_id, demand.provider_id) != (order.offer_id, order.provider_id):
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote is for item {order.offer_id!r}, not for {demand.offer_id!r}; send init for that one.",
        )
    total = Money(order.quote.total_milli, order.currency)
    said = demand.quote_total
    if said and (said.currency != total.currency or not is_same_or_rounded(said.amount_milli, total.amount_milli)):
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            f"The quote is over {_amount(total)}, not over what this confirms; confirm what on_init quoted, or send"
            " init for a fresh quote.",
        )
    if demand.requested_wh is not None:
        wanted = serving.requested(demand.requested_wh, offer, UnableToConfirm)
        same_energy = serving.onto(offer.offered_wh, wanted) == serving.onto(offer.offered_wh, order.contracted_wh)
    else:
        same_energy = demand.energy_wh in (None, order.contracted_wh.total)
    if not same_energy:
        raise UnableToConfirm(
            refusals.QUOTE_UNAVAILABLE,
            "The quote is for other energy than this confirms; confirm what on_init quoted, or send init again.",
        )


def _amount(money: Money) -> str:
    return f"{amount_from_milli(money.amount_milli, money.currency)} {money.currency}"
