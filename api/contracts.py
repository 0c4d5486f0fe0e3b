"""How either node's JSON API shows an order: what a buyer's app and a provider see alike.

Money in thousandths of a minor unit, energy in Wh. Each shop adds what only its own side may see.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.series import EnergySeriesOut, InstantOut, PriceSeriesOut
from trade.order import Order, OrderState
from trade.quote import QuoteLine


class LineOut(BaseModel):
    """One line of a quote or settlement; what the buyer pays is positive."""

    kind: str
    title: str
    amount_milli: int
    energy_wh: int | None
    price_micro_per_kwh: int | None

    @classmethod
    def of(cls, line: QuoteLine) -> LineOut:
        """From the rules' line."""
        return cls.model_construct(
            kind=line.kind.value,
            title=line.title,
            amount_milli=line.amount_milli,
            energy_wh=line.energy_wh,
            price_micro_per_kwh=line.price_micro_per_kwh,
        )


class QuoteOut(BaseModel):
    """What the order costs the buyer; a quote that is not confirmed lapses at `expires_at` (wall clock)."""

    quote_id: str
    lines: list[LineOut]
    total_milli: int
    expires_at: InstantOut

    @classmethod
    def of(cls, order: Order) -> QuoteOut | None:
        """The order's quote, if it has one."""
        if order.quote is None:
            return None
        return cls.model_construct(
            quote_id=order.quote.quote_id,
            lines=[LineOut.of(line) for line in order.quote.lines],
            total_milli=order.quote.total_milli,
            expires_at=order.quote.expires_at,
        )


class SettlementOut(BaseModel):
    """What was delivered, and what was paid for it (trading clock)."""

    delivered: EnergySeriesOut
    lines: list[LineOut]
    total_milli: int
    settled_at: InstantOut

    @classmethod
    def of(cls, order: Order) -> SettlementOut | None:
        """The order's settlement, if it has one."""
        result = order.settlement
        if result is None:
            return None
        return cls.model_construct(
            delivered=EnergySeriesOut.of(result.delivered_wh),
            lines=[LineOut.of(line) for line in result.lines],
            total_milli=result.total_milli,
            settled_at=result.settled_at,
        )


class TermOut(BaseModel):
    """Cancelling at least `notice_s_min` before delivery costs `fee_percent` of the energy."""

    notice_s_min: int
    fee_percent: int


class RatingGiven(BaseModel):
    """A rating the buyer gave in this order's session."""

    category: str
    value: str


class ContractOut(BaseModel):
    """What both sides see of an order."""

    order_id: str
    wire_order_id: str = Field(description="The id both nodes know it by in letters; empty before confirm")
    state: OrderState
    transaction_id: str
    provider_id: str
    provider_name: str
    offer_id: str
    source: str
    contracted: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_micro_per_kwh: int
    currency: str
    quote: QuoteOut | None
    settlement: SettlementOut | None
    cancellation_terms: list[TermOut]
    cancelled_by: str
    ratings: list[RatingGiven]
    created_at: InstantOut
    updated_at: InstantOut


#: Fields of an order that are shown as they are.
_PLAIN = (
    "order_id",
    "wire_order_id",
    "state",
    "transaction_id",
    "provider_id",
    "provider_name",
    "offer_id",
    "source",
    "wheeling_micro_per_kwh",
    "currency",
    "cancelled_by",
    "created_at",
    "updated_at",
)


def shown(order: Order) -> dict[str, Any]:
    """The fields of ContractOut, from the rules' order."""
    return {
        **{name: getattr(order, name) for name in _PLAIN},
        "contracted": EnergySeriesOut.of(order.contracted_wh),
        "price": PriceSeriesOut.of(order.price_micro_per_kwh),
        "quote": QuoteOut.of(order),
        "settlement": SettlementOut.of(order),
        "cancellation_terms": [
            TermOut.model_construct(notice_s_min=term.notice_s_min, fee_percent=term.fee_percent)
            for term in order.cancellation_terms
        ],
        "ratings": [RatingGiven.model_construct(category=category, value=value) for category, value in order.ratings],
    }
