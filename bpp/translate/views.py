"""What a buyer's messages ask for, in the words of the trade."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trade.money import Money, Series
from trade.order import Customer


@dataclass(frozen=True, slots=True)
class PaymentView:
    """How a buyer means to pay; empty strings where it did not say. Spelt with hyphens, whatever was written."""

    payment_id: str
    collected_by: str
    type: str
    status: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What select, init and confirm ask for: one offer of one provider.

    `requested_wh` says how much in which slot; a stranger may only say `energy_wh` (the sum) and perhaps a window.
    `order_id` is the id a buyer proposes in confirm; `quote_total` what it believes it has to pay; `buyer_meter_id` the
    meter whose import is to count; `policy` and `policy_digest` the rules it means to agree to, when it names any.
    """

    provider_id: str
    offer_id: str
    energy_wh: int
    requested_wh: Series | None
    window_start: datetime | None
    window_end: datetime | None
    fulfillment_id: str
    customer: Customer | None
    order_id: str
    payment: PaymentView | None
    quote_total: Money | None
    buyer_meter_id: str = ""
    policy: str = ""
    policy_digest: str = ""

    @property
    def quote_total_milli(self) -> int | None:
        """The amount of `quote_total` in thousandths of a minor unit."""
        return None if self.quote_total is None else self.quote_total.amount_milli


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """A change of the contracted energy: per slot, or only the new sum."""

    order_id: str
    energy_wh: int
    requested_wh: Series | None


@dataclass(frozen=True, slots=True)
class AllocationNotice:
    """What the buyer's meter was allocated to an order, as energy injected; `round` of the settlement's rounds."""

    order_id: str
    allocated_wh: Series
    round: int


@dataclass(frozen=True, slots=True)
class DisputeNotice:
    """The buyer objects. `total` is what it says its node owes ours: a decimal in the order's currency, or empty."""

    order_id: str
    dispute_id: str
    reason: str
    total: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ResolutionNotice:
    """The buyer's side decided a dispute at `total` (a decimal in the order's currency, or empty)."""

    order_id: str
    dispute_id: str
    outcome: str
    total: str
    note: str


#: What an update may bring.
UpdateNotice = UpdateRequest | AllocationNotice | DisputeNotice | ResolutionNotice


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Which order is to be cancelled and why."""

    order_id: str
    reason_id: str
    note: str


@dataclass(frozen=True, slots=True)
class RatingRequest:
    """One rating: `category` as core spells it, `subject_id` the order or provider, `value` 0 to 5."""

    category: str
    subject_id: str
    value: str


@dataclass(frozen=True, slots=True)
class SupportRequest:
    """What a buyer needs help with and how to reach it."""

    ref_id: str
    phone: str
    email: str
