"""What consumer apps send and get about orders. Money in thousandths of a minor unit, energy in Wh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from api import contracts
from api.contracts import ContractOut
from api.paging import Id, Page, Strict
from api.series import EnergySeriesIn
from bap.api_models import Email, Phone, RefusalOut, WireId
from trade.order import Order, OrderState

#: The kinds of event whose newest is shown with an order, and under which name.
SHOWN_EVENTS = {
    "order.tracked": "tracking",
    "order.supported": "support",
    "order.rated": "feedback_form",
    "order.cancelled": "cancellation",
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


class OrderOut(ContractOut):
    """An order as its app sees it."""

    account_id: str
    buyer_meter_id: str = Field(description="The account's meter when it was ordered; empty without one")
    seller_id: str
    refusal: RefusalOut | None
    #: True while the seller's answer to the last letter is awaited.
    awaiting_answer: bool
    tracking: dict[str, Any] | None = None
    support: dict[str, Any] | None = None
    feedback_form: dict[str, Any] | None = None
    cancellation: dict[str, Any] | None = Field(
        default=None,
        description="How it was cancelled: `by` whom, and `fee_milli`, the fee; one above the terms is disputed",
    )
    last_refusal: dict[str, Any] | None = Field(default=None, description="The last thing the seller declined")

    @classmethod
    def of(cls, order: Order, events: Sequence[tuple[str, dict[str, Any]]] = ()) -> OrderOut:
        """From the rules' order and the newest event of each kind that is shown, oldest first."""
        told = {SHOWN_EVENTS[kind]: data for kind, data in events}
        refusal = RefusalOut.model_construct(code=order.refusal_code, sentence=order.refusal)
        return cls.model_construct(
            **contracts.shown(order),
            account_id=order.account_id,
            buyer_meter_id=order.buyer_meter_id,
            seller_id=order.counterparty_id,
            refusal=refusal if order.refusal_code else None,
            awaiting_answer=order.awaiting_until is not None,
            tracking=told.get("tracking"),
            support=told.get("support"),
            feedback_form=told.get("feedback_form"),
            cancellation=told.get("cancellation"),
            last_refusal=told.get("last_refusal"),
        )


class OrderQuery(Page):
    """Query of the list of orders."""

    account_id: Id | None = None
    state: OrderState | None = None
    transaction_id: Id | None = None
