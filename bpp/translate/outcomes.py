"""What became of an order, in tag groups: allocations, settlement, dispute."""

from __future__ import annotations

from typing import Any

from schemas import outcome_tags, tags, values
from trade import disputes
from trade.money import Series, currency_exponent
from trade.order import Dispute, Order, OrderState, Side

#: Whether an objection waits for its end.
OPEN, RESOLVED = "OPEN", "RESOLVED"


def groups(order: Order) -> list[dict[str, Any]]:
    """The tag groups of an order that tell how it goes and went; none before it is delivered.

    METER_READINGS is what the seller's meter delivered to the order. Under a two-sided policy BUYER_ALLOC repeats what
    was heard of the buyer, and SELLER_ALLOC and FINAL_ALLOC follow once a round is closed.
    """
    found = []
    if order.buyer_meter_id:
        found.append(tags.buyer_meter_to_wire(order.buyer_meter_id))
    settled = order.settlement
    metered = order.seller_alloc_wh or (settled.delivered_wh if settled else None)
    if metered is not None:
        found.append(tags.series_to_wire(tags.METER_READINGS, metered.start, metered.slot_s, metered.values))
    if order.policy.is_two_sided:
        found += _allocations(order)
    if settled is not None:
        outcome = outcome_tags.SettlementTag(
            settled.settled_at,
            _amount(settled.total_milli, order.currency),
            settled.version,
            order.policy.settlement.value,
            _state(order),
        )
        found.append(outcome_tags.settlement_to_wire(outcome))
    if order.dispute is not None:
        found += _dispute(order, order.dispute)
    return found


def _allocations(order: Order) -> list[dict[str, Any]]:
    closed = order.seller_alloc_wh is not None
    said: list[tuple[str, Series | None, Side | None]] = [(tags.BUYER_ALLOC, order.buyer_alloc_wh, Side.BUYER)]
    if closed:
        final = order.settlement.delivered_wh if order.settlement else order.final_wh
        said += [(tags.SELLER_ALLOC, order.seller_alloc_wh, Side.SELLER), (tags.FINAL_ALLOC, final, None)]
    round_ = max(1, order.alloc_round) if closed else order.alloc_round + 1
    return [
        tags.allocation_to_wire(
            code,
            tags.AllocationTag(
                series.start, series.slot_s, series.values, round_, "UTILITY" if side in order.utility_sides else ""
            ),
        )
        for code, series, side in said
        if series is not None
    ]


def _state(order: Order) -> str:
    """What may still be expected of the settlement."""
    assert order.settlement is not None  # noqa: S101 - asked of settled orders only
    if order.state is OrderState.DISPUTED:
        return "DISPUTED"
    if order.dispute is not None:
        return RESOLVED
    return "CORRECTED" if order.settlement.version > 1 else "SETTLED"


def _dispute(order: Order, dispute: Dispute) -> list[dict[str, Any]]:
    """The objection, and its end when it has one; the figure is what the buyer's node owes ours by our books."""
    is_open = dispute.resolved_at is None
    due_milli = disputes.due_milli(order.settlement) if order.settlement else dispute.seller_total_milli
    total = "" if due_milli is None else _amount(due_milli, order.currency)
    said = outcome_tags.DisputeTag(
        dispute.dispute_id,
        OPEN if is_open else RESOLVED,
        dispute.opened_by.value,
        dispute.reason,
        total,
        dispute.opened_at,
        dispute.until,
    )
    if is_open:
        return [outcome_tags.dispute_to_wire(said)]
    end = outcome_tags.ResolutionTag(dispute.dispute_id, dispute.resolution, "", total)
    return [outcome_tags.dispute_to_wire(said), outcome_tags.resolution_to_wire(end)]


def _amount(amount_milli: int, currency: str) -> str:
    return values.amount_to_wire(amount_milli, exponent=currency_exponent(currency))
