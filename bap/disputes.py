"""Objections on the buyer's node: who may open one, how it is decided, and what holds when nobody decides. Pure.

A dispute opens when the seller's settlement differs from ours, when the seller says so, or when a person objects. Until
it is over nothing of what is open moves. Whoever decides gives in (`ACCEPT_THEIRS`) or takes an own objection back
(`WITHDRAW`), which comes to the same: the other side's figure holds, and both book it. At `dispute.until` the lesser
figure holds on both sides. Figures are what our node owes the seller's node (`trade.disputes`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bap import settling
from bap.buyer import NotNow, Step
from bap.settling import Moment, Purse
from trade import deadlines, disputes, ledger
from trade.disputes import Decision
from trade.order import Dispute, Order, OrderEvent, OrderState, Side, advance, can_advance
from trade.quote import TITLES, LineKind, QuoteLine


@dataclass(frozen=True, slots=True)
class Told:
    """A dispute or its resolution as the seller's letter tells it; None where it does not say."""

    dispute_id: str
    reason: str
    total_milli: int | None
    until: datetime | None = None
    outcome: str = ""


def object_to(order: Order, reason: str, *, paid_milli: int, at: Moment) -> Step:
    """A person's objection to a settled or cancelled order; raises NotNow where there is nothing to object to.

    `paid_milli` is what was paid to the seller for it: an objection says that something is wrong, not by how much.
    """
    if order.state is OrderState.DISPUTED:
        raise NotNow(f"Order {order.order_id} is in dispute already; follow that one.", field="state")
    if order.state not in (OrderState.COMPLETED, OrderState.CANCELLED):
        raise NotNow(
            f"Order {order.order_id} is {order.state}; only a settled or cancelled order can be disputed.",
            field="state",
        )
    until = deadlines.corrections_until(order)
    if at.trading > until:
        raise NotNow(f"The time for objections ended at {until.isoformat()}.", field="state", limit=until.isoformat())
    return settling.open_dispute(order, reason, buyer_milli=paid_milli, seller_milli=paid_milli, at=at)


def hear(order: Order, told: Told, *, paid_milli: int, at: Moment) -> Step | None:
    """The seller objects, or says what it holds due in a dispute that is open; None when it changes nothing.

    It lapses when the seller says, but never later than the policy allows from now.
    """
    if order.state is OrderState.DISPUTED and order.dispute is not None:
        if told.total_milli is None or told.total_milli == order.dispute.seller_total_milli:
            return None
        return Step(replace(order, dispute=replace(order.dispute, seller_total_milli=told.total_milli)))
    is_known = order.dispute is not None and order.dispute.dispute_id == told.dispute_id
    if is_known or not can_advance(order, OrderEvent.DISPUTED) or at.trading > deadlines.corrections_until(order):
        return None
    own = settling.own_result(order, at=at)
    ours_milli = paid_milli if order.settlement or not own else disputes.due_milli(own)
    step = settling.open_dispute(
        order,
        told.reason or "The seller objects.",
        buyer_milli=ours_milli,
        seller_milli=told.total_milli,
        at=replace(at, dispute_id=told.dispute_id),
        by=Side.SELLER,
    )
    opened = step.order.dispute
    if opened is None or told.until is None or told.until >= opened.until:
        return step
    return replace(step, order=replace(step.order, dispute=replace(opened, until=told.until)))


def resolve(order: Order, outcome: Decision, note: str, *, purse: Purse, at: Moment) -> Step:
    """A person's decision; raises NotNow when there is nothing to decide, or nothing to accept."""
    dispute = _open(order)
    if outcome is Decision.WITHDRAW and dispute.opened_by is not Side.BUYER:
        raise NotNow("The seller opened this dispute; only the seller can withdraw it.", field="outcome")
    theirs_milli = dispute.seller_total_milli
    if theirs_milli is None and outcome is Decision.ACCEPT_THEIRS:
        raise NotNow("The seller has named no figure to accept; wait for it, or withdraw.", field="outcome")
    due_milli = theirs_milli if theirs_milli is not None else dispute.buyer_total_milli or 0
    return _close(order, due_milli, outcome.value, note, purse=purse, at=at)


def hear_resolution(order: Order, told: Told, *, purse: Purse, at: Moment) -> Step | None:
    """The seller's decision: it holds when it asks for no more than we hold due, for that is giving in.

    None when no dispute is open, unless both sides gave in at once.
    """
    if order.state is not OrderState.DISPUTED or order.dispute is None:
        return _crossed(order, told, purse=purse, at=at)
    ours_milli = order.dispute.buyer_total_milli
    due_milli = told.total_milli if told.total_milli is not None else ours_milli
    is_covered = order.settlement is not None or due_milli is None or due_milli <= purse.reserved_milli
    if due_milli is None or ours_milli is None or due_milli > ours_milli or not is_covered:
        refused = {"dispute_id": told.dispute_id, "total_milli": due_milli, "buyer_total_milli": ours_milli}
        return Step(order, (), (("order.resolution_ignored", refused),))
    return _close(order, due_milli, told.outcome or "AGREED", told.reason, purse=purse, at=at)


def _crossed(order: Order, told: Told, *, purse: Purse, at: Moment) -> Step | None:
    """Both sides gave in at once, each to the other's figure: of the two the lesser holds, on both sides."""
    over, booked = order.dispute, order.settlement
    if over is None or booked is None or over.resolution != Decision.ACCEPT_THEIRS or order.cancelled_by:
        return None
    due_milli = told.total_milli
    if due_milli is None or due_milli != over.buyer_total_milli or due_milli >= disputes.due_milli(booked):
        return None
    version = settling.next_version(order)
    result = disputes.at_due(booked, due_milli, like=order.contracted_wh, now=at.trading, version=version)
    return settling.pay(order, result, purse=purse, at=at)


def lapse(order: Order, *, purse: Purse, at: Moment) -> Step:
    """Nobody decided in time: the lesser figure holds, here and at the seller's by the same rule.

    Nobody agreed to it, so an order that was never paid costs no more than was reserved for it.
    """
    due_milli = disputes.lesser_due_milli(_open(order))
    if order.settlement is None:
        due_milli = min(due_milli, purse.reserved_milli)
    return _close(order, due_milli, disputes.LESSER, "", purse=purse, at=at)


def _open(order: Order) -> Dispute:
    if order.state is not OrderState.DISPUTED or order.dispute is None:
        raise NotNow(f"Order {order.order_id} is {order.state}; there is no open dispute to decide.", field="state")
    return order.dispute


def _close(order: Order, due_milli: int, outcome: str, note: str, *, purse: Purse, at: Moment) -> Step:
    """The dispute over, the figure booked: as a settlement, or as the fee of a cancellation."""
    assert order.dispute is not None  # noqa: S101 - asked by the callers
    over = replace(order.dispute, resolution=outcome, resolved_at=at.trading)
    told = {"dispute_id": over.dispute_id, "outcome": outcome, "total_milli": due_milli, "note": note}
    closing = replace(order, dispute=over)
    step = _cancelled(closing, due_milli, purse, at) if order.cancelled_by else _settled(closing, due_milli, purse, at)
    return replace(step, events=(*step.events, ("order.dispute_resolved", told)))


def _cancelled(order: Order, due_milli: int, purse: Purse, at: Moment) -> Step:
    """The contract stays cancelled; what escrow still holds pays the fee, the rest goes back."""
    updated = advance(order, OrderEvent.CANCELLED, now=at.wall)
    if not purse.reserved_milli:
        return Step(updated)
    fee = QuoteLine(LineKind.CANCELLATION_FEE, TITLES[LineKind.CANCELLATION_FEE], due_milli) if due_milli else None
    topped, reserved_milli = _topped_up(updated, due_milli, purse, at)
    moved = ledger.buyer_cancel(updated, fee, at=at.wall, reserved_milli=reserved_milli)
    return Step(updated, (*topped, *moved))


def _settled(order: Order, due_milli: int, purse: Purse, at: Moment) -> Step:
    """A settlement of our own lines that comes to the figure decided; none when the one there is comes to it."""
    standing = order.settlement
    if standing is not None and disputes.due_milli(standing) == due_milli:
        return Step(advance(order, OrderEvent.RESOLVED, now=at.wall))
    result = disputes.at_due(
        settling.own_result(order, at=at) or standing,
        due_milli,
        like=order.contracted_wh,
        now=at.trading,
        version=settling.next_version(order),
    )
    if standing is not None:
        return settling.pay(order, result, purse=purse, at=at)
    topped, reserved_milli = _topped_up(order, result.total_milli, purse, at)
    step = settling.pay(order, result, purse=replace(purse, reserved_milli=reserved_milli), at=at)
    return replace(step, transfers=(*topped, *step.transfers))


def _topped_up(order: Order, due_milli: int, purse: Purse, at: Moment) -> tuple[tuple[ledger.Transfer, ...], int]:
    """Escrow brought up to what was accepted, where that is more than it holds; and what it then holds."""
    if due_milli <= purse.reserved_milli or order.dispute is None:
        return (), purse.reserved_milli
    step = f"resolve-{order.dispute.dispute_id}"
    moved = ledger.adjust(order, reserved_milli=purse.reserved_milli, needed_milli=due_milli, step=step, at=at.wall)
    return tuple(moved), due_milli
