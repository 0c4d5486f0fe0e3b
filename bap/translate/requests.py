"""What a buyer wants -> messages."""

from __future__ import annotations

import re
from typing import Any

from energy_catalog.offers import Intent
from schemas import catalog_tags, tags, values
from trade.money import Series, currency_exponent
from trade.order import Order
from trade.policy import PLAIN, digest

_E164 = re.compile(r"\+?[1-9][0-9]{1,14}")


def search_to_wire(intent: Intent) -> dict[str, Any]:
    """The message of a search; what the intent leaves open is left out."""
    wire: dict[str, Any] = {}
    item = _wanted_item(intent)
    if item:
        wire["item"] = item
    fulfillment = _wanted_fulfillment(intent)
    if fulfillment:
        wire["fulfillment"] = fulfillment
    if intent.source in catalog_tags.SOURCE_CODES:
        wire["category"] = {"descriptor": {"code": catalog_tags.SOURCE_CODES[intent.source]}}
    elif intent.source is not None:
        wire["category"] = {"tags": [tags.group_to_wire(tags.ENERGY_SOURCE, {"source": intent.source.value})]}
    if intent.provider_id is not None:
        wire["provider"] = {"id": intent.provider_id}
    filters = catalog_tags.search_filters_to_wire(
        catalog_tags.SearchFiltersTag(
            intent.renewable_per_mille_min,
            intent.carbon_g_per_kwh_max,
            intent.rating_tenths_min,
            intent.delivered_per_mille_min,
        )
    )
    if filters:
        wire["tags"] = [filters]
    return {"intent": wire}


def _wanted_item(intent: Intent) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if intent.offer_id is not None:
        item["id"] = intent.offer_id
    if intent.energy_wh is not None:
        item["quantity"] = {"available": values.energy_to_wire(intent.energy_wh)}
    price: dict[str, str] = {}
    if intent.currency is not None:
        price["currency"] = intent.currency
    if intent.price_micro_per_kwh_max is not None:
        price["maximum_value"] = values.price_to_wire(intent.price_micro_per_kwh_max)
    if price:
        item["price"] = price
    return item


def _wanted_fulfillment(intent: Intent) -> dict[str, Any]:
    """How the energy should come, when and where."""
    fulfillment: dict[str, Any] = {}
    if intent.fulfillment_type is not None:
        fulfillment["type"] = intent.fulfillment_type
    stop = _wanted_stop(intent)
    if stop:
        fulfillment["stops"] = [stop]
    return fulfillment


def _wanted_stop(intent: Intent) -> dict[str, Any]:
    """One stop that says when and where."""
    stop: dict[str, Any] = {}
    reach = {
        name: values.instant_to_wire(instant)
        for name, instant in (("start", intent.window_start), ("end", intent.window_end))
        if instant is not None
    }
    if reach:
        stop["time"] = {"range": reach}
    if intent.near_gps is not None and intent.radius_m is not None:
        radius = {"type": "CONSTANT", "value": values.whole_to_wire(intent.radius_m, places=3), "unit": "km"}
        stop["location"] = {"circle": {"gps": intent.near_gps, "radius": radius}}
    elif intent.near_gps is not None:
        stop["location"] = {"gps": intent.near_gps}
    return stop


def select_to_wire(order: Order) -> dict[str, Any]:
    """The message of a select: how much of which offer, in which slots."""
    return {"order": _order(order)}


def init_to_wire(order: Order) -> dict[str, Any]:
    """The message of an init: the selection, who is billed, and whose meter counts.

    Raises ValueError without a customer.
    """
    return {"order": {**_order(order), "billing": _billing(order), **_meter(order)}}


def confirm_to_wire(order: Order) -> dict[str, Any]:
    """The message of a confirm: the order under the id we propose, and what we agree to pay.

    Raises ValueError without a customer or a quote.
    """
    if order.quote is None:
        raise ValueError(f"order {order.order_id} has no quote to confirm")
    exponent = currency_exponent(order.quote.currency)
    payment = {
        "id": order.payment_id or "1",
        "collected_by": "BAP",
        "type": "POST-FULFILLMENT",
        "status": "NOT-PAID",
        "params": {
            "amount": values.amount_to_wire(order.quote.total_milli, exponent=exponent),
            "currency": order.quote.currency,
        },
    }
    agreed = {"billing": _billing(order), "payments": [payment], **_meter(order)}
    return {"order": {"id": wire_id(order), **_order(order), **agreed}}


def wire_id(order: Order) -> str:
    """The order's id on the wire: the one the seller gave or the one we propose."""
    return order.wire_order_id or order.order_id


def _order(order: Order, energy_wh: Series | None = None) -> dict[str, Any]:
    energy = energy_wh or order.contracted_wh
    item: dict[str, Any] = {
        "id": order.offer_id,
        "quantity": {"selected": values.energy_to_wire(energy.total)},
        "tags": [tags.series_to_wire(tags.ENERGY_SERIES, energy.start, energy.slot_s, energy.values)],
    }
    if order.policy != PLAIN:
        terms = tags.OfferTermsTag(policy=order.policy.id, policy_digest=digest(order.policy))
        item["tags"].append(tags.offer_terms_to_wire(terms))
    fulfillment: dict[str, Any] = {
        "id": order.fulfillment_id or "1",
        "stops": values.window_to_stops(energy.start, energy.end),
    }
    return {"provider": {"id": order.provider_id}, "items": [item], "fulfillments": [fulfillment]}


def _meter(order: Order) -> dict[str, Any]:
    """The meter whose import counts, under policies in which it does."""
    if not order.buyer_meter_id or not order.policy.is_two_sided:
        return {}
    return {"tags": [tags.buyer_meter_to_wire(order.buyer_meter_id)]}


def _billing(order: Order) -> dict[str, str]:
    if order.customer is None:
        raise ValueError(f"order {order.order_id} has no customer to bill")
    customer = order.customer
    billing = {"name": customer.name, "email": customer.email, "phone": customer.phone}
    return {name: value for name, value in billing.items() if value or name == "name"}


def status_to_wire(order: Order) -> dict[str, Any]:
    """The message of a status."""
    return {"order_id": wire_id(order)}


def track_to_wire(order: Order) -> dict[str, Any]:
    """The message of a track."""
    return {"order_id": wire_id(order)}


def cancel_to_wire(order: Order, reason_id: str, note: str = "") -> dict[str, Any]:
    """The message of a cancel."""
    message: dict[str, Any] = {"order_id": wire_id(order)}
    if reason_id:
        message["cancellation_reason_id"] = reason_id
    if note:
        message["descriptor"] = {"short_desc": note}
    return message


def update_to_wire(order: Order, contracted_wh: Series) -> dict[str, Any]:
    """The message of an update: the energy we want from now on, in all slots of the order."""
    return {"update_target": "item", "order": {"id": wire_id(order), **_order(order, contracted_wh)}}


def rating_to_wire(order: Order, category: str, value: str) -> dict[str, Any]:
    """The message of a rating; the category in core's spelling (Order, Provider, Fulfillment, Item, Support).

    A provider and an item are rated by their ids, everything else by the order's.
    """
    subject_id = {"Provider": order.provider_id, "Item": order.offer_id}.get(category) or wire_id(order)
    return {"ratings": [{"rating_category": category, "id": subject_id, "value": value}]}


def support_to_wire(order: Order, phone: str = "", email: str = "") -> dict[str, Any]:
    """The message of a support; raises WireRefusal for a telephone number that is not one once spaces are gone."""
    support = {"ref_id": wire_id(order)}
    if phone:
        digits = re.sub(r"[ ()./-]", "", phone)
        if not _E164.fullmatch(digits):
            raise values.refuse("message.support.phone", "must be a telephone number such as +919876543210.")
        support["phone"] = digits
    if email:
        support["email"] = email
    # The reference stands twice: core has it inside `support`, the network's Layer 2 beside it, too.
    return {"ref_id": support["ref_id"], "support": support}
