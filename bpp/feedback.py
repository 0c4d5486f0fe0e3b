"""What buyers think: which ratings are kept, and of what. Plain functions, as in `seller`.

A buyer's node rates what it bought: an order, its provider, the delivery of an order, the help it got. It says so in
the session of the order, or names the order by its id. Every order gives one rating of each category, which may be
changed until its policy says (trading clock); so a provider has as many ratings as orders were rated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from bpp import refusals, serving
from bpp.refusals import UnableToRate
from bpp.seller import Moment
from store.providers import Rating
from trade import deadlines
from trade.order import Order, OrderState

#: What can be rated, in the core specification's words.
CATEGORIES = ("Order", "Provider", "Fulfillment", "Item", "Support")

_CONTRACTS = (
    OrderState.ACTIVE,
    OrderState.DELIVERING,
    OrderState.DISPUTED,
    OrderState.COMPLETED,
    OrderState.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Given:
    """One rating as it was sent: `value` is a decimal number."""

    category: str
    subject_id: str
    value: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be saved: ratings, and the orders that remember theirs."""

    ratings: tuple[Rating, ...]
    orders: tuple[Order, ...]


def ratings(given: Sequence[Given], *, bought: Sequence[Order], rater_id: str, at: Moment) -> Kept:
    """The ratings to keep, all or none; raises UnableToRate for the first that cannot be.

    `bought` are the orders of the rater that may be meant; drafts and lapsed quotes among them do not count.
    """
    contracts = sorted((order for order in bought if order.state in _CONTRACTS), key=lambda order: order.created_at)
    kept: list[Rating] = []
    orders: dict[str, Order] = {}
    for rating in given:
        value = _value(rating)
        order = _rated(rating, contracts)
        _check_in_time(order, at)
        kept.append(Rating(rater_id, rating.category, order.wire_order_id, order.provider_id, value, at.wall))
        latest = orders.get(order.order_id, order)
        others = tuple(entry for entry in latest.ratings if entry[0] != rating.category)
        orders[order.order_id] = replace(latest, ratings=(*others, (rating.category, value)))
    return Kept(tuple({(r.category, r.subject_id): r for r in kept}.values()), tuple(orders.values()))


def _check_in_time(order: Order, at: Moment) -> None:
    until = deadlines.ratings_until(order)
    if at.trading > until:
        raise UnableToRate(
            refusals.NOT_APPLICABLE,
            f"Order {order.wire_order_id!r} could be rated until {serving.instant(until)}; that time is over.",
        )


def _value(rating: Given) -> str:
    """The value as it is kept, 1 to 5 with at most one decimal; raises UnableToRate."""
    try:
        value = Decimal(rating.value)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 1 <= value <= 5 or value != round(value, 1):
        raise UnableToRate(
            refusals.INVALID_RATING,
            f"A rating of {rating.value[:20]!r} cannot be kept; give 1 (worst) to 5 (best), such as 4 or 4.5.",
        )
    return f"{value:.1f}".removesuffix(".0")


def _rated(rating: Given, contracts: Sequence[Order]) -> Order:
    """The order that a rating is about or came from; raises UnableToRate when there is none."""
    if rating.category not in CATEGORIES:
        raise UnableToRate(
            refusals.CATEGORY_UNSUPPORTED,
            f"There is no rating category {rating.category!r} here; rate one of {', '.join(CATEGORIES)}.",
        )
    for order in reversed(contracts):
        own_ids = {"Provider": order.provider_id, "Item": order.offer_id, "Fulfillment": order.fulfillment_id}
        if rating.subject_id in (order.wire_order_id, own_ids.get(rating.category)):
            return order
    raise UnableToRate(
        refusals.ENTITY_NOT_FOUND,
        f"No {rating.category} {rating.subject_id!r} was bought in this session; rate an order of yours by its id.",
    )
