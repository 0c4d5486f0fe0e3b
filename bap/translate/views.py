"""What a seller's callbacks say, in the words of the trade."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from energy_catalog.offers import OfferView
from schemas.values import WireRefusal
from trade.money import Series
from trade.quote import (
    CancellationTerm,
    LineKind,
    Quote,
    QuoteLine,
)


@dataclass(frozen=True, slots=True)
class CatalogView:
    """The offers of an on_search that can be read, and why the others cannot: one bad item does not spoil a catalog."""

    offers: list[OfferView]
    problems: list[WireRefusal]


@dataclass(frozen=True, slots=True)
class QuoteView:
    """What an on_select or on_init says an order would cost.

    `contracted_wh` is what the seller quoted for, in which slots; `price_micro_per_kwh` covers the same slots.
    """

    quote: Quote
    contracted_wh: Series
    price_micro_per_kwh: Series
    wheeling_micro_per_kwh: int
    provider_name: str
    cancellation_terms: tuple[CancellationTerm, ...]
    payment_id: str
    fulfillment_id: str
    fulfillment_type: str
    #: The policy it would be settled by, as the seller names it; empty where it names none.
    policy: str = ""
    policy_digest: str = ""
    wheeling_seller_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True)
class AllocationView:
    """A side's allocation of an order, or what the seller makes of both, after a round; Wh injected."""

    energy_wh: Series
    round_: int
    #: True where a utility has replaced that side's own figure.
    is_utilitys: bool = False


@dataclass(frozen=True, slots=True)
class DisputeView:
    """An objection as the seller tells it; `total_milli` is what it holds due, None where it does not say."""

    dispute_id: str
    is_open: bool
    reason: str
    total_milli: int | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ResolutionView:
    """How an objection ended, who decided (BUYER or SELLER), and what is due by the seller's books."""

    dispute_id: str
    outcome: str
    by: str
    total_milli: int | None
    note: str


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """What a seller's letter says of how an order went; None where it says nothing."""

    buyer_alloc: AllocationView | None = None
    seller_alloc: AllocationView | None = None
    final: AllocationView | None = None
    dispute: DisputeView | None = None
    resolution: ResolutionView | None = None


@dataclass(frozen=True, slots=True)
class SettlementView:
    """What a seller says an order costs in the end."""

    lines: tuple[QuoteLine, ...]
    settled_at: datetime

    @property
    def total_milli(self) -> int:
        """Sum of the lines."""
        return sum(line.amount_milli for line in self.lines)


@dataclass(frozen=True, slots=True)
class OrderView:
    """What on_confirm, on_status, on_update or on_cancel says about an order; None where it says nothing.

    `status` is ACTIVE, COMPLETE, CANCELLED, or empty for an order that is only held. `detail_state` is the seller's
    own state of it (a `trade.order.OrderState`), for sellers that tell.
    """

    wire_order_id: str
    status: str
    state_code: str
    detail_state: str
    currency: str
    lines: tuple[QuoteLine, ...] | None
    contracted_wh: Series | None
    metered_wh: Series | None
    settlement: SettlementView | None
    cancelled_by: str
    cancellation_reason_id: str
    cancellation_note: str
    payment_status: str
    has_tracking: bool
    outcome: OutcomeView = OutcomeView()

    @property
    def total_milli(self) -> int | None:
        """What the seller says the order costs, in thousandths of a minor unit of `currency`."""
        return None if self.lines is None else sum(line.amount_milli for line in self.lines)

    @property
    def fee_milli(self) -> int:
        """The cancellation fee among the lines; 0 when there is none."""
        return sum(line.amount_milli for line in self.lines or () if line.kind is LineKind.CANCELLATION_FEE)


@dataclass(frozen=True, slots=True)
class TrackingView:
    """Where a delivery can be watched; `status` is active or inactive."""

    url: str
    status: str


@dataclass(frozen=True, slots=True)
class SupportView:
    """How to reach whoever helps; empty where not said."""

    phone: str
    email: str
    url: str


@dataclass(frozen=True, slots=True)
class ReasonView:
    """A reason for cancelling that the seller knows."""

    reason_id: str
    name: str


@dataclass(frozen=True, slots=True)
class FormView:
    """A feedback form."""

    url: str
    is_required: bool
