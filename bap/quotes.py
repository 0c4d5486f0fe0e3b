"""A seller's quote, as a buyer takes it: only for what was asked, under the policy it was offered under, and right.

What is settled later is computed from the quote's own energy, prices and charges, by the same rules on both nodes. So a
quote that these do not come to is refused at once: it would be a dispute waiting to happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bap import buyer
from bap.buyer import Step, stepped
from trade import policy, pricing, settlement
from trade.money import Series, amount_from_milli
from trade.order import Order, OrderEvent, advance, can_advance
from trade.policy import PLAIN
from trade.quote import LineKind, Quote, QuoteLine


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a seller's on_select or on_init says; what it leaves out stays as it was."""

    quote: Quote
    contracted_wh: Series | None = None
    price_micro_per_kwh: Series | None = None
    details: Mapping[str, Any] = field(default_factory=dict)  # fields of Order to take over
    #: The policy as the seller names it again; no name is plain@1.
    policy_id: str = PLAIN.id
    policy_digest: str = ""


def record_quote(order: Order, quoted: Quoted, *, now: datetime) -> Step | None:
    """on_select: the order with its quote; None when the order has gone on and the quote comes too late."""
    if not can_advance(order, OrderEvent.QUOTE_RECEIVED):
        return None
    return _record_offer(order, quoted, OrderEvent.QUOTE_RECEIVED, now)


def record_hold(order: Order, quoted: Quoted, *, now: datetime) -> Step | None:
    """on_init: the seller holds the energy until the quote expires; None when the order has gone on."""
    if not can_advance(order, OrderEvent.HELD):
        return None
    return _record_offer(order, quoted, OrderEvent.HELD, now)


def _record_offer(order: Order, quoted: Quoted, event: OrderEvent, now: datetime) -> Step | None:
    """The order with its quote. A quote that cannot be taken refuses the order, or is passed over if one stands."""
    fault = _fault_of(order, quoted)
    if not fault:
        energy_wh = quoted.contracted_wh or order.contracted_wh
        prices = quoted.price_micro_per_kwh or order.price_micro_per_kwh
        if not prices.is_aligned(energy_wh):
            prices = Series.flat(energy_wh, prices.values[0])
        updated = replace(
            advance(order, event, now=now),
            quote=quoted.quote,
            contracted_wh=energy_wh,
            price_micro_per_kwh=prices,
            awaiting_until=None,
            refusal_code="",
            refusal="",
            **quoted.details,
        )
        lines = settlement.quote_lines(updated, updated.contracted_wh)
        fault = _miscounted(updated, quoted.quote, lines)
        if not fault:
            return _quoted_at(updated, quoted.quote, lines)
    if not buyer.can_refuse(order):
        return None
    return buyer.refuse(order, code="QUOTE_UNFIT", sentence=fault, reserved_milli=0, now=now)


def _quoted_at(order: Order, quote: Quote, lines: tuple[QuoteLine, ...]) -> Step:
    """The order at its quote. A seller that rounds to minor units is taken at the exact figure, and that is told."""
    exact = replace(quote, lines=lines)
    if quote.total_milli == exact.total_milli:
        return stepped(order, total_milli=quote.total_milli)
    told = {"total_milli": exact.total_milli, "seller_total_milli": quote.total_milli}
    return stepped(replace(order, quote=exact), **told)


def _miscounted(order: Order, quote: Quote, lines: tuple[QuoteLine, ...]) -> str:
    """Why the quote is not what its own energy, prices and charges come to under the policy; empty when it is.

    What is settled later is computed from these, so a quote that differs would be a dispute waiting to happen. A quote
    of one line says nothing of kinds, and only its total counts.
    """
    theirs, ours = pricing.by_kind(quote.lines), pricing.by_kind(lines)
    foreign = [kind for kind in theirs if kind not in ours and kind is not LineKind.ENERGY]
    if foreign:
        named = ", ".join(f"{kind} of {amount_from_milli(theirs[kind], quote.currency)}" for kind in foreign)
        return f"The seller's quote charges {named} {quote.currency}, which {order.policy.id} knows no rate for."
    is_split = len(quote.lines) > 1
    if pricing.is_total_of(quote.total_milli, lines) and (not is_split or pricing.agree(quote.lines, lines)):
        return ""
    expected_milli = sum(line.amount_milli for line in lines)
    said, expected = (amount_from_milli(milli, quote.currency) for milli in (quote.total_milli, expected_milli))
    if said == expected:
        return f"The seller's quote splits its {said} {quote.currency} otherwise than {order.policy.id} does."
    return (
        f"The seller's quote comes to {said} {quote.currency}, but its own energy, prices and charges come to"
        f" {expected}."
    )


def _fault_of(order: Order, quoted: Quoted) -> str:
    """Why this quote is not one for what was asked; empty when it is."""
    if quoted.quote.currency != order.currency:
        return f"The seller quoted in {quoted.quote.currency} what it offered in {order.currency}."
    if quoted.quote.total_milli < 0:
        return "The seller's quote is negative."
    if quoted.policy_id != order.policy.id or quoted.policy_digest not in ("", policy.digest(order.policy)):
        return f"The seller quoted under {quoted.policy_id or PLAIN.id} what it offered under {order.policy.id}."
    return _too_much(order, quoted.contracted_wh)


def _too_much(order: Order, energy_wh: Series | None) -> str:
    """That more was quoted than was asked for; empty when it was not."""
    if energy_wh is None:
        return ""
    if energy_wh.total > order.contracted_wh.total:
        return f"The seller quoted {energy_wh.total} Wh where {order.contracted_wh.total} Wh were asked for."
    if energy_wh.is_aligned(order.contracted_wh) and any(
        got > asked for got, asked in zip(energy_wh.values, order.contracted_wh.values, strict=True)
    ):
        return "The seller quoted more in some slot than was asked for."
    return ""
