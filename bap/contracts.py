"""What a buyer decides about a contract it has: change it, cancel it, ask about it, rate it. Pure, like `buyer.py`.

How it ends in money is in `settling.py`. Escrow always covers the most the contract can cost: more is reserved before a
larger contract is asked for, less is given back only when the seller has agreed. `reserved_milli` is what the order's
escrow holds; the ledger knows it, not the order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bap import settling
from bap.buyer import CONTRACTED, NotNow, Step, Unfit
from bap.settling import Moment, Tell, Verdict
from trade import deadlines, ledger, pricing, settlement
from trade.money import Series, is_same_or_rounded
from trade.order import (
    Order,
    OrderEvent,
    OrderState,
    advance,
    can_advance,
)
from trade.quote import LineKind, QuoteLine

_CHANGEABLE = frozenset({OrderState.ACTIVE, OrderState.DELIVERING})


def waits_for_change(order: Order) -> bool:
    """True while a change the buyer asked for is unanswered."""
    return order.state in _CHANGEABLE and order.awaiting_until is not None


# --- Changes ------------------------------------------------------------------------------------------------------


def start_update(
    order: Order,
    contracted_wh: Series,
    *,
    reserved_milli: int,
    message_id: str,
    now: datetime,
    now_trading: datetime,
    wait: timedelta,
) -> Step:
    """Ask for another series on the contract's slots; what it may cost more is reserved first.

    Raises NotNow outside a contract or while another change is under way, Unfit for a series that cannot be.
    """
    if order.state not in _CHANGEABLE:
        raise NotNow(f"Order {order.order_id} is {order.state}; only a contract can be changed.", field="state")
    if waits_for_change(order):
        raise NotNow("The seller has not answered the last change yet; wait for it.", field="state")
    if not contracted_wh.is_aligned(order.contracted_wh):
        raise Unfit(
            "'energy' must cover exactly the slots of the contract; send 0 for a slot you no longer want.",
            field="energy",
            limit=len(order.contracted_wh.values),
        )
    for index, ((slot, new), old) in enumerate(zip(contracted_wh.items(), order.contracted_wh.values, strict=True)):
        if new != old and slot.start <= now_trading:
            raise Unfit(f"Slot {index} has begun and stays at {old} Wh.", field=f"energy.energy_wh.{index}", limit=old)
    if contracted_wh.total == 0:
        raise Unfit("A contract over nothing is a cancellation; use cancel.", field="energy", limit=1)
    total_milli = sum(line.amount_milli for line in settlement.quote_lines(order, contracted_wh))
    reserve = ledger.adjust(
        order,
        reserved_milli=reserved_milli,
        needed_milli=max(reserved_milli, settlement.exposure_milli(replace(order, contracted_wh=contracted_wh))),
        step=f"update-{message_id}",
        at=now,
    )
    asking = replace(order, awaiting_message_id=message_id, awaiting_until=now + wait, updated_at=now)
    told = {"message_id": message_id, "energy_wh": list(contracted_wh.values), "total_milli": total_milli}
    return Step(asking, tuple(reserve), (("order.update_sent", told),))


def record_change(
    order: Order,
    contracted_wh: Series,
    *,
    asked_wh: Series | None,
    seller_total_milli: int | None,
    reserved_milli: int,
    message_id: str,
    now: datetime,
) -> Step | None:
    """on_update: the contract as the seller now keeps it, after the buyer's own change or the seller's curtailment.

    `asked_wh` is the change this letter answers; None when it came unasked. A seller may lower a contract at any time,
    but raise it only to what was asked: anything else changes nothing and is told. The quote is worked out here, at
    the contract's own prices, never taken over. None when the letter says nothing new.
    """
    event = OrderEvent.UPDATED if asked_wh is not None else OrderEvent.CURTAILED
    if not can_advance(order, event) or (asked_wh is None and contracted_wh == order.contracted_wh):
        return None
    allowed = asked_wh.values if asked_wh is not None else order.contracted_wh.values
    highest = [max(old, new) for old, new in zip(order.contracted_wh.values, allowed, strict=True)]
    if not contracted_wh.is_aligned(order.contracted_wh) or any(
        new > most for new, most in zip(contracted_wh.values, highest, strict=True)
    ):
        sentence = "The seller sent a contract that was not asked for; it was not accepted."
        return Step(order, (), (("order.change_ignored", {"sentence": sentence}),))
    answered = asked_wh is not None
    lines = settlement.quote_lines(order, contracted_wh)
    quote = None if order.quote is None else replace(order.quote, lines=lines)
    updated = replace(
        advance(order, event, now=now),
        contracted_wh=contracted_wh,
        quote=quote,
        curtailed_wh=order.curtailed_wh if answered else _curtailed(order, contracted_wh),
        awaiting_until=None if answered else order.awaiting_until,
    )
    total_milli, needed_milli = sum(line.amount_milli for line in lines), settlement.exposure_milli(updated)
    if not answered and waits_for_change(order):
        needed_milli = max(needed_milli, reserved_milli)  # what our own change reserved is still needed
    moved = ledger.adjust(
        updated, reserved_milli=reserved_milli, needed_milli=needed_milli, step=f"change-{message_id}", at=now
    )
    told: dict[str, Any] = {"total_milli": total_milli, "energy_wh": list(contracted_wh.values)}
    if seller_total_milli is not None and not pricing.is_total_of(seller_total_milli, lines):
        told["seller_total_milli"] = seller_total_milli
    return Step(updated, tuple(moved), (("order.updated" if answered else "order.curtailed", told),))


def _curtailed(order: Order, contracted_wh: Series) -> Series:
    """What the seller has taken back of the contract so far, with what it takes back now."""
    earlier = order.curtailed_wh or Series.flat(contracted_wh, 0)
    taken = zip(earlier.values, order.contracted_wh.values, contracted_wh.values, strict=True)
    return contracted_wh.with_values(tuple(before + old - new for before, old, new in taken))


def refuse_update(
    order: Order, *, code: str, sentence: str, reserved_milli: int, message_id: str, now: datetime
) -> Step:
    """The seller keeps the contract as it was: what the change had reserved goes back."""
    needed_milli = settlement.exposure_milli(order)
    given_back = ledger.adjust(
        order,
        reserved_milli=reserved_milli,
        needed_milli=min(needed_milli, reserved_milli),
        step=f"change-{message_id}",
        at=now,
    )
    updated = replace(order, awaiting_until=None, updated_at=now)
    return Step(updated, tuple(given_back), (("order.update_refused", {"code": code, "sentence": sentence}),))


# --- Cancelling ---------------------------------------------------------------------------------------------------


def start_cancel(
    order: Order, *, reason_id: str, message_id: str, now: datetime, now_trading: datetime, wait: timedelta
) -> Step:
    """Ask the seller to cancel; the event says what it will cost. Raises NotNow when it is too late or too early."""
    if not can_advance(order, OrderEvent.CANCEL_SENT):
        raise NotNow(
            f"Order {order.order_id} is {order.state}; only a contract whose delivery has not begun can be cancelled.",
            field="state",
        )
    try:
        fee = pricing.cancellation_fee(order, now_trading=now_trading)
    except pricing.UnableToCancel as too_late:
        raise NotNow(f"It is too late to cancel: {too_late}.", field="cancellation_terms") from too_late
    updated = replace(
        advance(order, OrderEvent.CANCEL_SENT, now=now),
        cancellation_reason_id=reason_id,
        awaiting_message_id=message_id,
        awaiting_until=now + wait,
    )
    told = {"message_id": message_id, "fee_milli": fee.amount_milli if fee else 0}
    return Step(updated, (), (("order.cancelling", told),))


def refuse_cancel(order: Order, *, code: str, sentence: str, now: datetime) -> Step | None:
    """The seller does not cancel: the contract stands. None when no cancellation was asked for."""
    if not can_advance(order, OrderEvent.CANCEL_REFUSED):
        return None
    updated = replace(advance(order, OrderEvent.CANCEL_REFUSED, now=now), awaiting_until=None)
    return Step(updated, (), (("order.cancel_refused", {"code": code, "sentence": sentence}),))


def record_cancellation(order: Order, *, cancelled_by: str, fee_milli: int, reserved_milli: int, at: Moment) -> Verdict:
    """on_cancel: the fee to the seller, the rest back; a fee above the agreed terms is disputed and escrow waits.

    Who cancels pays: a seller that cancels gets no fee. Nothing changes when the order is past cancelling.
    """
    if not can_advance(order, OrderEvent.CANCELLED) or order.state is OrderState.DISPUTED:
        return Verdict()
    cancelled = advance(order, OrderEvent.CANCELLED, now=at.wall)
    updated = replace(cancelled, cancelled_by=cancelled_by, awaiting_until=None)
    limit_milli = 0 if cancelled_by == "PROVIDER" else _fee_limit(order, at.trading)
    if is_same_or_rounded(fee_milli, limit_milli):
        fee_milli = limit_milli
    told = ("order.cancelled", {"by": cancelled_by, "fee_milli": fee_milli})
    if not 0 <= fee_milli <= min(limit_milli, reserved_milli):
        why = "The seller asks for more than the agreed terms do for cancelling."
        step = settling.open_dispute(updated, why, buyer_milli=limit_milli, seller_milli=fee_milli, at=at)
        return Verdict(replace(step, events=(told, *step.events)), Tell.DISPUTE)
    fee = QuoteLine(LineKind.CANCELLATION_FEE, "", fee_milli) if fee_milli else None
    moved = ledger.buyer_cancel(updated, fee, at=at.wall, reserved_milli=reserved_milli)
    return Verdict(Step(updated, tuple(moved), (told,)))


def _fee_limit(order: Order, now_trading: datetime) -> int:
    """The most the agreed terms can ask by now: later never costs less."""
    try:
        fee = pricing.cancellation_fee(order, now_trading=now_trading)
    except pricing.UnableToCancel:  # the seller took the cancel in time; its answer came after the last term
        latest = min(order.cancellation_terms, key=lambda term: term.notice_s_min, default=None)
        if latest is None:
            return 0
        at = order.delivery_start - timedelta(seconds=latest.notice_s_min)
        fee = pricing.cancellation_fee(order, now_trading=at)
    return fee.amount_milli if fee else 0


# --- Questions ----------------------------------------------------------------------------------------------------


def check_askable(order: Order, action: str) -> None:
    """Refuse a question about an order the seller cannot know; raises NotNow."""
    if order.state not in CONTRACTED and order.state is not OrderState.CANCELLED:
        raise NotNow(f"Order {order.order_id} is {order.state}; {action} needs a confirmed order.", field="state")


def record_rating(order: Order, *, category: str, value: str, now: datetime, now_trading: datetime) -> Order:
    """Keep what the buyer thought; a later rating of the same category replaces the earlier, until ratings close.

    Raises NotNow without a contract, and once the policy's time for ratings is over.
    """
    check_askable(order, "rating")
    until = deadlines.ratings_until(order)
    if now_trading > until:
        raise NotNow(f"The time for rating this order ended at {until.isoformat()}.", field="state")
    kept = tuple(rating for rating in order.ratings if rating[0] != category)
    return replace(order, ratings=(*kept, (category, value)), updated_at=now)
