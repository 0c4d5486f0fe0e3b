"""Objections on the seller's node: who may open one, how it is decided, what holds when nobody decides. No I/O.

A dispute is about one figure: what the buyer's node owes ours for an order (`trade.disputes`). The buyer's node opens
one when it reckons otherwise, a person on either side when something seems wrong. Money that is booked stays booked
while it is open. Whoever decides gives in (`ACCEPT_THEIRS`) or takes an own objection back (`WITHDRAW`), which comes to
the same: the other side's figure holds, and both book it. At `dispute.until` the lesser figure holds on both sides.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bpp import refusals, serving, settling
from bpp.refusals import UnableToDispute, UnableToUpdate
from bpp.seller import Moment
from bpp.settling import Outcome
from trade import deadlines, disputes, ledger
from trade.disputes import Decision
from trade.money import Series, amount_from_milli
from trade.order import Dispute, Order, OrderEvent, OrderState, Side, advance
from trade.quote import SettlementResult


def object_to(order: Order, reason: str, *, dispute_id: str, at: Moment) -> Outcome:
    """A person on this side objects; the buyer's node is told. Raises UnableToDispute.

    An objection says that something is wrong, not by how much: both figures are what is booked.
    """
    if order.state is OrderState.DISPUTED:
        raise UnableToDispute(refusals.NOT_APPLICABLE, "The order is in dispute already; follow that one.")
    _check_disputable(order, at, UnableToDispute)
    due_milli = own_due_milli(order)
    opened = _opened(order, Side.SELLER, reason, dispute_id, at)
    opened = replace(opened, buyer_total_milli=due_milli, seller_total_milli=due_milli)
    return Outcome(replace(advance(order, OrderEvent.DISPUTED, now=at.wall), dispute=opened), (), "on_update")


def hear(
    order: Order, *, dispute_id: str, reason: str, total_milli: int | None, until: datetime | None, at: Moment
) -> Order:
    """The buyer's node objects, or says anew what it holds due; said again it changes nothing. Raises UnableToUpdate.

    The dispute lapses when the buyer's node says, but never later than the policy allows from now.
    """
    if order.dispute is not None and order.dispute.dispute_id == dispute_id and order.state is not OrderState.DISPUTED:
        return order  # it is over; the answer says how it ended
    if order.state is OrderState.DISPUTED and order.dispute is not None:
        told = replace(order.dispute, buyer_total_milli=total_milli)
        return order if told == order.dispute else replace(order, dispute=told, updated_at=at.wall)
    _check_disputable(order, at, UnableToUpdate)
    opened = _opened(order, Side.BUYER, reason or "The buyer's node objects.", dispute_id, at)
    if until is not None:
        opened = replace(opened, until=min(until, opened.until))
    opened = replace(opened, buyer_total_milli=total_milli, seller_total_milli=own_due_milli(order))
    return replace(advance(order, OrderEvent.DISPUTED, now=at.wall), dispute=opened)


def resolve(order: Order, decision: Decision, *, at: Moment) -> Outcome:
    """A person's decision on this side. Raises UnableToDispute when there is nothing to decide, or to accept."""
    dispute = order.dispute
    if order.state is not OrderState.DISPUTED or dispute is None:
        raise UnableToDispute(refusals.NOT_APPLICABLE, f"The order is {order.state}; no dispute is open.")
    if decision is Decision.WITHDRAW and dispute.opened_by is not Side.SELLER:
        raise UnableToDispute(
            refusals.NOT_APPLICABLE, "The buyer's side opened this dispute; only it can withdraw it. Accept its figure."
        )
    if decision is Decision.ACCEPT_THEIRS and dispute.buyer_total_milli is None:
        raise UnableToDispute(
            refusals.NOT_APPLICABLE, "The buyer's node has named no figure to accept; wait for it, or for the lapse."
        )
    theirs_milli = dispute.buyer_total_milli
    return _closed(order, own_due_milli(order) if theirs_milli is None else theirs_milli, decision.value, at=at)


def hear_resolution(
    order: Order, *, dispute_id: str, outcome: str, total_milli: int | None, at: Moment
) -> Outcome | None:
    """The buyer's side decided: it holds when it pays no less than we hold due, for that is giving in.

    None when the dispute is over already, unless both sides gave in at once. Raises UnableToUpdate otherwise.
    """
    dispute = order.dispute
    if order.state is not OrderState.DISPUTED or dispute is None:
        if dispute is not None and dispute.dispute_id == dispute_id:
            return _crossed(order, total_milli, at=at)
        raise UnableToUpdate(refusals.NOT_APPLICABLE, f"Order {order.wire_order_id!r} is not in dispute.")
    ours_milli = own_due_milli(order)
    due_milli = ours_milli if total_milli is None else total_milli
    if due_milli < ours_milli:
        raise UnableToUpdate(
            refusals.UPDATE_INCONSISTENT,
            f"A dispute is ended from your side at our figure, {amount_from_milli(ours_milli, order.currency)}"
            f" {order.currency}, or above; you name {amount_from_milli(due_milli, order.currency)}.",
        )
    return replace(_closed(order, due_milli, outcome, at=at), tell="")


def _crossed(order: Order, total_milli: int | None, *, at: Moment) -> Outcome | None:
    """Both sides gave in at once, each to the other's figure: of the two the lesser holds, on both sides."""
    over, booked = order.dispute, order.settlement
    if over is None or booked is None or over.resolution != Decision.ACCEPT_THEIRS or not order.superseded:
        return None
    ours_milli = disputes.due_milli(order.superseded[-1])
    if total_milli != ours_milli or ours_milli >= disputes.due_milli(booked):
        return None
    result = disputes.at_due(booked, ours_milli, like=order.contracted_wh, now=at.trading, version=booked.version + 1)
    return replace(settling.resettled(order, result, at=at), tell="")


def lapse(order: Order, *, at: Moment) -> Outcome:
    """Nobody decided in time: the lesser figure holds, here and at the buyer's by the same rule."""
    assert order.dispute is not None  # noqa: S101 - only disputed orders lapse
    return _closed(order, disputes.lesser_due_milli(order.dispute), disputes.LESSER, at=at)


def own_due_milli(order: Order) -> int:
    """What the buyer's node owes ours by our books: the settlement's due, or the fee of a cancelled order."""
    return disputes.due_milli(_booked(order))


def _booked(order: Order) -> SettlementResult:
    """What is booked for the order: its settlement, or a cancelled order's fee as one."""
    if order.settlement is not None:
        return order.settlement
    lines = order.quote.lines if order.quote else ()
    return SettlementResult(Series.flat(order.contracted_wh, 0), lines, order.updated_at, version=0)


def _check_disputable(order: Order, at: Moment, refusal: type[UnableToDispute] | type[UnableToUpdate]) -> None:
    if order.state not in (OrderState.COMPLETED, OrderState.CANCELLED):
        raise refusal(
            refusals.NOT_APPLICABLE,
            f"The order is {order.state}; only a settled or cancelled order can be disputed.",
        )
    until = deadlines.corrections_until(order)
    if at.trading > until:
        raise refusal(refusals.NOT_APPLICABLE, f"The time for objections ended at {serving.instant(until)}.")


def _opened(order: Order, by: Side, reason: str, dispute_id: str, at: Moment) -> Dispute:
    return Dispute(dispute_id, by, reason, at.trading, deadlines.dispute_until(order, at.trading))


def _closed(order: Order, due_milli: int, outcome: str, *, at: Moment) -> Outcome:
    """The dispute over and the figure booked, as the difference to what was."""
    assert order.dispute is not None  # noqa: S101 - asked by the callers
    booked = _booked(order)
    over = replace(order.dispute, resolution=outcome, resolved_at=at.trading, seller_total_milli=due_milli)
    event = OrderEvent.CANCELLED if order.cancelled_by else OrderEvent.RESOLVED
    closed = replace(advance(order, event, now=at.wall), dispute=over)
    if disputes.due_milli(booked) == due_milli:
        return Outcome(closed, (), "on_update")
    result = disputes.at_due(booked, due_milli, like=order.contracted_wh, now=at.trading, version=booked.version + 1)
    if order.settlement is not None:
        closed = replace(closed, settlement=result, superseded=(*order.superseded, order.settlement))
    elif order.quote is not None:
        closed = replace(closed, quote=replace(order.quote, lines=result.lines))
    return Outcome(closed, tuple(ledger.seller_settle(closed, result, at=at.trading, earlier=booked)), "on_update")
