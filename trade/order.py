"""An order and its life.

The same `Order` is kept by buyer and seller; `side` says whose copy it is. Its life is the table at the end of this
module, checked when the module is imported: one start for each side, every state reachable, every live state has an
exit and a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from trade.money import Series
from trade.policy import PLAIN, Policy
from trade.quote import CancellationTerm, Quote, SettlementResult


class Side(StrEnum):
    """Whose copy of the order this is."""

    BUYER = "BUYER"
    SELLER = "SELLER"


class OrderState(StrEnum):
    """Where an order is in its life. Seller's copies begin at INITIALISED, buyer's at SELECTING."""

    SELECTING = "SELECTING"  # buyer: select sent, no quote yet
    QUOTED = "QUOTED"  # buyer: on_select brought a quote
    INITIALISING = "INITIALISING"  # buyer: init sent
    CLEARING = "CLEARING"  # seller: energy held, its utility asked for grid charges and limit
    INITIALISED = "INITIALISED"  # both: the seller holds the energy until the quote expires
    CONFIRMING = "CONFIRMING"  # buyer: confirm sent, money reserved
    UNANSWERED = "UNANSWERED"  # buyer: confirm unanswered; outcome unknown, chased with status
    COMMITTING = "COMMITTING"  # seller: confirm received, its utility asked to log the trade
    ACTIVE = "ACTIVE"  # both: contracted
    DELIVERING = "DELIVERING"  # both: the first contracted slot has begun
    CANCELLING = "CANCELLING"  # buyer: cancel sent
    DISPUTED = "DISPUTED"  # both: the sides' figures differ, or a person objects; the money waits
    COMPLETED = "COMPLETED"  # both: metered and settled; a correction settles it again
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
    CONFIRM_RECEIVED = "CONFIRM_RECEIVED"
    NO_ANSWER = "NO_ANSWER"
    CONFIRMED = "CONFIRMED"
    DELIVERY_STARTED = "DELIVERY_STARTED"
    UPDATED = "UPDATED"
    CURTAILED = "CURTAILED"
    CANCEL_SENT = "CANCEL_SENT"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CANCELLED = "CANCELLED"
    SETTLED = "SETTLED"
    RESETTLED = "RESETTLED"
    DISPUTED = "DISPUTED"
    RESOLVED = "RESOLVED"
    UTILITY_ASKED = "UTILITY_ASKED"
    UTILITY_REFUSED = "UTILITY_REFUSED"
    QUOTE_EXPIRED = "QUOTE_EXPIRED"
    SELLER_REFUSED = "SELLER_REFUSED"


@dataclass(frozen=True, slots=True)
class Customer:
    """Who is billed, as the buyer's node gives it."""

    name: str
    email: str
    phone: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """Why the sides do not agree, and how it ended. Totals are what each side says the buyer owes."""

    dispute_id: str
    opened_by: Side
    reason: str
    opened_at: datetime
    #: When the lesser figure holds if nobody decides (trading clock).
    until: datetime
    buyer_total_milli: int | None = None
    seller_total_milli: int | None = None
    resolution: str = ""
    resolved_at: datetime | None = None


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
    #: The rules it is settled by, whole, as they were when it was made.
    policy: Policy = PLAIN
    wheeling_seller_micro_per_kwh: int = 0
    buyer_meter_id: str = ""
    #: The contract's series grows with its life: free at init, taken back by curtailment, and what each side's meter
    #: was allocated, in the energy injected by the seller; `settlement.delivered_wh` is what both agree on.
    available_wh: Series | None = None
    curtailed_wh: Series | None = None
    buyer_alloc_wh: Series | None = None
    seller_alloc_wh: Series | None = None
    #: The last round of allocations that is complete, and what the earlier rounds settled.
    alloc_round: int = 0
    final_wh: Series | None = None
    #: Settlements that a correction replaced, oldest first.
    superseded: tuple[SettlementResult, ...] = ()
    dispute: Dispute | None = None
    #: The seller's own session with its utility about this order; empty without one.
    utility_id: str = ""
    utility_transaction_id: str = ""
    #: Sides whose allocation the utility has replaced by its own figure: no reading and no word changes it any more.
    utility_sides: tuple[Side, ...] = ()

    @property
    def dispute_until(self) -> datetime | None:
        """When an open dispute ends by itself (trading clock)."""
        return self.dispute.until if self.dispute else None

    @property
    def quote_expires_at(self) -> datetime | None:
        """Until when the quote stands (wall clock); None without a quote."""
        return self.quote.expires_at if self.quote else None

    @property
    def delivery_start(self) -> datetime:
        """Start of the first slot that holds energy (of the series, when none does)."""
        return self.contracted_wh.span.start

    @property
    def delivery_end(self) -> datetime:
        """End of the last slot that holds energy (of the series, when none does); exclusive."""
        return self.contracted_wh.span.end


class UnableToAdvance(Exception):
    """The order's state does not allow what was asked."""

    def __init__(self, order: Order, event: OrderEvent) -> None:
        super().__init__(f"order {order.order_id} is {order.state} and cannot take {event}")
        self.order, self.event = order, event


_S, _E = OrderState, OrderEvent

#: (from, event) -> to. A buyer's and a seller's copy share the table; each side uses its own events.
TRANSITIONS: dict[tuple[OrderState, OrderEvent], OrderState] = {
    # A draft: no money, nothing held. Choosing again starts over.
    (_S.SELECTING, _E.SELECT_SENT): _S.SELECTING,
    (_S.SELECTING, _E.QUOTE_RECEIVED): _S.QUOTED,
    (_S.SELECTING, _E.SELLER_REFUSED): _S.REFUSED,
    (_S.SELECTING, _E.NO_ANSWER): _S.EXPIRED,
    (_S.QUOTED, _E.SELECT_SENT): _S.SELECTING,
    (_S.QUOTED, _E.QUOTE_RECEIVED): _S.QUOTED,
    (_S.QUOTED, _E.INIT_SENT): _S.INITIALISING,
    (_S.QUOTED, _E.QUOTE_EXPIRED): _S.EXPIRED,
    (_S.INITIALISING, _E.SELECT_SENT): _S.SELECTING,
    (_S.INITIALISING, _E.HELD): _S.INITIALISED,
    (_S.INITIALISING, _E.SELLER_REFUSED): _S.REFUSED,
    (_S.INITIALISING, _E.NO_ANSWER): _S.EXPIRED,
    (_S.INITIALISING, _E.QUOTE_EXPIRED): _S.EXPIRED,
    # Held: the seller keeps the energy until the quote expires. Its copy begins here.
    (_S.INITIALISED, _E.HELD): _S.INITIALISED,
    (_S.INITIALISED, _E.SELECT_SENT): _S.SELECTING,
    (_S.INITIALISED, _E.INIT_SENT): _S.INITIALISING,
    (_S.INITIALISED, _E.CONFIRM_SENT): _S.CONFIRMING,
    (_S.INITIALISED, _E.CONFIRMED): _S.ACTIVE,
    (_S.INITIALISED, _E.QUOTE_EXPIRED): _S.EXPIRED,
    # A seller that asks its utility first: at init for charges and limit, at confirm to log the trade.
    (_S.INITIALISED, _E.UTILITY_ASKED): _S.CLEARING,
    (_S.CLEARING, _E.HELD): _S.INITIALISED,
    (_S.CLEARING, _E.UTILITY_REFUSED): _S.EXPIRED,
    (_S.CLEARING, _E.NO_ANSWER): _S.EXPIRED,
    (_S.INITIALISED, _E.CONFIRM_RECEIVED): _S.COMMITTING,
    (_S.COMMITTING, _E.CONFIRMED): _S.ACTIVE,
    (_S.COMMITTING, _E.UTILITY_REFUSED): _S.EXPIRED,
    (_S.COMMITTING, _E.NO_ANSWER): _S.COMMITTING,
    # Confirm is out and money reserved: silence is not a no. Only a definite answer ends the chase.
    (_S.CONFIRMING, _E.CONFIRMED): _S.ACTIVE,
    (_S.CONFIRMING, _E.SELLER_REFUSED): _S.REFUSED,
    (_S.CONFIRMING, _E.NO_ANSWER): _S.UNANSWERED,
    (_S.UNANSWERED, _E.CONFIRMED): _S.ACTIVE,
    (_S.UNANSWERED, _E.SELLER_REFUSED): _S.REFUSED,
    (_S.UNANSWERED, _E.NO_ANSWER): _S.UNANSWERED,
    # A contract. A buyer may miss the notice that delivery began, so it can be settled from here.
    (_S.ACTIVE, _E.UPDATED): _S.ACTIVE,
    (_S.ACTIVE, _E.CURTAILED): _S.ACTIVE,
    (_S.ACTIVE, _E.DELIVERY_STARTED): _S.DELIVERING,
    (_S.ACTIVE, _E.CANCEL_SENT): _S.CANCELLING,
    (_S.ACTIVE, _E.CANCELLED): _S.CANCELLED,
    (_S.ACTIVE, _E.SETTLED): _S.COMPLETED,
    # Once delivery runs the buyer cannot cancel; a seller that gives up midway forgoes what flowed.
    (_S.DELIVERING, _E.UPDATED): _S.DELIVERING,
    (_S.DELIVERING, _E.CURTAILED): _S.DELIVERING,
    (_S.DELIVERING, _E.CANCELLED): _S.CANCELLED,
    (_S.DELIVERING, _E.SETTLED): _S.COMPLETED,
    # Cancel is out: letters that crossed it change nothing; a seller that never read it delivers and settles.
    (_S.CANCELLING, _E.CANCELLED): _S.CANCELLED,
    (_S.CANCELLING, _E.CANCEL_REFUSED): _S.ACTIVE,
    (_S.CANCELLING, _E.NO_ANSWER): _S.CANCELLING,
    (_S.CANCELLING, _E.UPDATED): _S.CANCELLING,
    (_S.CANCELLING, _E.CURTAILED): _S.CANCELLING,
    (_S.CANCELLING, _E.DELIVERY_STARTED): _S.CANCELLING,
    (_S.CANCELLING, _E.SETTLED): _S.COMPLETED,
    # Settled is not the end: a corrected reading settles again, and whoever objects within the time may say so.
    (_S.COMPLETED, _E.RESETTLED): _S.COMPLETED,
    (_S.ACTIVE, _E.DISPUTED): _S.DISPUTED,
    (_S.DELIVERING, _E.DISPUTED): _S.DISPUTED,
    (_S.CANCELLING, _E.DISPUTED): _S.DISPUTED,
    (_S.COMPLETED, _E.DISPUTED): _S.DISPUTED,
    (_S.CANCELLED, _E.DISPUTED): _S.DISPUTED,
    (_S.DISPUTED, _E.RESOLVED): _S.COMPLETED,
    (_S.DISPUTED, _E.CANCELLED): _S.CANCELLED,
}

#: Where each side's copy begins.
START_STATES: dict[Side, OrderState] = {Side.BUYER: _S.SELECTING, Side.SELLER: _S.INITIALISED}

_BUYERS_ALONE = {_E.SELECT_SENT, _E.QUOTE_RECEIVED, _E.INIT_SENT, _E.CONFIRM_SENT, _E.CANCEL_SENT, _E.CANCEL_REFUSED}
_SELLERS_ALONE = {_E.UTILITY_ASKED, _E.UTILITY_REFUSED, _E.CONFIRM_RECEIVED}

#: What can happen to each side's copy: a seller's knows not the drafts of the buyer, a buyer's not the utility.
EVENTS: dict[Side, frozenset[OrderEvent]] = {
    Side.BUYER: frozenset(OrderEvent) - _SELLERS_ALONE,
    Side.SELLER: frozenset(OrderEvent) - _BUYERS_ALONE - {_E.SELLER_REFUSED},
}

#: States in which nothing can happen any more.
TERMINAL_STATES = frozenset({_S.EXPIRED, _S.REFUSED})

#: States in which nothing needs to happen any more, though a correction or an objection still may.
RESTING_STATES = frozenset({_S.COMPLETED, _S.CANCELLED})

#: What every live state waits for at the longest: the name of an instant of the order. `quote_expires_at` and
#: `awaiting_until` are wall clock, `delivery_start` and `delivery_end` trading clock.
DEADLINES: dict[OrderState, str] = {
    _S.SELECTING: "awaiting_until",
    _S.QUOTED: "quote_expires_at",
    _S.INITIALISING: "awaiting_until",
    _S.INITIALISED: "quote_expires_at",
    _S.CONFIRMING: "awaiting_until",
    _S.UNANSWERED: "awaiting_until",
    _S.ACTIVE: "delivery_start",
    _S.DELIVERING: "delivery_end",
    _S.CANCELLING: "awaiting_until",
    _S.CLEARING: "awaiting_until",
    _S.COMMITTING: "awaiting_until",
    _S.DISPUTED: "dispute_until",
}

#: What happens when such an instant has passed (settling waits for the readings, too).
DEADLINE_EVENTS: dict[str, OrderEvent] = {
    "quote_expires_at": _E.QUOTE_EXPIRED,
    "awaiting_until": _E.NO_ANSWER,
    "delivery_start": _E.DELIVERY_STARTED,
    "delivery_end": _E.SETTLED,
    "dispute_until": _E.RESOLVED,
}


class LifeBroken(Exception):
    """The table of an order's life contradicts itself; every fault is named."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _reachable(
    start: OrderState,
    events: frozenset[OrderEvent],
    transitions: Mapping[tuple[OrderState, OrderEvent], OrderState],
) -> set[OrderState]:
    reached, frontier = {start}, [start]
    while frontier:
        state = frontier.pop()
        for (source, event), target in transitions.items():
            if source is state and event in events and target not in reached:
                reached.add(target)
                frontier.append(target)
    return reached


def check_life(
    transitions: Mapping[tuple[OrderState, OrderEvent], OrderState],
    *,
    starts: Mapping[Side, OrderState],
    events: Mapping[Side, frozenset[OrderEvent]],
    terminals: frozenset[OrderState],
    resting: frozenset[OrderState],
    deadlines: Mapping[OrderState, str],
) -> None:
    """Refuse a table in which an order could get lost; raises LifeBroken with every fault found.

    One start a side; every state and every event is used; no step leaves a terminal state; every live state has a
    deadline whose event the table knows; and from every state some terminal or resting state can be reached, on each
    side with that side's own events.
    """
    faults = [f"{side} has no start" for side in Side if side not in starts]
    faults += [f"{source} is terminal but takes {event}" for source, event in transitions if source in terminals]
    unused = set(OrderEvent) - {event for _, event in transitions}
    faults += [f"{event} leads nowhere" for event in sorted(unused)]
    seen: set[OrderState] = set()
    for side, start in starts.items():
        reached = _reachable(start, events[side], transitions)
        seen |= reached
        faults += [
            f"a {side} order cannot end from {state}"
            for state in sorted(reached)
            if not _reachable(state, events[side], transitions) & (terminals | resting)
        ]
    faults += [f"{state} cannot be reached" for state in OrderState if state not in seen]
    for state in sorted(set(OrderState) - terminals - resting):
        event = DEADLINE_EVENTS.get(deadlines.get(state, ""))
        if event is None:
            faults.append(f"{state} has no deadline")
        elif (state, event) not in transitions:
            faults.append(f"{state} has the deadline {deadlines[state]} but does not take {event}")
    if faults:
        raise LifeBroken(faults)


check_life(
    TRANSITIONS,
    starts=START_STATES,
    events=EVENTS,
    terminals=TERMINAL_STATES,
    resting=RESTING_STATES,
    deadlines=DEADLINES,
)


def can_advance(order: Order, event: OrderEvent) -> bool:
    """True when `advance` would not refuse."""
    return event in EVENTS[order.side] and (order.state, event) in TRANSITIONS


def advance(order: Order, event: OrderEvent, *, now: datetime) -> Order:
    """The order after `event`; raises UnableToAdvance when the table has no such step for this side's copy."""
    if not can_advance(order, event):
        raise UnableToAdvance(order, event)
    return replace(order, state=TRANSITIONS[order.state, event], updated_at=now)
