"""When, on the trading clock, something about a contract is due at the latest; all of it follows from its policy.

Nothing waits for ever: a silent side's allocation counts as zero once it is due, corrections and objections end, an
open dispute lapses, and so every escrow has an instant at which it is emptied.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trade.order import Order, OrderState, Side

#: States in which money may be reserved for an order that is not settled.
LIVE = frozenset(
    {
        OrderState.CONFIRMING,
        OrderState.UNANSWERED,
        OrderState.COMMITTING,
        OrderState.ACTIVE,
        OrderState.DELIVERING,
        OrderState.CANCELLING,
    }
)


def allocation_due(order: Order, round_: int = 1) -> datetime:
    """When both sides' allocations of a round are due: the end of delivery and as many terms as rounds."""
    return order.delivery_end + timedelta(seconds=round_ * order.policy.allocation_due_s)


def settle_by(order: Order) -> datetime:
    """When an order is settled at the latest, whoever is silent.

    Two-sided: when the last round's allocations are due. One-sided: when corrections end, for its seller never promised
    to meter sooner.
    """
    if order.policy.is_two_sided:
        return allocation_due(order, order.policy.rounds)
    return corrections_until(order)


def corrections_until(order: Order) -> datetime:
    """Until when corrected readings move money and a person may object."""
    return order.delivery_end + timedelta(seconds=order.policy.correction_s)


def dispute_until(order: Order, opened_at: datetime) -> datetime:
    """When a dispute opened now lapses."""
    return opened_at + timedelta(seconds=order.policy.dispute_s)


def ratings_until(order: Order) -> datetime:
    """Until when the order may be rated, and its rating changed: counted from its settlement, or its delivery's end."""
    settled_at = order.settlement.settled_at if order.settlement else order.delivery_end
    return max(settled_at, order.delivery_end) + timedelta(seconds=order.policy.rating_s)


def next_due(order: Order) -> datetime | None:
    """When somebody has to act on the order at the latest; None when nothing about it is open.

    A seller closes every round of allocations when it is due; a buyer waits for the last.
    """
    if order.state is OrderState.DISPUTED:
        return order.dispute_until
    if order.state not in LIVE:
        return None
    if order.side is Side.SELLER and order.policy.is_two_sided:
        return allocation_due(order, min(order.alloc_round + 1, order.policy.rounds))
    return settle_by(order)
