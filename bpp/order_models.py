"""How this node's JSON API shows an order. Money in minor units, energy in Wh."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.series import EnergySeriesOut, InstantOut, PriceSeriesOut
from trade.order import Order, OrderState, QuoteLine


class LineOut(BaseModel):
    """One line of a quote or settlement; what the buyer pays is positive."""

    kind: str
    title: str
    amount_minor: int
    energy_wh: int | None
    price_micro_per_kwh: int | None

    @classmethod
    def of(cls, line: QuoteLine) -> LineOut:
        """From the rules' line."""
        return cls.model_construct(
            kind=line.kind.value,
            title=line.title,
            amount_minor=line.amount_minor,
            energy_wh=line.energy_wh,
            price_micro_per_kwh=line.price_micro_per_kwh,
        )


class QuoteOut(BaseModel):
    """What the order costs the buyer; a quote that is not confirmed lapses at `expires_at` (wall clock)."""

    quote_id: str
    lines: list[LineOut]
    total_minor: int
    expires_at: InstantOut


class SettlementOut(BaseModel):
    """What was delivered, and what it earned (trading clock)."""

    delivered: EnergySeriesOut
    lines: list[LineOut]
    total_minor: int
    settled_at: InstantOut


class TermOut(BaseModel):
    """Cancelling at least `notice_s_min` before delivery costs `fee_percent` of the energy."""

    notice_s_min: int
    fee_percent: int


class RatingOut(BaseModel):
    """A rating that the buyer gave in this order's session."""

    category: str
    value: str


class OrderOut(BaseModel):
    """An order as its provider sees it. Who the customer is stays between the nodes."""

    order_id: str
    wire_order_id: str = Field(description="The id the buyer's node knows it by; empty before confirm")
    state: OrderState
    transaction_id: str
    buyer_id: str
    provider_id: str
    provider_name: str
    offer_id: str
    meter_id: str
    source: str
    contracted: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_micro_per_kwh: int
    currency: str
    quote: QuoteOut | None
    settlement: SettlementOut | None
    cancellation_terms: list[TermOut]
    cancelled_by: str
    cancellation_reason_id: str
    note: str = Field(description="Why the provider cancelled or curtailed it")
    ratings: list[RatingOut]
    created_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, order: Order) -> OrderOut:
        """From the rules' order."""
        return cls.model_construct(
            **{name: getattr(order, name) for name in _PLAIN},
            buyer_id=order.counterparty_id,
            contracted=EnergySeriesOut.of(order.contracted_wh),
            price=PriceSeriesOut.of(order.price_micro_per_kwh),
            quote=_quote(order),
            settlement=_settlement(order),
            cancellation_terms=[
                TermOut.model_construct(notice_s_min=term.notice_s_min, fee_percent=term.fee_percent)
                for term in order.cancellation_terms
            ],
            note=order.refusal,
            ratings=[RatingOut.model_construct(category=c, value=v) for c, v in order.ratings],
        )


_PLAIN = (
    "order_id",
    "wire_order_id",
    "state",
    "transaction_id",
    "provider_id",
    "provider_name",
    "offer_id",
    "meter_id",
    "source",
    "wheeling_micro_per_kwh",
    "currency",
    "cancelled_by",
    "cancellation_reason_id",
    "created_at",
    "updated_at",
)


def _quote(order: Order) -> QuoteOut | None:
    if order.quote is None:
        return None
    return QuoteOut.model_construct(
        quote_id=order.quote.quote_id,
        lines=[LineOut.of(line) for line in order.quote.lines],
        total_minor=order.quote.total_minor,
        expires_at=order.quote.expires_at,
    )


def _settlement(order: Order) -> SettlementOut | None:
    settlement = order.settlement
    if settlement is None:
        return None
    return SettlementOut.model_construct(
        delivered=EnergySeriesOut.of(settlement.delivered_wh),
        lines=[LineOut.of(line) for line in settlement.lines],
        total_minor=settlement.total_minor,
        settled_at=settlement.settled_at,
    )


class TrackOut(BaseModel):
    """How a delivery goes. Slots that are not measured yet are null."""

    order_id: str
    state: OrderState
    status: str = Field(description="active while more can come, else inactive")
    contracted: EnergySeriesOut
    delivered: DeliveredOut
    delivered_wh: int
    contracted_wh: int


class DeliveredOut(BaseModel):
    """Energy allocated to the order in each slot, Wh; null where the meter has not been read."""

    start: InstantOut
    slot_s: int
    energy_wh: list[int | None]


TrackOut.model_rebuild()
