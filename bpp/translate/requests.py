"""A buyer's messages -> what they ask for. Every `message` has passed the `accept` profile.

A WireRefusal names what cannot be acted on; the handler answers with an error callback.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bpp.translate.views import (
    AllocationNotice,
    CancelRequest,
    DisputeNotice,
    PaymentView,
    RatingRequest,
    ResolutionNotice,
    Selection,
    SupportRequest,
    UpdateNotice,
    UpdateRequest,
)
from energy_catalog.offers import Intent, Source
from schemas import catalog_tags, outcome_tags, tags, values
from schemas.values import WireRefusal
from trade.money import Money, Series, currency_exponent
from trade.order import Customer

#: Rating categories: core's spelling, and what Layer 2 calls the same thing.
RATING_CATEGORIES = ("Order", "Provider", "Fulfillment", "Item", "Support")
_RATING_CATEGORIES = {**{name: name for name in RATING_CATEGORIES}, "ORDER": "Order", "SELLER": "Provider"}
_RATING_CATEGORIES |= {"SUPPORT": "Support", "FULFILLMENT": "Fulfillment", "PROVIDER": "Provider", "ITEM": "Item"}

#: Parts of an order a buyer may ask to change: the quantity of its item.
_UPDATE_TARGET = re.compile(r"(?:message\.)?(?:order\.)?items?(?:\[0\])?(?:\.(?:quantity|tags)\b.*)?|fulfillments?")

#: Other things an update may bring: the buyer's allocation, an objection, the end of one.
_NOTICE = re.compile(r"(?:message\.)?(?:order\.)?tags\.(BUYER_ALLOC|DISPUTE|RESOLUTION)")

_METRES = {"m": Decimal(1), "metre": Decimal(1), "meter": Decimal(1), "km": Decimal(1000)}

#: Where the groups of an order stand.
_TAGS = "message.order.tags"

#: Widest search radius: half way round the globe.
RADIUS_M_MAX = 20_040_000


def intent_from_wire(message: dict[str, Any]) -> Intent:
    """What a search looks for; raises WireRefusal."""
    intent = message.get("intent") or {}
    item = intent.get("item") or {}
    price = item.get("price") or {}
    available = (item.get("quantity") or {}).get("available") or {}
    fulfillment = intent.get("fulfillment") or {}
    filters = catalog_tags.search_filters_from_wire(intent.get("tags"), path="message.intent.tags")
    stops = fulfillment.get("stops")
    start, end = values.window_from_stops(stops, path="message.intent.fulfillment.stops")
    near_gps, radius_m = _place(stops)
    energy_wh = price_max = currency = None
    if "measure" in available:
        path = "message.intent.item.quantity.available.measure"
        energy_wh = values.energy_from_wire(available["measure"], path=path)
    if "maximum_value" in price:
        path = "message.intent.item.price.maximum_value"
        price_max = values.price_from_wire(price["maximum_value"], path=path)
    if "currency" in price:
        currency = values.currency_from_wire(price["currency"], path="message.intent.item.price.currency")
    return Intent(
        window_start=start,
        window_end=end,
        energy_wh=energy_wh,
        price_micro_per_kwh_max=price_max,
        currency=currency,
        source=_source(intent.get("category") or {}),
        provider_id=(intent.get("provider") or {}).get("id"),
        offer_id=item.get("id"),
        near_gps=near_gps,
        radius_m=radius_m,
        fulfillment_type=fulfillment.get("type"),
        **filters._asdict(),
    )


def _source(category: dict[str, Any]) -> Source | None:
    path = "message.intent.category"
    named = (tags.group_from_wire(category.get("tags"), tags.ENERGY_SOURCE) or {}).get("source")
    if named is not None:
        if named not in Source.__members__:
            raise values.refuse(path, f"asks for {named}; known sources are {', '.join(Source)}.", code="30005")
        return Source[named]
    code = (category.get("descriptor") or {}).get("code")
    if code is None:
        return None
    if code not in catalog_tags.SOURCES_BY_CODE:
        known = ", ".join(catalog_tags.SOURCES_BY_CODE)
        raise values.refuse(f"{path}.descriptor.code", f'is "{code}"; known categories are {known}.', code="30005")
    return Source(catalog_tags.SOURCES_BY_CODE[code])


def _place(stops: list[dict[str, Any]] | None) -> tuple[str | None, int | None]:
    """Centre and radius of the first stop that has any; a position without a circle has no radius."""
    for index, stop in enumerate(stops or ()):
        location = stop.get("location") or {}
        circle = location.get("circle")
        path = f"message.intent.fulfillment.stops[{index}].location"
        if circle:
            return _position(circle["gps"], f"{path}.circle.gps"), _metres(
                circle.get("radius"), f"{path}.circle.radius"
            )
        if location.get("gps"):
            return _position(location["gps"], f"{path}.gps"), None
    return None, None


def _position(gps: str, path: str) -> str:
    latitude, _, longitude = gps.partition(",")
    if abs(Decimal(latitude.strip())) > 90 or abs(Decimal(longitude.strip())) > 180:
        raise values.refuse(path, "is not on this globe: latitude is -90 to 90, longitude -180 to 180.")
    return gps


def _metres(radius: dict[str, Any] | None, path: str) -> int | None:
    if not radius:
        return None
    factor = _METRES.get(radius.get("unit", "").lower())
    if factor is None:
        raise values.refuse(f"{path}.unit", "must be km or m.")
    metres = values.decimal_from_wire(radius.get("value"), path=f"{path}.value") * factor
    if not 0 <= metres <= RADIUS_M_MAX:
        raise values.refuse(f"{path}.value", f"must be between 0 and {RADIUS_M_MAX // 1000} km.")
    return int(metres)


def selection_from_wire(message: dict[str, Any]) -> Selection:
    """What select, init or confirm asks for; raises WireRefusal."""
    order = message["order"]
    item = values.only_one(order["items"], path="message.order.items", what="offer")
    fulfillment = (order.get("fulfillments") or [{}])[0]
    energy_wh, requested_wh = _requested(item)
    window = values.window_from_stops(fulfillment.get("stops"), path="message.order.fulfillments[0].stops")
    billing = order.get("billing")
    payments = order.get("payments")
    terms = tags.offer_terms_from_wire(item.get("tags"), path="message.order.items[0].tags")
    return Selection(
        provider_id=order["provider"]["id"],
        offer_id=item["id"],
        energy_wh=energy_wh,
        requested_wh=requested_wh,
        window_start=window[0],
        window_end=window[1],
        fulfillment_id=fulfillment.get("id", ""),
        customer=_customer(billing) if billing else None,
        order_id=order.get("id", ""),
        payment=_payment(payments[0]) if payments else None,
        quote_total=_total(order),
        buyer_meter_id=tags.buyer_meter_from_wire(order.get("tags"), path=_TAGS),
        policy=terms.policy,
        policy_digest=terms.policy_digest,
    )


def _requested(item: dict[str, Any]) -> tuple[int, Series | None]:
    """The energy asked for: its sum, and per slot when the buyer said so. Both must agree when both are there."""
    path = "message.order.items[0]"
    selected = (item.get("quantity") or {}).get("selected") or {}
    series = tags.series_from_wire(item.get("tags"), tags.ENERGY_SERIES, path=f"{path}.tags")
    requested = None if series is None else Series(*series)
    measure = selected.get("measure")
    if measure is None and requested is None:
        raise values.refuse(f"{path}.quantity.selected.measure", "is missing; say how much energy is wanted, in kWh.")
    energy_wh = None if measure is None else values.energy_from_wire(measure, path=f"{path}.quantity.selected.measure")
    total = requested.total if requested is not None else energy_wh or 0
    if energy_wh is not None and energy_wh != total:
        sentence = f"says {energy_wh} Wh, but the values of the ENERGY_SERIES tag sum to {total} Wh."
        raise values.refuse(f"{path}.quantity.selected.measure", sentence)
    if total == 0:
        raise values.refuse(f"{path}.quantity.selected.measure", "is zero; ask for at least 1 Wh.")
    return total, requested


def _customer(billing: dict[str, Any]) -> Customer:
    return Customer(name=billing["name"], email=billing.get("email", ""), phone=billing.get("phone", ""))


def _payment(payment: dict[str, Any]) -> PaymentView:
    return PaymentView(
        payment_id=payment.get("id", ""),
        collected_by=payment.get("collected_by", ""),
        type=payment.get("type", "").replace("_", "-"),
        status=payment.get("status", "").replace("_", "-"),
    )


def _total(order: dict[str, Any]) -> Money | None:
    """What the buyer believes it has to pay: the total of the quote it repeats, or of its payment."""
    if "quote" in order:
        price, member, path = order["quote"]["price"], "value", "message.order.quote.price"
    elif order.get("payments"):
        price, member, path = order["payments"][0].get("params") or {}, "amount", "message.order.payments[0].params"
    else:
        return None
    if member not in price:
        return None
    currency = values.currency_from_wire(price.get("currency"), path=f"{path}.currency")
    exponent = currency_exponent(currency)
    return Money(values.amount_from_wire(price[member], exponent=exponent, path=f"{path}.{member}"), currency)


def update_from_wire(message: dict[str, Any]) -> UpdateNotice:
    """What an update brings: other energy, the buyer's allocation, an objection or the end of one.

    Raises WireRefusal: 30012 for any other target, 30000 for a group that is missing or cannot be read.
    """
    targets = [target.strip() for target in message["update_target"].split(",")]
    notice = _NOTICE.fullmatch(targets[0])
    if len(targets) == 1 and notice:
        return _NOTICES[notice[1]](message["order"])
    unknown = [target for target in targets if not _UPDATE_TARGET.fullmatch(target)]
    if unknown or all(target.startswith("fulfillment") for target in targets):
        sentence = (
            f'is "{message["update_target"]}"; name one of "item" (its quantity changes), "order.tags.BUYER_ALLOC",'
            ' "order.tags.DISPUTE" and "order.tags.RESOLUTION".'
        )
        raise values.refuse("message.update_target", sentence, code="30012")
    order = message["order"]
    item = values.only_one(order.get("items"), path="message.order.items", what="offer")
    energy_wh, requested_wh = _requested(item)
    return UpdateRequest(order["id"], energy_wh, requested_wh)


def _allocation(order: dict[str, Any]) -> AllocationNotice:
    said = tags.allocation_from_wire(order.get("tags"), tags.BUYER_ALLOC, path=_TAGS)
    if said is None:
        raise _missing(tags.BUYER_ALLOC)
    return AllocationNotice(order["id"], Series(said.start, said.slot_s, said.values), said.round)


def _objection(order: dict[str, Any]) -> DisputeNotice:
    said = outcome_tags.dispute_from_wire(order.get("tags"), path=_TAGS)
    if said is None:
        raise _missing(tags.DISPUTE)
    return DisputeNotice(order["id"], said.dispute_id, said.reason, said.total, said.until)


def _resolution(order: dict[str, Any]) -> ResolutionNotice:
    said = outcome_tags.resolution_from_wire(order.get("tags"), path=_TAGS)
    if said is None:
        raise _missing(tags.RESOLUTION)
    return ResolutionNotice(order["id"], said.dispute_id, said.outcome, said.total, said.note)


_NOTICES: dict[str, Callable[[dict[str, Any]], UpdateNotice]] = {
    tags.BUYER_ALLOC: _allocation,
    tags.DISPUTE: _objection,
    tags.RESOLUTION: _resolution,
}


def _missing(code: str) -> WireRefusal:
    return values.refuse(f"{_TAGS}.{code}", "is missing, though the update_target names it.")


def total_from_wire(notice: DisputeNotice | ResolutionNotice, currency: str) -> int | None:
    """The figure a notice names, thousandths of a minor unit of the order's currency; None when it names none.

    Raises WireRefusal for one that is no amount.
    """
    if not notice.total:
        return None
    code = tags.DISPUTE if isinstance(notice, DisputeNotice) else tags.RESOLUTION
    return values.amount_from_wire(notice.total, exponent=currency_exponent(currency), path=f"{_TAGS}.{code}.total")


def cancel_from_wire(message: dict[str, Any]) -> CancelRequest:
    """Which order is to be cancelled and why."""
    descriptor = message.get("descriptor") or {}
    note = descriptor.get("short_desc") or descriptor.get("long_desc") or descriptor.get("name") or ""
    return CancelRequest(message["order_id"], message.get("cancellation_reason_id", ""), note)


def status_from_wire(message: dict[str, Any]) -> tuple[str, str]:
    """The order asked about, and the sender's reference (empty when it gave none)."""
    return message["order_id"], message.get("ref_id", "")


def track_from_wire(message: dict[str, Any]) -> str:
    """The order whose delivery is to be watched."""
    order_id: str = message["order_id"]
    return order_id


def rating_from_wire(message: dict[str, Any]) -> list[RatingRequest]:
    """The ratings given; raises WireRefusal (50003 unknown category, 30015 impossible value)."""
    ratings = []
    for index, rating in enumerate(message["ratings"]):
        path = f"message.ratings[{index}]"
        category = _RATING_CATEGORIES.get(rating["rating_category"])
        if category is None:
            known = ", ".join(RATING_CATEGORIES)
            sentence = f'is "{rating["rating_category"]}"; rated can be: {known}.'
            raise values.refuse(f"{path}.rating_category", sentence, code="50003")
        value = values.decimal_from_wire(rating["value"], path=f"{path}.value")
        if not 0 <= value <= 5:
            raise values.refuse(f"{path}.value", "must be between 0 and 5.", code="30015")
        ratings.append(RatingRequest(category, rating["id"], rating["value"]))
    return ratings


def support_from_wire(message: dict[str, Any]) -> SupportRequest:
    """What a buyer needs help with; raises WireRefusal when it names nothing."""
    support = message.get("support") or {}
    ref_id = support.get("ref_id") or message.get("ref_id")
    if not ref_id:
        raise WireRefusal("30000", "message.support.ref_id", "message.support.ref_id is missing; name the order.")
    return SupportRequest(
        ref_id, support.get("phone") or support.get("callback_phone") or "", support.get("email") or ""
    )
