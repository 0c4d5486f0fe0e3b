"""An order and its life.

The same `Order` is kept by buyer and seller; `side` says whose copy it is. Its life is the table at the end of this
module, checked when the module is imported: one start, every state reachable, every live state has an exit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from trade.money import Series


class Side(StrEnum):
    """Whose copy of the order this is."""

    BUYER = "BUYER"
    SELLER = "SELLER"


class LineKind(StrEnum):
    """What a line of a quote or a settlement is for."""

    ENERGY = "ENERGY"
    WHEELING = "WHEELING"
    CANCELLATION_FEE = "CANCELLATION_FEE"


class OrderState(StrEnum):
    """Where an order is in its life. Seller's copies begin at INITIALISED, buyer's at SELECTING."""

    SELECTING = "SELECTING"  # buyer: select sent, no quote yet
    QUOTED = "QUOTED"  # buyer: on_select brought a quote
    INITIALISING = "INITIALISING"  # buyer: init sent
    INITIALISED = "INITIALISED"  # both: the seller holds the energy until the quote expires
    CONFIRMING = "CONFIRMING"  # buyer: confirm sent, money reserved
    UNANSWERED = "UNANSWERED"  # buyer: confirm unanswered; outcome unknown, chased with status
    ACTIVE = "ACTIVE"  # both: contracted
    DELIVERING = "DELIVERING"  # both: the first contracted slot has begun
    CANCELLING = "CANCELLING"  # buyer: cancel sent
    COMPLETED = "COMPLETED"  # both: metered and settled
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"  # the quote ran out before confirm
    REFUSED = "REFUSED"  # buyer: the seller refused select, init or confirm


class OrderEvent(StrEnum):
    """What can happen to an order."""

    SELECT_SENT = "SELECT_SENT"
    QUOTE_RECEIVED = "QUOTE_RECEIVED"
    INIT_SENT = "INIT_SENT"
    HELD = "HELD"  # seller held the energy / buyer received on_init
    CONFIRM_SENT = "CONFIRM_SENT"
    NO_ANSWER = "NO_ANSWER"
    CONFIRMED = "CONFIRMED"
    DELIVERY_STARTED = "DELIVERY_STARTED"
    UPDATED = "UPDATED"
    CURTAILED = "CURTAILED"
    CANCEL_SENT = "CANCEL_SENT"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CANCELLED = "CANCELLED"
    SETTLED = "SETTLED"
    QUOTE_EXPIRED = "QUOTE_EXPIRED"
    SELLER_REFUSED = "SELLER_REFUSED"


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """One line of a quote or settlement; a fee that the buyer pays is positive."""

    kind: LineKind
    title: str
    amount_minor: int
    energy_wh: int | None = None
    price_micro_per_kwh: int | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order will cost the buyer, and until when the offer stands (wall clock)."""

    quote_id: str
    currency: str
    lines: tuple[QuoteLine, ...]
    expires_at: datetime
    ttl_s: int

    @property
    def total_minor(self) -> int:
        """Sum of the lines: what the buyer pays."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class CancellationTerm:
    """Cancelling at least `notice_s_min` before delivery (trading clock) costs `fee_percent` of the energy lines."""

    notice_s_min: int
    fee_percent: int


@dataclass(frozen=True, slots=True)
class Customer:
    """Who is billed, as the buyer's node gives it."""

    name: str
    email: str
    phone: str


@dataclass(frozen=True, slots=True)
class SettlementResult:
    """What was settled: energy per slot, the lines at settled energy, when (trading clock)."""

    delivered_wh: Series
    lines: tuple[QuoteLine, ...]
    settled_at: datetime

    @property
    def total_minor(self) -> int:
        """What the buyer pays in the end."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Order:
    """One contract between a buyer and a provider's meter over a series of delivery slots.

    `order_id` is ours (uuid). `wire_order_id` is the id on the wire: the buyer proposes its own id in `confirm`, the
    seller may answer with another. `counterparty_id` is the other node's subscriber id. `contracted_wh` is what was
    asked for until ACTIVE and what is owed from then on; `metered_wh` is the part of the meter's delivery allocated
    to this order. Prices never change after the quote.
    """

    order_id: str
    side: Side
    state: OrderState
    transaction_id: str
    counterparty_id: str
    provider_id: str
    offer_id: str
    contracted_wh: Series
    price_micro_per_kwh: Series
    currency: str
    created_at: datetime
    updated_at: datetime
    wire_order_id: str = ""
    meter_id: str = ""
    account_id: str = ""
    provider_name: str = ""
    source: str = "SOLAR"
    fulfillment_id: str = "1"
    fulfillment_type: str = "GRID_INJECTION"
    wheeling_micro_per_kwh: int = 0
    quote: Quote | None = None
    customer: Customer | None = None
    cancellation_terms: tuple[CancellationTerm, ...] = ()
    payment_id: str = ""
    tracking_token: str = ""
    settlement: SettlementResult | None = None
    cancelled_by: str = ""
    cancellation_reason_id: str = ""
    refusal_code: str = ""
    refusal: str = ""
    #: Message id of the last letter that waits for an answer, and when to stop waiting (wall clock).
    awaiting_message_id: str = ""
    awaiting_until: datetime | None = None
    ratings: tuple[tuple[str, str], ...] = field(default=())

    @property
    def delivery_start(self) -> datetime:
        """Start of the first contracted slot."""
        return self.contracted_wh.start

    @property
    def delivery_end(self) -> datetime:
        """End of the last contracted slot (exclusive)."""
        return self.contracted_wh.end


class UnableToAdvance(Exception):
    """The order's state does not allow what was asked."""

    def __init__(self, order: Order, event: OrderEvent) -> None:
        super().__init__(f"order {order.order_id} is {order.state} and cannot take {event}")
        self.order, self.event = order, event


#: (from, event) -> to. A buyer's and a seller's copy share the table; each side uses its own events.
TRANSITIONS: dict[tuple[OrderState, OrderEvent], OrderState] = {}


def advance(order: Order, event: OrderEvent, *, now: datetime) -> Order:
    """The order after `event`; raises UnableToAdvance when the table has no such step."""
    to = TRANSITIONS.get((order.state, event))
    if to is None:
        raise UnableToAdvance(order, event)
    return replace(order, state=to, updated_at=now)
