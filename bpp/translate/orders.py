"""An order as its seller tells the buyer about it: quotes, contracts, what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpp.translate import catalog, outcomes
from energy_catalog.offers import Offer, Provider
from schemas import tags, values
from trade.money import currency_exponent
from trade.order import Order, OrderState
from trade.policy import PLAIN, digest
from trade.quote import TITLES, CancellationTerm, LineKind, QuoteLine

#: What people read beside each line of a quote.
_LINE_NAMES = {
    LineKind.ENERGY: "Energy",
    LineKind.WHEELING: "Wheeling: carrying the energy over the grid",
    LineKind.TAX: "Tax on the energy",
    LineKind.PLATFORM_FEE: "Fee of the platform",
    LineKind.UTILITY_FEE: "Fee of the utility",
    LineKind.PENALTY: "Penalty: energy contracted and not taken",
    LineKind.DEVIATION: "Deviation: energy contracted and not taken, at the utility's tariff",
    LineKind.CANCELLATION_FEE: "Cancellation fee",
    LineKind.RESOLUTION: "What was decided in a dispute",
}

#: (order.status, code of the fulfillment's state) of each state a seller tells about. A held order has no status:
#: the protocol knows none for it.
_STATES: dict[OrderState, tuple[str, str]] = {
    OrderState.ACTIVE: ("ACTIVE", "ORDER_PLACED"),
    OrderState.DELIVERING: ("ACTIVE", "ORDER_PLACED"),
    OrderState.CANCELLING: ("ACTIVE", "ORDER_PLACED"),
    OrderState.DISPUTED: ("COMPLETE", "ORDER_COMPLETED"),
    OrderState.COMPLETED: ("COMPLETE", "ORDER_COMPLETED"),
    OrderState.CANCELLED: ("CANCELLED", "CANCELLED"),
    OrderState.EXPIRED: ("CANCELLED", "CANCELLED"),
    OrderState.REFUSED: ("CANCELLED", "CANCELLED"),
}

#: Longest text a descriptor takes.
TEXT_CHARS_MAX = 1024

_CANCELLED_BY = {"BUYER": "CONSUMER", "SELLER": "PROVIDER"}


def quote_to_wire(order: Order, provider: Provider, offer: Offer) -> dict[str, Any]:
    """The message of an on_select (no customer known yet) or on_init: what the order would cost. It has no id yet.

    The item says what each slot costs, how much of the offer is still free in each, when orders end and by which policy
    it would be settled.
    """
    wire = _order(order, provider, gate_closure_s=offer.gate_closure_s)
    item = wire["items"][0]
    item["quantity"]["available"] = values.energy_to_wire(offer.available_wh.total)
    if order.buyer_meter_id:
        wire["tags"] = [tags.buyer_meter_to_wire(order.buyer_meter_id)]
    if order.customer is not None:
        wire |= _terms(order)
    return {"order": wire}


def order_to_wire(order: Order, provider: Provider) -> dict[str, Any]:
    """The message of on_confirm, on_status, on_update and on_cancel: the contract and what became of it.

    Once settled, the quote holds the final lines; which tag groups tell of allocations, settlement and disputes is in
    `outcomes`.
    """
    wire: dict[str, Any] = {"id": order.wire_order_id or order.order_id}
    status, state_code = _STATES.get(order.state, ("", "ORDER_PLACED"))
    if status:
        wire["status"] = status
    wire |= _order(order, provider)
    fulfillment = wire["fulfillments"][0]
    fulfillment["state"] = {"descriptor": {"code": state_code}}
    if order.tracking_token:
        fulfillment["tracking"] = True
    wire |= _terms(order)
    if order.state is OrderState.CANCELLED:
        wire["cancellation"] = _cancellation(order)
    wire["created_at"] = values.instant_to_wire(order.created_at)
    wire["updated_at"] = values.instant_to_wire(order.updated_at)
    wire["tags"] = [tags.group_to_wire(tags.ORDER_STATE, {"state": order.state.value}), *outcomes.groups(order)]
    return {"order": wire}


def _order(order: Order, provider: Provider, *, gate_closure_s: int | None = None) -> dict[str, Any]:
    """What every message about an order has: who sells what, when, for how much, under which rules."""
    contracted, price = order.contracted_wh, order.price_micro_per_kwh
    item = {
        "id": order.offer_id,
        "descriptor": catalog.item_descriptor(order.source),
        "price": catalog.price_to_wire(contracted, price, order.currency),
        "quantity": {"selected": values.energy_to_wire(contracted.total)},
        "tags": _item_tags(order, gate_closure_s),
    }
    fulfillment: dict[str, Any] = {
        "id": order.fulfillment_id or "1",
        "type": order.fulfillment_type,
        "stops": values.window_to_stops(order.delivery_start, order.delivery_end),
    }
    if order.customer is not None:
        fulfillment["customer"] = {"person": {"name": order.customer.name}}
    wire: dict[str, Any] = {
        "provider": catalog.provider_to_wire(provider),
        "items": [item],
        "fulfillments": [fulfillment],
        "quote": _quote(order),
    }
    if order.cancellation_terms:
        wire["cancellation_terms"] = terms_to_wire(order.cancellation_terms)
    return wire


def _item_tags(order: Order, gate_closure_s: int | None) -> list[dict[str, Any]]:
    """The series of the contract and the terms it is under. plain@1 is what a contract is under that names none."""
    groups = catalog.series_to_wire(order.contracted_wh, order.price_micro_per_kwh)
    for code, series in ((tags.AVAILABLE_SERIES, order.available_wh), (tags.CURTAILED_SERIES, order.curtailed_wh)):
        if series is not None:
            groups.append(tags.series_to_wire(code, series.start, series.slot_s, series.values))
    named = order.policy != PLAIN
    terms = tags.OfferTermsTag(
        order.wheeling_micro_per_kwh,
        gate_closure_s,
        order.policy.id if named else "",
        digest(order.policy) if named else "",
        order.wheeling_seller_micro_per_kwh or None,
    )
    return [*groups, tags.offer_terms_to_wire(terms)]


def _terms(order: Order) -> dict[str, Any]:
    """What joins an order when its buyer has given a name: billing, payment, cancellation terms."""
    customer = order.customer
    billing: dict[str, str] = {"name": customer.name if customer else ""}
    if customer and customer.email:
        billing["email"] = customer.email
    if customer and customer.phone:
        billing["phone"] = customer.phone
    return {
        "billing": billing,
        "payments": [_payment(order)],
        "cancellation_terms": terms_to_wire(order.cancellation_terms),
    }


def _payment(order: Order) -> dict[str, Any]:
    """The buyer's node collects; the sum is due after delivery and counts as paid once it is settled."""
    amount_milli = sum(line.amount_milli for line in _lines(order))
    return {
        "id": order.payment_id or "1",
        "collected_by": "BAP",
        "type": "POST-FULFILLMENT",
        "status": "NOT-PAID" if order.settlement is None else "PAID",
        "params": {
            "amount": values.amount_to_wire(amount_milli, exponent=currency_exponent(order.currency)),
            "currency": order.currency,
        },
    }


def _lines(order: Order) -> Sequence[QuoteLine]:
    """The lines that count: settled ones when there are any; never none, because a quote needs a line."""
    lines = order.settlement.lines if order.settlement else order.quote.lines if order.quote else ()
    return lines or (QuoteLine(LineKind.ENERGY, TITLES[LineKind.ENERGY], 0),)


def _quote(order: Order) -> dict[str, Any]:
    if order.quote is None:
        raise ValueError(f"order {order.order_id} has no quote to tell about")
    exponent, currency = currency_exponent(order.currency), order.currency
    lines = _lines(order)
    total_milli = sum(line.amount_milli for line in lines)
    return {
        "id": order.quote.quote_id,
        "price": {"currency": currency, "value": values.amount_to_wire(total_milli, exponent=exponent)},
        "breakup": [_line(line, currency=currency, exponent=exponent) for line in lines],
        "ttl": values.duration_to_wire(order.quote.ttl_s),
    }


def _line(line: QuoteLine, *, currency: str, exponent: int) -> dict[str, Any]:
    item: dict[str, Any] = {"descriptor": {"code": line.kind.value, "name": _LINE_NAMES[line.kind]}}
    if line.energy_wh is not None:
        item["quantity"] = {"selected": values.energy_to_wire(line.energy_wh)}
    if line.price_micro_per_kwh is not None:
        item["price"] = {"currency": currency, "value": values.price_to_wire(line.price_micro_per_kwh)}
    return {
        "title": TITLES[line.kind],
        "item": item,
        "price": {"currency": currency, "value": values.amount_to_wire(line.amount_milli, exponent=exponent)},
    }


def terms_to_wire(terms: Sequence[CancellationTerm]) -> list[dict[str, Any]]:
    """Cancellation terms: at least so long before delivery, a percentage of the energy lines."""
    return [
        {
            "cancel_by": {"duration": values.duration_to_wire(term.notice_s_min)},
            "cancellation_fee": {"percentage": str(term.fee_percent)},
        }
        for term in terms
    ]


def _cancellation(order: Order) -> dict[str, Any]:
    cancellation: dict[str, Any] = {
        "time": values.instant_to_wire(order.updated_at),
        "cancelled_by": _CANCELLED_BY.get(order.cancelled_by, order.cancelled_by) or "PROVIDER",
    }
    if order.cancellation_reason_id:
        cancellation["reason"] = {"id": order.cancellation_reason_id}
    elif order.refusal:
        cancellation["reason"] = {"id": "OTHER", "descriptor": {"short_desc": order.refusal[:TEXT_CHARS_MAX]}}
    return cancellation
