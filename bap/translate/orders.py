"""What a seller says about an order -> quotes and order views."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bap.translate.catalog import price_series_from_wire
from bap.translate.outcomes import outcome_from_wire
from bap.translate.views import OrderView, QuoteView, SettlementView
from schemas import tags, values
from trade.money import (
    Series,
    cost_milli,
    currency_exponent,
    divide_half_away,
    is_same_or_rounded,
    nano_from_milli,
)
from trade.order import Order
from trade.quote import (
    TITLES,
    CancellationTerm,
    LineKind,
    Quote,
    QuoteLine,
)

#: The error code for a quote that cannot be taken as it stands (BECKN-005).
QUOTE_UNAVAILABLE = "40003"

#: How long a quote without a ttl stands.
QUOTE_TTL_S = 300

#: A line's kind by its title, for sellers that do not name the kind in the line's item.
_KINDS = {"ENERGY": LineKind.ENERGY, "DISCOM_FEES": LineKind.WHEELING, "TAX": LineKind.TAX}

#: order.status as core spells it, by what peers write, and by the fulfillment's state when they write none.
_STATUSES = {
    "ACTIVE": "ACTIVE",
    "COMPLETE": "COMPLETE",
    "COMPLETED": "COMPLETE",
    "CANCELLED": "CANCELLED",
    "SOFT_CANCEL": "CANCELLED",
}
_STATUS_OF_STATE = {"ORDER_PLACED": "ACTIVE", "ORDER_COMPLETED": "COMPLETE", "CANCELLED": "CANCELLED"}


def quote_from_wire(message: dict[str, Any], order: Order, now: datetime) -> QuoteView:
    """What an on_select or on_init says the order would cost; raises WireRefusal.

    `now` is when the quote was given (the letter's timestamp, wall clock): its ttl counts from there.
    """
    wire = message["order"]
    path = "message.order"
    item = values.only_one(wire.get("items"), path=f"{path}.items", what="offer")
    if item["id"] != order.offer_id:
        sentence = f'is "{item["id"]}"; "{order.offer_id}" was asked for.'
        raise values.refuse(f"{path}.items[0].id", sentence, code=QUOTE_UNAVAILABLE)
    contracted_wh = _contracted(item, order, f"{path}.items[0]")
    lines, currency = _lines(wire["quote"], f"{path}.quote")
    ttl = wire["quote"].get("ttl")
    ttl_s = QUOTE_TTL_S if ttl is None else values.duration_from_wire(ttl, path=f"{path}.quote.ttl")
    fulfillment = (wire.get("fulfillments") or [{}])[0]
    terms = tags.offer_terms_from_wire(item.get("tags"), path=f"{path}.items[0].tags")
    return QuoteView(
        quote=Quote(
            quote_id=wire["quote"].get("id", ""),
            currency=currency,
            lines=lines,
            expires_at=now + timedelta(seconds=ttl_s),
            ttl_s=ttl_s,
        ),
        contracted_wh=contracted_wh,
        price_micro_per_kwh=_price(item, contracted_wh, order, f"{path}.items[0]"),
        wheeling_micro_per_kwh=_wheeling(item, lines, currency, contracted_wh),
        provider_name=_provider_name(wire) or order.provider_name,
        cancellation_terms=_terms(wire.get("cancellation_terms")),
        payment_id=(wire.get("payments") or [{}])[0].get("id", ""),
        fulfillment_id=fulfillment.get("id", "") or order.fulfillment_id,
        fulfillment_type=fulfillment.get("type", "") or order.fulfillment_type,
        policy=terms.policy,
        policy_digest=terms.policy_digest,
        wheeling_seller_micro_per_kwh=terms.wheeling_seller_micro_per_kwh or 0,
    )


def _contracted(item: dict[str, Any], order: Order, path: str) -> Series:
    """What was quoted for: the seller's series, or what we asked for when it repeats only the sum."""
    series = tags.series_from_wire(item.get("tags"), tags.ENERGY_SERIES, path=f"{path}.tags")
    if series is not None:
        return Series(*series)
    asked = order.contracted_wh
    measure = ((item.get("quantity") or {}).get("selected") or {}).get("measure")
    if measure is None:
        return asked
    energy_wh = values.energy_from_wire(measure, path=f"{path}.quantity.selected.measure")
    if energy_wh == asked.total:
        return asked
    if len(asked.values) == 1:
        return asked.with_values((energy_wh,))
    sentence = f"is {energy_wh} Wh where {asked.total} Wh were asked for, without saying in which slots."
    raise values.refuse(f"{path}.quantity.selected.measure", sentence, code=QUOTE_UNAVAILABLE)


def _price(item: dict[str, Any], like: Series, order: Order, path: str) -> Series:
    """The price of each slot; a seller that repeats no price keeps to the one we ordered at."""
    if "value" in (item.get("price") or {}) or not like.is_aligned(order.price_micro_per_kwh):
        return price_series_from_wire(item, like, path=path)
    return order.price_micro_per_kwh


def _wheeling(item: dict[str, Any], lines: Sequence[QuoteLine], currency: str, contracted_wh: Series) -> int:
    """What the grid charges per kWh: as the seller's terms say, or as follows from its line.

    A stranger's line may state only an amount. It is taken as a charge per kWh when a rate gives that amount, exactly
    or rounded to minor units, because the rate is what will be settled if less is delivered; otherwise the quote is
    refused.
    """
    terms = tags.group_from_wire(item.get("tags"), tags.OFFER_TERMS) or {}
    stated = terms.get("wheeling_per_kwh")
    if stated is not None:
        return values.price_from_wire(stated, path="message.order.items[0].tags.OFFER_TERMS.wheeling_per_kwh")
    charged = [line for line in lines if line.kind is LineKind.WHEELING]
    if not charged:
        return 0
    if len(charged) == 1 and charged[0].price_micro_per_kwh is not None:
        return charged[0].price_micro_per_kwh
    amount_milli, energy_wh = sum(line.amount_milli for line in charged), contracted_wh.total
    nano = nano_from_milli(amount_milli, currency)
    rate = divide_half_away(nano, energy_wh) if energy_wh else 0
    flat = Series.flat(contracted_wh, max(rate, 0))
    exact_milli = cost_milli(energy_wh=contracted_wh, price_micro_per_kwh=flat, currency=currency)
    if rate < 0 or not is_same_or_rounded(amount_milli, exact_milli):
        sentence = "has grid charges that are no price per kWh; state the price in the line's item."
        raise values.refuse("message.order.quote.breakup", sentence, code=QUOTE_UNAVAILABLE)
    return rate


def _lines(quote: dict[str, Any], path: str) -> tuple[tuple[QuoteLine, ...], str]:
    """The lines of a quote and its currency; refused unless they are in one currency and sum to the quote's price."""
    currency = values.currency_from_wire(quote["price"].get("currency"), path=f"{path}.price.currency")
    exponent = currency_exponent(currency)
    total = values.amount_from_wire(quote["price"].get("value"), exponent=exponent, path=f"{path}.price.value")
    breakup = quote.get("breakup")
    if not breakup:
        return (QuoteLine(LineKind.ENERGY, TITLES[LineKind.ENERGY], total),), currency
    lines = tuple(
        _line(line, currency=currency, exponent=exponent, path=f"{path}.breakup[{index}]")
        for index, line in enumerate(breakup)
    )
    lines_total = sum(line.amount_milli for line in lines)
    if not is_same_or_rounded(total, lines_total):
        said, sums = (values.amount_to_wire(amount, exponent=exponent) for amount in (total, lines_total))
        sentence = f"is {said}, but the lines of the breakup sum to {sums}."
        raise values.refuse(f"{path}.price.value", sentence, code=QUOTE_UNAVAILABLE)
    return lines, currency


def _line(line: dict[str, Any], *, currency: str, exponent: int, path: str) -> QuoteLine:
    item = line.get("item") or {}
    title = line.get("title", "")
    named = (item.get("descriptor") or {}).get("code", "")
    kind = LineKind[named] if named in LineKind.__members__ else _KINDS.get(title)
    if kind is None:
        known = ", ".join(kind.value for kind in LineKind)
        sentence = f'is "{title}"; this node can settle only lines of the kinds {known}.'
        raise values.refuse(f"{path}.title", sentence, code=QUOTE_UNAVAILABLE)
    if values.currency_from_wire(line["price"].get("currency"), path=f"{path}.price.currency") != currency:
        raise values.refuse(f"{path}.price.currency", f"differs from the quote's {currency}.", code=QUOTE_UNAVAILABLE)
    measure = ((item.get("quantity") or {}).get("selected") or {}).get("measure")
    price = (item.get("price") or {}).get("value")
    return QuoteLine(
        kind=kind,
        title=TITLES[kind],
        amount_milli=values.amount_from_wire(line["price"].get("value"), exponent=exponent, path=f"{path}.price.value"),
        energy_wh=None if measure is None else values.energy_from_wire(measure, path=f"{path}.item.quantity.selected"),
        price_micro_per_kwh=None if price is None else values.price_from_wire(price, path=f"{path}.item.price.value"),
    )


def _provider_name(wire: dict[str, Any]) -> str:
    name: str = ((wire.get("provider") or {}).get("descriptor") or {}).get("name", "")
    return name


def _terms(terms: Sequence[dict[str, Any]] | None) -> tuple[CancellationTerm, ...]:
    """Cancellation terms; raises WireRefusal for one that is no notice before delivery at a whole percentage."""
    read = []
    for index, term in enumerate(terms or ()):
        path = f"message.order.cancellation_terms[{index}]"
        notice = (term.get("cancel_by") or {}).get("duration")
        percentage = (term.get("cancellation_fee") or {}).get("percentage")
        read.append(
            CancellationTerm(
                notice_s_min=values.duration_from_wire(notice, path=f"{path}.cancel_by.duration"),
                fee_percent=values.whole_from_wire(
                    percentage,
                    places=0,
                    smallest=0,
                    largest=100,
                    unit="percent",
                    path=f"{path}.cancellation_fee.percentage",
                ),
            )
        )
    return tuple(read)


def order_from_wire(message: dict[str, Any]) -> OrderView:
    """What on_confirm, on_status, on_update or on_cancel says about an order; raises WireRefusal."""
    wire = message["order"]
    path = "message.order"
    item = (wire.get("items") or [{}])[0]
    fulfillment = (wire.get("fulfillments") or [{}])[0]
    state_code = ((fulfillment.get("state") or {}).get("descriptor") or {}).get("code", "")
    detail = tags.group_from_wire(wire.get("tags"), tags.ORDER_STATE) or {}
    contracted = tags.series_from_wire(item.get("tags"), tags.ENERGY_SERIES, path=f"{path}.items[0].tags")
    metered = tags.series_from_wire(wire.get("tags"), tags.METER_READINGS, path=f"{path}.tags")
    lines, currency = _lines(wire["quote"], f"{path}.quote") if "quote" in wire else (None, "")
    cancellation = wire.get("cancellation") or {}
    reason = cancellation.get("reason") or {}
    return OrderView(
        wire_order_id=wire["id"],
        status=_status(wire, state_code, detail),
        state_code=state_code,
        detail_state=detail.get("state", ""),
        currency=currency,
        lines=lines,
        contracted_wh=None if contracted is None else Series(*contracted),
        metered_wh=None if metered is None else Series(*metered),
        settlement=_settlement(wire, lines),
        cancelled_by=cancellation.get("cancelled_by", ""),
        cancellation_reason_id=reason.get("id", ""),
        cancellation_note=(reason.get("descriptor") or {}).get("short_desc", ""),
        payment_status=(wire.get("payments") or [{}])[0].get("status", "").replace("_", "-"),
        has_tracking=bool(fulfillment.get("tracking")),
        outcome=outcome_from_wire(wire, currency),
    )


def _status(wire: dict[str, Any], state_code: str, detail: dict[str, str]) -> str:
    """order.status, or what the fulfillment's state implies for sellers that leave it out; empty for a mere hold."""
    if "status" in wire:
        return _STATUSES[wire["status"]]
    return "" if detail.get("state") == "INITIALISED" else _STATUS_OF_STATE.get(state_code, "")


def _settlement(wire: dict[str, Any], lines: tuple[QuoteLine, ...] | None) -> SettlementView | None:
    """With a SETTLEMENT tag the quote's lines are the final ones."""
    settled = tags.group_from_wire(wire.get("tags"), tags.SETTLEMENT)
    if settled is None or lines is None:
        return None
    path = "message.order.tags.SETTLEMENT.settled_at"
    return SettlementView(lines, values.instant_from_wire(settled.get("settled_at"), path=path))
