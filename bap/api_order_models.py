"""What consumer apps send and get about orders. Money in minor units, energy in Wh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from api.paging import Id, Page, Strict
from api.series import EnergySeriesIn, EnergySeriesOut, InstantOut, PriceSeriesOut
from bap.api_models import Email, Phone, RefusalOut, WireId
from trade.order import Order, OrderState, QuoteLine

#: The kinds of event whose newest is shown with an order, and under which name.
SHOWN_EVENTS = {
    "order.tracked": "tracking",
    "order.supported": "support",
    "order.rated": "feedback_form",
    "order.settlement_disputed": "dispute",
    "order.cancellation_disputed": "dispute",
    "order.cancel_refused": "last_refusal",
    "order.update_refused": "last_refusal",
    "order.answer_refused": "last_refusal",
}


class OrderIn(Strict):
    """An order to be: which offer of which search, and how much, as a series or as Wh in all."""

    account_id: Id
    transaction_id: Id
    seller_id: WireId
    provider_id: WireId
    offer_id: WireId
    energy: EnergySeriesIn | None = None
    energy_wh: int | None = Field(default=None, ge=1, le=10**12)

    @model_validator(mode="after")
    def _one_of_both(self) -> OrderIn:
        if (self.energy is None) == (self.energy_wh is None):
            raise ValueError("send either 'energy', a series, or 'energy_wh', a sum, and not both")
        return self


class NothingIn(Strict):
    """An empty body."""


class UpdateIn(Strict):
    """The series wanted from now on, over the contract's slots."""

    energy: EnergySeriesIn


class CancelIn(Strict):
    """Why, in the seller's own list of reasons."""

    reason_id: str = Field(min_length=1, max_length=100)
    note: str = Field(default="", max_length=500)


class RatingIn(Strict):
    """What the consumer thought, from 0 to 5."""

    category: Literal["Order", "Provider", "Item", "Fulfillment", "Agent", "Support"]
    value: str = Field(pattern=r"^([0-4](\.\d)?|5(\.0)?)$")


class SupportIn(Strict):
    """How the seller's support can reach the consumer; left out, the account's own."""

    phone: Phone | None = None
    email: Email | None = None


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
    """What the seller asks for the order, and until when it stands."""

    quote_id: str
    lines: list[LineOut]
    total_minor: int
    expires_at: InstantOut


class SettlementOut(BaseModel):
    """What was delivered and paid."""

    delivered: EnergySeriesOut
    lines: list[LineOut]
    total_minor: int
    settled_at: InstantOut


class TermOut(BaseModel):
    """Cancelling at least `notice_s_min` before delivery costs `fee_percent` of the energy."""

    notice_s_min: int
    fee_percent: int


class RatingOut(BaseModel):
    """A rating this order was given."""

    category: str
    value: str


class OrderOut(BaseModel):
    """An order as its app sees it."""

    order_id: str
    account_id: str
    state: OrderState
    transaction_id: str
    seller_id: str
    provider_id: str
    provider_name: str
    offer_id: str
    wire_order_id: str
    source: str
    contracted: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_micro_per_kwh: int
    currency: str
    quote: QuoteOut | None
    settlement: SettlementOut | None
    cancellation_terms: list[TermOut]
    cancelled_by: str
    refusal: RefusalOut | None
    #: True while the seller's answer to the last letter is awaited.
    awaiting_answer: bool
    tracking: dict[str, Any] | None = None
    support: dict[str, Any] | None = None
    feedback_form: dict[str, Any] | None = None
    dispute: dict[str, Any] | None = Field(default=None, description="Why escrow is still held, if it is disputed")
    last_refusal: dict[str, Any] | None = Field(default=None, description="The last thing the seller declined")
    ratings: list[RatingOut]
    created_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, order: Order, events: Sequence[tuple[str, dict[str, Any]]] = ()) -> OrderOut:
        """From the rules' order and the newest event of each kind that is shown, oldest first."""
        told = {SHOWN_EVENTS[kind]: data for kind, data in events}
        return cls.model_construct(
            order_id=order.order_id,
            account_id=order.account_id,
            state=order.state,
            transaction_id=order.transaction_id,
            seller_id=order.counterparty_id,
            provider_id=order.provider_id,
            provider_name=order.provider_name,
            offer_id=order.offer_id,
            wire_order_id=order.wire_order_id,
            source=order.source,
            contracted=EnergySeriesOut.of(order.contracted_wh),
            price=PriceSeriesOut.of(order.price_micro_per_kwh),
            wheeling_micro_per_kwh=order.wheeling_micro_per_kwh,
            currency=order.currency,
            quote=_quote(order),
            settlement=_settlement(order),
            cancellation_terms=[
                TermOut.model_construct(notice_s_min=term.notice_s_min, fee_percent=term.fee_percent)
                for term in order.cancellation_terms
            ],
            cancelled_by=order.cancelled_by,
            refusal=RefusalOut.model_construct(code=order.refusal_code, sentence=order.refusal)
            if order.refusal_code
            else None,
            awaiting_answer=order.awaiting_until is not None,
            ratings=[RatingOut.model_construct(category=category, value=value) for category, value in order.ratings],
            created_at=order.created_at,
            updated_at=order.updated_at,
            tracking=told.get("tracking"),
            support=told.get("support"),
            feedback_form=told.get("feedback_form"),
            dispute=None if order.settlement else told.get("dispute"),
            last_refusal=told.get("last_refusal"),
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
    result = order.settlement
    if result is None:
        return None
    return SettlementOut.model_construct(
        delivered=EnergySeriesOut.of(result.delivered_wh),
        lines=[LineOut.of(line) for line in result.lines],
        total_minor=result.total_minor,
        settled_at=result.settled_at,
    )


class OrderQuery(Page):
    """Query of the list of orders."""

    account_id: Id | None = None
    state: OrderState | None = None
    transaction_id: Id | None = None
