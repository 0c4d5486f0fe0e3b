"""An order as a JSON document and back, exactly: nothing is lost, rounded or guessed on the way.

Instants are ISO 8601 text with microseconds, everything else is text and whole numbers. A field that a document does
not have (it was written by an earlier release) takes the default that `Order` gives it.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from trade.money import Series
from trade.order import Customer, Dispute, Order, OrderState, Side
from trade.policy import PLAIN, AllocationRule, PenaltyRule, Policy, Rounding, SettlementRule
from trade.quote import CancellationTerm, Flow, LineKind, Party, Quote, QuoteLine, SettlementResult

#: Fields that are text on both sides.
_TEXTS = (
    "order_id",
    "transaction_id",
    "counterparty_id",
    "provider_id",
    "offer_id",
    "currency",
    "wire_order_id",
    "meter_id",
    "account_id",
    "provider_name",
    "source",
    "fulfillment_id",
    "fulfillment_type",
    "payment_id",
    "tracking_token",
    "cancelled_by",
    "cancellation_reason_id",
    "refusal_code",
    "refusal",
    "awaiting_message_id",
    "buyer_meter_id",
    "utility_id",
    "utility_transaction_id",
)
#: Series that an order may not have yet.
_GROWING = ("available_wh", "curtailed_wh", "buyer_alloc_wh", "seller_alloc_wh", "final_wh")
#: Every order carries its policy whole, and a node knows few: they are taken apart and made once.
POLICIES_REMEMBERED = 256
_POLICY_FIELDS = frozenset(field.name for field in fields(Policy))
_ENUMS = {"settlement": SettlementRule, "allocation": AllocationRule, "penalty": PenaltyRule, "rounding": Rounding}


def to_document(order: Order) -> dict[str, Any]:
    """The order as plain JSON values."""
    document: dict[str, Any] = {name: getattr(order, name) for name in _TEXTS}
    document |= {
        "side": order.side.value,
        "state": order.state.value,
        "contracted_wh": series_to_document(order.contracted_wh),
        "price_micro_per_kwh": series_to_document(order.price_micro_per_kwh),
        "wheeling_micro_per_kwh": order.wheeling_micro_per_kwh,
        "created_at": order.created_at.isoformat(),
        "updated_at": order.updated_at.isoformat(),
        "quote": _quote_to_document(order.quote) if order.quote else None,
        "customer": (
            {"name": order.customer.name, "email": order.customer.email, "phone": order.customer.phone}
            if order.customer
            else None
        ),
        "cancellation_terms": terms_to_document(order.cancellation_terms),
        "settlement": _settlement_to_document(order.settlement) if order.settlement else None,
        "awaiting_until": order.awaiting_until.isoformat() if order.awaiting_until else None,
        "ratings": [list(rating) for rating in order.ratings],
        "policy": policy_to_document(order.policy),
        "wheeling_seller_micro_per_kwh": order.wheeling_seller_micro_per_kwh,
        "alloc_round": order.alloc_round,
        "superseded": [_settlement_to_document(settlement) for settlement in order.superseded],
        "dispute": _dispute_to_document(order.dispute) if order.dispute else None,
        "utility_sides": [side.value for side in order.utility_sides],
    }
    for name in _GROWING:
        series = getattr(order, name)
        if series is not None:
            document[name] = series_to_document(series)
    return document


def from_document(document: dict[str, Any]) -> Order:
    """The order that `to_document` wrote."""
    quote, customer, settlement = document["quote"], document["customer"], document["settlement"]
    grown: dict[str, Any] = {name: series_from_document(document[name]) for name in _GROWING if name in document}
    awaiting_until = document["awaiting_until"]
    return Order(
        side=Side(document["side"]),
        state=OrderState(document["state"]),
        contracted_wh=series_from_document(document["contracted_wh"]),
        price_micro_per_kwh=series_from_document(document["price_micro_per_kwh"]),
        wheeling_micro_per_kwh=document["wheeling_micro_per_kwh"],
        created_at=datetime.fromisoformat(document["created_at"]),
        updated_at=datetime.fromisoformat(document["updated_at"]),
        quote=_quote_from_document(quote) if quote else None,
        customer=Customer(**customer) if customer else None,
        cancellation_terms=terms_from_document(document["cancellation_terms"]),
        settlement=_settlement_from_document(settlement) if settlement else None,
        awaiting_until=datetime.fromisoformat(awaiting_until) if awaiting_until else None,
        ratings=tuple((category, value) for category, value in document["ratings"]),
        policy=policy_from_document(document["policy"]) if "policy" in document else PLAIN,
        wheeling_seller_micro_per_kwh=document.get("wheeling_seller_micro_per_kwh", 0),
        alloc_round=document.get("alloc_round", 0),
        superseded=tuple(_settlement_from_document(entry) for entry in document.get("superseded", ())),
        dispute=_dispute_from_document(document["dispute"]) if document.get("dispute") else None,
        utility_sides=tuple(Side(side) for side in document.get("utility_sides", ())),
        **grown,
        **{name: document[name] for name in _TEXTS if name in document},
    )


def policy_to_document(policy: Policy) -> dict[str, Any]:
    """A policy as JSON values: every field by its own name, unless it has its default."""
    return dict(_policy_said(policy))


@lru_cache(maxsize=POLICIES_REMEMBERED)
def _policy_said(policy: Policy) -> tuple[tuple[str, Any], ...]:
    said = ((field.name, getattr(policy, field.name), field.default) for field in fields(policy))
    return tuple((name, value) for name, value, default in said if value != default)


def policy_from_document(document: dict[str, Any]) -> Policy:
    """The policy that `policy_to_document` wrote; a field that a document does not have takes its default."""
    return _policy_of(tuple((name, value) for name, value in document.items() if name in _POLICY_FIELDS))


@lru_cache(maxsize=POLICIES_REMEMBERED)
def _policy_of(document: tuple[tuple[str, Any], ...]) -> Policy:
    said: dict[str, Any] = dict(document)
    said |= {name: kind(said[name]) for name, kind in _ENUMS.items() if name in said}
    return Policy(**said)


def series_to_document(series: Series) -> dict[str, Any]:
    """A series as JSON values."""
    return {"start": series.start.isoformat(), "slot_s": series.slot_s, "values": list(series.values)}


def series_from_document(document: dict[str, Any]) -> Series:
    """The series that `series_to_document` wrote."""
    return Series(datetime.fromisoformat(document["start"]), document["slot_s"], tuple(document["values"]))


def terms_to_document(terms: tuple[CancellationTerm, ...]) -> list[dict[str, int]]:
    """Cancellation terms as JSON values."""
    return [{"notice_s_min": term.notice_s_min, "fee_percent": term.fee_percent} for term in terms]


def terms_from_document(documents: list[dict[str, int]]) -> tuple[CancellationTerm, ...]:
    """The terms that `terms_to_document` wrote."""
    return tuple(CancellationTerm(**document) for document in documents)


def _quote_to_document(quote: Quote) -> dict[str, Any]:
    return {
        "quote_id": quote.quote_id,
        "currency": quote.currency,
        "lines": _lines_to_document(quote.lines),
        "expires_at": quote.expires_at.isoformat(),
        "ttl_s": quote.ttl_s,
    }


def _quote_from_document(document: dict[str, Any]) -> Quote:
    return Quote(
        quote_id=document["quote_id"],
        currency=document["currency"],
        lines=_lines_from_document(document["lines"]),
        expires_at=datetime.fromisoformat(document["expires_at"]),
        ttl_s=document["ttl_s"],
    )


def _settlement_to_document(settlement: SettlementResult) -> dict[str, Any]:
    return {
        "delivered_wh": series_to_document(settlement.delivered_wh),
        "lines": _lines_to_document(settlement.lines),
        "settled_at": settlement.settled_at.isoformat(),
        "flows": [
            [flow.kind.value, flow.payer.value, flow.payee.value, flow.amount_milli] for flow in settlement.flows
        ],
        "version": settlement.version,
    }


def _settlement_from_document(document: dict[str, Any]) -> SettlementResult:
    return SettlementResult(
        delivered_wh=series_from_document(document["delivered_wh"]),
        lines=_lines_from_document(document["lines"]),
        settled_at=datetime.fromisoformat(document["settled_at"]),
        flows=tuple(
            Flow(LineKind(kind), Party(payer), Party(payee), amount)
            for kind, payer, payee, amount in document.get("flows", ())
        ),
        version=document.get("version", 1),
    )


def _dispute_to_document(dispute: Dispute) -> dict[str, Any]:
    return {
        "dispute_id": dispute.dispute_id,
        "opened_by": dispute.opened_by.value,
        "reason": dispute.reason,
        "opened_at": dispute.opened_at.isoformat(),
        "until": dispute.until.isoformat(),
        "buyer_total_milli": dispute.buyer_total_milli,
        "seller_total_milli": dispute.seller_total_milli,
        "resolution": dispute.resolution,
        "resolved_at": dispute.resolved_at.isoformat() if dispute.resolved_at else None,
    }


def _dispute_from_document(document: dict[str, Any]) -> Dispute:
    resolved_at = document["resolved_at"]
    return Dispute(
        **{
            **document,
            "opened_by": Side(document["opened_by"]),
            "opened_at": datetime.fromisoformat(document["opened_at"]),
            "until": datetime.fromisoformat(document["until"]),
            "resolved_at": datetime.fromisoformat(resolved_at) if resolved_at else None,
        }
    )


def _lines_to_document(lines: tuple[QuoteLine, ...]) -> list[dict[str, Any]]:
    return [
        {
            "kind": line.kind.value,
            "title": line.title,
            "amount_milli": line.amount_milli,
            "energy_wh": line.energy_wh,
            "price_micro_per_kwh": line.price_micro_per_kwh,
        }
        for line in lines
    ]


def _lines_from_document(documents: list[dict[str, Any]]) -> tuple[QuoteLine, ...]:
    return tuple(QuoteLine(**{**document, "kind": LineKind(document["kind"])}) for document in documents)
