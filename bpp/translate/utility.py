"""What a seller's node and its utility say to each other: the request to carry a trade, and the answers.

The seller's node is a buyer here: it orders the item `wheeling` of the utility, over the trade's own slots. What a
utility charges is two lines DISCOM_FEES, one for each side; what remains of the limit is the tag group TRADING_LIMIT.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bpp.translate import catalog
from bpp.utility import SERVICE_ID, Clearance, Request, Trade, TradeState
from schemas import tags, utility_tags, values
from trade.meter_ids import MeterIdRefused, bare_meter_id
from trade.money import Series, cost_milli, currency_exponent
from trade.quote import LineKind

#: How long a utility's charges stand, seconds: until the confirm of a quote that was made with them.
QUOTE_TTL_S = 3600

_SIDES = {"SELLER": tags.SELLER_ALLOC, "BUYER": tags.BUYER_ALLOC}
_ITEM = {"name": "Wheeling", "short_desc": "Carrying a trade's energy over the grid"}


@dataclass(frozen=True, slots=True)
class Face:
    """A utility as its letters show it."""

    utility_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Charges:
    """What a utility's on_init says: its charges, micro-units per kWh, and what may still be traded (Wh, if said)."""

    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    remaining_wh: int | None


# --- The seller's node asks -----------------------------------------------------------------------------------------


def carry_to_wire(
    request: Request, *, utility_id: str, billed_as: str, charges: Charges | None = None
) -> dict[str, Any]:
    """The message of an init; of a confirm when `charges` says what was quoted."""
    order: dict[str, Any] = {
        "provider": {"id": utility_id},
        "items": [
            {
                "id": SERVICE_ID,
                "quantity": {"selected": values.energy_to_wire(request.energy_wh.total)},
                "tags": _request_tags(request),
            }
        ],
        "fulfillments": [{"id": "1"}],
        "billing": {"name": billed_as},
    }
    if charges is not None:
        total = sum(_amounts(request, charges.wheeling_buyer_micro_per_kwh, charges.wheeling_seller_micro_per_kwh))
        order = {"id": request.order_id, **order, "payments": [_payment(total, request.currency)]}
    return {"order": order}


def resize_to_wire(request: Request, *, utility_id: str) -> dict[str, Any]:
    """The message of an update: the trade over other energy in its own slots."""
    order = carry_to_wire(request, utility_id=utility_id, billed_as="")["order"]
    kept = {name: order[name] for name in ("provider", "items", "fulfillments")}
    return {"update_target": "item", "order": {"id": request.order_id, **kept}}


def order_id_to_wire(order_id: str) -> dict[str, Any]:
    """The message of a status or a cancel."""
    return {"order_id": order_id}


def charges_from_wire(message: dict[str, Any]) -> Charges:
    """What an on_init quotes; raises WireRefusal when it names no charges."""
    order = message["order"]
    item = values.only_one(order.get("items"), path="message.order.items", what="service")
    terms = tags.offer_terms_from_wire(item.get("tags"), path="message.order.items[0].tags")
    if terms.wheeling_micro_per_kwh is None:
        raise values.refuse("message.order.items[0].tags.OFFER_TERMS.wheeling_per_kwh", "is missing.")
    limit = tags.trading_limit_from_wire(order.get("tags"), path="message.order.tags")
    return Charges(
        terms.wheeling_micro_per_kwh, terms.wheeling_seller_micro_per_kwh or 0, limit.remaining_wh if limit else None
    )


def is_carried(message: dict[str, Any]) -> bool:
    """True when an on_confirm or on_status says that the utility carries the trade."""
    return bool(message["order"].get("status") == "ACTIVE")


def allocations_from_wire(message: dict[str, Any]) -> dict[str, Series]:
    """The sides (SELLER, BUYER) whose figures an on_update replaces; raises WireRefusal."""
    found = {}
    for side, code in _SIDES.items():
        said = tags.allocation_from_wire(message["order"].get("tags"), code, path="message.order.tags")
        if said is not None:
            found[side] = Series(said.start, said.slot_s, said.values)
    return found


def error_from_wire(error: dict[str, Any]) -> tuple[str, str]:
    """Code and sentence of a refusal, whatever a stranger put there."""
    return str(error.get("code") or ""), str(error.get("message") or "it gave no reason")[:1000]


# --- The utility answers --------------------------------------------------------------------------------------------


def request_from_wire(message: dict[str, Any]) -> Request:
    """What an init, confirm or update asks to carry; raises WireRefusal."""
    order = message["order"]
    item = values.only_one(order.get("items"), path="message.order.items", what="service")
    if item.get("id") != SERVICE_ID:
        raise values.refuse("message.order.items[0].id", f'is "{item.get("id")}"; a utility offers "{SERVICE_ID}".')
    path = "message.order.items[0].tags"
    trade = utility_tags.grid_trade_from_wire(item.get("tags"), path=path)
    series = tags.series_from_wire(item.get("tags"), tags.ENERGY_SERIES, path=path)
    if series is None:
        raise values.refuse(f"{path}.{tags.ENERGY_SERIES}", "is missing; say how much is carried in each slot.")
    seller, buyer = _meter(trade.seller_meter_id, f"{path}.seller_meter"), _meter(trade.buyer_meter_id, path)
    return Request(seller, buyer, Series(*series), trade.currency, order.get("id", ""))


def _meter(meter_id: str, path: str) -> str:
    """The meter's id as it is stored; empty stays empty. Raises WireRefusal."""
    try:
        return bare_meter_id(meter_id) if meter_id else ""
    except MeterIdRefused as refusal:
        raise values.refuse(path, f"cannot be read: {refusal}.") from refusal


def clearance_to_wire(
    request: Request, cleared: Clearance, *, face: Face, billed_as: str, quote_id: str
) -> dict[str, Any]:
    """The message of an on_init: charges of both sides, and what may still be traded in these slots."""
    buyers, sellers = cleared.wheeling_buyer_micro_per_kwh, cleared.wheeling_seller_micro_per_kwh
    wire = _order(request, buyers, sellers, face=face, billed_as=billed_as, quote_id=quote_id)
    limit = tags.TradingLimitTag(cleared.remaining_wh.total, cleared.sanctioned_load_w)
    return {"order": {**wire, "tags": [tags.trading_limit_to_wire(limit)]}}


def trade_to_wire(trade: Trade, *, face: Face) -> dict[str, Any]:
    """The message of on_confirm, on_status, on_update and on_cancel: the trade as it stands, and figures replaced."""
    is_active = trade.state is TradeState.ACTIVE
    buyers, sellers = trade.wheeling_buyer_micro_per_kwh, trade.wheeling_seller_micro_per_kwh
    wire = _order(trade.request, buyers, sellers, face=face, billed_as=trade.bpp_id, quote_id=trade.trade_id)
    wire["fulfillments"][0]["state"] = {"descriptor": {"code": "ORDER_PLACED" if is_active else "CANCELLED"}}
    wire = {"id": trade.order_id, "status": "ACTIVE" if is_active else "CANCELLED", **wire}
    if not is_active:
        wire["cancellation"] = {"time": values.instant_to_wire(trade.updated_at), "cancelled_by": "CONSUMER"}
    wire |= _dates(trade.created_at, trade.updated_at)
    wire["tags"] = [
        tags.allocation_to_wire(_SIDES[side], tags.AllocationTag(said.start, said.slot_s, said.values, 1))
        for side, said in (("SELLER", trade.seller_alloc_wh), ("BUYER", trade.buyer_alloc_wh))
        if said is not None
    ]
    return {"order": wire}


def _dates(created_at: datetime, updated_at: datetime) -> dict[str, str]:
    return {"created_at": values.instant_to_wire(created_at), "updated_at": values.instant_to_wire(updated_at)}


def _order(
    request: Request, buyers_micro: int, sellers_micro: int, *, face: Face, billed_as: str, quote_id: str
) -> dict[str, Any]:
    energy, currency = request.energy_wh, request.currency
    amounts = _amounts(request, buyers_micro, sellers_micro)
    terms = tags.OfferTermsTag(wheeling_micro_per_kwh=buyers_micro, wheeling_seller_micro_per_kwh=sellers_micro)
    return {
        "provider": {
            "id": face.utility_id,
            "descriptor": {"name": face.name, "short_desc": face.name, "images": [{"url": catalog.PLAIN_IMAGE}]},
        },
        "items": [
            {
                "id": SERVICE_ID,
                "descriptor": _ITEM,
                "price": {"currency": currency, "value": values.price_to_wire(buyers_micro + sellers_micro)},
                "quantity": {"selected": values.energy_to_wire(energy.total)},
                "tags": [*_request_tags(request), tags.offer_terms_to_wire(terms)],
            }
        ],
        "fulfillments": [{"id": "1", "type": "WHEELING", "stops": values.window_to_stops(energy.start, energy.end)}],
        "quote": {
            "id": quote_id,
            "price": _amount(sum(amounts), currency),
            "breakup": [
                _line(side, amount, rate, request)
                for side, amount, rate in zip(("buyer", "seller"), amounts, (buyers_micro, sellers_micro), strict=True)
            ],
            "ttl": values.duration_to_wire(QUOTE_TTL_S),
        },
        "billing": {"name": billed_as},
        "payments": [_payment(sum(amounts), currency)],
        "cancellation_terms": [
            {"cancel_by": {"duration": values.duration_to_wire(0)}, "cancellation_fee": {"percentage": "0"}}
        ],
    }


def _request_tags(request: Request) -> list[dict[str, Any]]:
    energy = request.energy_wh
    trade = utility_tags.GridTradeTag(request.seller_meter_id, request.buyer_meter_id, request.currency)
    return [
        tags.series_to_wire(tags.ENERGY_SERIES, energy.start, energy.slot_s, energy.values),
        utility_tags.grid_trade_to_wire(trade),
    ]


def _amounts(request: Request, *rates_micro: int) -> list[int]:
    """What carrying all of it comes to at each rate, thousandths of a minor unit."""
    return [
        cost_milli(
            energy_wh=request.energy_wh,
            price_micro_per_kwh=Series.flat(request.energy_wh, rate),
            currency=request.currency,
        )
        for rate in rates_micro
    ]


def _line(side: str, amount_milli: int, rate_micro: int, request: Request) -> dict[str, Any]:
    return {
        "title": "DISCOM_FEES",
        "item": {
            "descriptor": {"code": LineKind.WHEELING.value, "name": f"Wheeling, the {side}'s side"},
            "quantity": {"selected": values.energy_to_wire(request.energy_wh.total)},
            "price": {"currency": request.currency, "value": values.price_to_wire(rate_micro)},
        },
        "price": _amount(amount_milli, request.currency),
    }


def _payment(amount_milli: int, currency: str) -> dict[str, Any]:
    amount = _amount(amount_milli, currency)
    return {
        "id": "1",
        "collected_by": "BPP",
        "type": "POST-FULFILLMENT",
        "status": "NOT-PAID",
        "params": {"amount": amount["value"], "currency": currency},
    }


def _amount(amount_milli: int, currency: str) -> dict[str, str]:
    return {
        "currency": currency,
        "value": values.amount_to_wire(amount_milli, exponent=currency_exponent(currency)),
    }
