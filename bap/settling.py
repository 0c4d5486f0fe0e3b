"""How a contract ends in money at the buyer's node: the seller's word against our own calculation. Pure.

Under a two-sided policy each seller is told our share of its contract (`shares`) and answers with its own and with what
it makes of both. We compute the same from the same two figures, and pay only when both results are equal. A seller that
stays silent past the last deadline counts as zero, so that no escrow waits for ever; what it says later corrects that.
Under a one-sided policy the seller's readings are its word, and nothing is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from bap.buyer import Step
from bap.shares import told_wh
from trade import deadlines, disputes, ledger, pricing, settlement
from trade.money import Series
from trade.order import Dispute, Order, OrderEvent, OrderState, Side, advance, can_advance
from trade.quote import QuoteLine, SettlementResult


class Tell(StrEnum):
    """What the seller has to hear after a decision."""

    NOTHING = "NOTHING"
    ALLOCATION = "ALLOCATION"
    DISPUTE = "DISPUTE"
    RESOLUTION = "RESOLUTION"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a seller's word: the step, if any, and what to write to the seller."""

    step: Step | None = None
    tell: Tell = Tell.NOTHING


@dataclass(frozen=True, slots=True)
class Word:
    """What a seller says of an order's energy and of what it costs in the end; None where it says nothing.

    `seller_wh` is its meter's allocation (or what a one-sided seller's meter delivered to the order), `heard_wh` our
    own as it heard it, `final_wh` what it makes of both. `is_final` once it has settled; `is_answer` when it answers
    our newest allocation. `is_utilitys` when our utility has replaced our figure by the one heard.
    """

    seller_wh: Series | None = None
    heard_wh: Series | None = None
    final_wh: Series | None = None
    round_: int = 1
    lines: Sequence[QuoteLine] | None = None
    is_final: bool = False
    is_answer: bool = False
    is_utilitys: bool = False


@dataclass(frozen=True, slots=True)
class Purse:
    """What the ledger holds for an order: its escrow, and what the wallet can pay (None: without limit)."""

    reserved_milli: int
    wallet_milli: int | None = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks, and the id a dispute gets if one is opened now."""

    wall: datetime
    trading: datetime
    dispute_id: str = ""


def record_word(order: Order, word: Word, *, purse: Purse, at: Moment) -> Verdict:
    """What the seller says of the order's energy: kept, and once it is final settled by our own calculation."""
    if not (can_advance(order, OrderEvent.SETTLED) or order.state in (OrderState.COMPLETED, OrderState.DISPUTED)):
        return Verdict()
    is_aligned = word.seller_wh is not None and word.seller_wh.is_aligned(order.contracted_wh)
    kept = replace(order, seller_alloc_wh=word.seller_wh) if is_aligned else order
    if not order.policy.is_two_sided:
        return _one_sided(order, kept, word, is_aligned, purse=purse, at=at)
    if not is_aligned or order.delivery_end > at.trading:
        return Verdict()
    if word.final_wh is None and not word.is_final:
        return Verdict(_noted(order, kept, at))
    if word.is_utilitys and word.heard_wh is not None and word.heard_wh.is_aligned(order.contracted_wh):
        return _by_utility(order, kept, word, word.heard_wh, purse=purse, at=at)
    return _answered(order, kept, word, purse=purse, at=at)


def _one_sided(order: Order, kept: Order, word: Word, is_aligned: bool, *, purse: Purse, at: Moment) -> Verdict:
    """A seller whose readings alone count: without them nothing can be checked."""
    if not word.is_final or (not is_aligned and order.settlement is not None):
        return Verdict()
    if not is_aligned:
        return dispute(order, None, word.lines, "The seller sent no readings for the contract's slots.", at=at)
    return _compare(order, kept, word, purse=purse, at=at)


def _answered(order: Order, kept: Order, word: Word, *, purse: Purse, at: Moment) -> Verdict:
    """A seller that has both sides' allocations: is it ours that it has, and is it the last round?"""
    if not word.is_final:
        return Verdict(_round_done(order, kept, word, at))
    heard = word.heard_wh or Series.flat(order.contracted_wh, 0)
    if heard.values != told_wh(order).values:
        if order.buyer_alloc_wh is None:
            return Verdict(_noted(order, kept, at))
        if word.is_answer:
            why = "The seller settled with another allocation of ours than we sent."
            return dispute(kept, own_result(kept, at=at), word.lines, why, at=at)
        return Verdict(_noted(order, kept, at), Tell.ALLOCATION)
    may_still_speak = order.buyer_alloc_wh is None and at.trading < deadlines.settle_by(order)
    if may_still_speak and order.settlement is None:
        return Verdict(_noted(order, kept, at))  # what we say by then the seller takes as a correction
    return _compare(order, kept, word, purse=purse, at=at)


def _by_utility(order: Order, kept: Order, word: Word, heard: Series, *, purse: Purse, at: Moment) -> Verdict:
    """Our utility's figure in place of ours. One that is less is taken; one that is more a person has to look at."""
    told = replace(kept, buyer_alloc_wh=heard, utility_sides=(Side.BUYER,))
    if not word.is_final:
        return Verdict(_round_done(order, told, word, at) or Step(replace(told, updated_at=at.wall)))
    known = order.buyer_alloc_wh
    if known is not None and any(new > own for new, own in zip(heard.values, known.values, strict=True)):
        why = "The utility's figure of the buyer's meter, as the seller tells it, is above ours."
        return dispute(kept, own_result(kept, at=at), word.lines, why, at=at)
    return _compare(order, told, word, purse=purse, at=at)


def _noted(order: Order, kept: Order, at: Moment) -> Step | None:
    """The allocations kept, when they are news."""
    return None if kept == order else Step(replace(kept, updated_at=at.wall))


def _round_done(order: Order, kept: Order, word: Word, at: Moment) -> Step | None:
    """A round that is not the last is complete: what it settles is kept, and ours is to be allocated anew.

    The seller's figure holds where it is no more than both allocations allow: it is less when a round was closed before
    we spoke.
    """
    if word.round_ != order.alloc_round + 1 or word.round_ >= order.policy.rounds or kept.seller_alloc_wh is None:
        return _noted(order, kept, at)
    allowed = zip(order.contracted_wh.values, kept.seller_alloc_wh.values, told_wh(order).values, strict=True)
    final_wh = word.final_wh
    if final_wh is None or not final_wh.is_aligned(order.contracted_wh):
        return _noted(order, kept, at)
    if any(wh > min(most) for wh, most in zip(final_wh.values, allowed, strict=True)):
        told = {"sentence": "The seller settled more in a round than both allocations allow; it was not accepted."}
        return Step(replace(kept, updated_at=at.wall), (), (("order.change_ignored", told),))
    done = replace(kept, alloc_round=word.round_, final_wh=final_wh, buyer_alloc_wh=None, updated_at=at.wall)
    return Step(done, (), (("order.round_settled", {"round": word.round_, "energy_wh": final_wh.total}),))


def own_result(order: Order, *, at: Moment) -> SettlementResult | None:
    """What we make of both sides' allocations, as the order's next settlement; None while the seller's is unknown."""
    if order.seller_alloc_wh is None:
        return None
    return settlement.settle(
        order,
        seller_alloc_wh=order.seller_alloc_wh,
        buyer_alloc_wh=told_wh(order) if order.policy.is_two_sided else None,
        now=at.trading,
        version=next_version(order),
    )


def next_version(order: Order) -> int:
    """The number of the order's next settlement."""
    return order.settlement.version + 1 if order.settlement else 1


def _compare(order: Order, kept: Order, word: Word, *, purse: Purse, at: Moment) -> Verdict:
    """The seller's final figures against ours: pay, settle again, or object."""
    ours = own_result(kept, at=at)
    assert ours is not None  # noqa: S101 - the seller's allocation was just kept
    if order.settlement is not None and _is_over(order, kept, ours, at):
        return Verdict(_ignored(order, ours, at))
    if (word.final_wh is not None and word.final_wh != ours.delivered_wh) or (
        word.lines is not None and not pricing.agree(word.lines, ours.lines)
    ):
        return dispute(kept, ours, word.lines, "The seller's settlement differs from ours.", at=at)
    if order.state is OrderState.DISPUTED:
        return _agreed(order, kept, ours, purse=purse, at=at)
    if order.settlement is not None and is_same(ours, order.settlement):
        return Verdict(_noted(order, kept, at))
    try:
        return Verdict(pay(kept, ours, purse=purse, at=at))
    except ledger.UnableToSettle:
        return dispute(kept, ours, word.lines, "More is due than is reserved.", at=at)


def _is_over(order: Order, kept: Order, ours: SettlementResult, at: Moment) -> bool:
    """True when a settled order takes no more news: a dispute was decided on these very figures, or time is up."""
    is_decided = order.dispute is not None and order.state is not OrderState.DISPUTED
    if is_decided and kept.seller_alloc_wh == order.seller_alloc_wh and order.settlement is not None:
        return ours.delivered_wh == order.settlement.delivered_wh
    return order.state is OrderState.COMPLETED and at.trading > deadlines.corrections_until(order)


def _ignored(order: Order, ours: SettlementResult, at: Moment) -> Step | None:
    """A correction that comes too late is told, and changes nothing."""
    if at.trading <= deadlines.corrections_until(order) or order.settlement is None or is_same(ours, order.settlement):
        return None
    return Step(order, (), (("order.correction_ignored", {"sentence": "The time for corrections is over."}),))


def is_same(one: SettlementResult, other: SettlementResult) -> bool:
    """True when two settlements settle the same energy at the same lines, whenever they were made."""
    return (one.delivered_wh, one.lines) == (other.delivered_wh, other.lines)


def pay(order: Order, result: SettlementResult, *, purse: Purse, at: Moment, **told: Any) -> Step:
    """The order settled, or settled again, and the money moved; raises UnableToSettle when escrow does not cover it."""
    earlier = order.settlement
    event = OrderEvent.SETTLED if earlier is None else OrderEvent.RESETTLED
    if order.state is OrderState.DISPUTED:
        event = OrderEvent.RESOLVED
    settled = replace(
        advance(order, event, now=at.wall),
        settlement=result,
        alloc_round=order.policy.rounds if order.policy.is_two_sided else 0,
        superseded=(*order.superseded, earlier) if earlier else order.superseded,
        awaiting_until=None,
    )
    moved = ledger.buyer_settle(
        settled,
        result,
        at=at.wall,
        earlier=earlier,
        reserved_milli=purse.reserved_milli,
        wallet_milli=purse.wallet_milli,
    )
    said = {
        "version": result.version,
        "total_milli": result.total_milli,
        "delivered_wh": result.delivered_wh.total,
        **({"earlier_total_milli": earlier.total_milli} if earlier else {}),
        **told,
    }
    return Step(settled, tuple(moved), (("order.resettled" if earlier else "order.completed", said),))


def settle_unanswered(order: Order, *, purse: Purse, at: Moment) -> Step:
    """The last deadline has passed without the seller's settlement: settle by what both said, silence being zero.

    Raises UnableToSettle as `pay` does.
    """
    silent = order.final_wh or Series.flat(order.contracted_wh, 0)
    result = own_result(replace(order, seller_alloc_wh=order.seller_alloc_wh or silent), at=at)
    assert result is not None  # noqa: S101 - the seller's allocation was just filled in
    return pay(order, result, purse=purse, at=at, by="deadline")


# --- Difference ---------------------------------------------------------------------------------------------------


def _agreed(order: Order, kept: Order, ours: SettlementResult, *, purse: Purse, at: Moment) -> Verdict:
    """The sides agree after all: their dispute is over, and our own calculation holds.

    An objection of a person, which is about no difference between the sides, waits for a person's decision.
    """
    if order.dispute is None:
        return Verdict(_noted(order, kept, at))
    due_milli = disputes.due_milli(ours)
    equal = replace(order.dispute, buyer_total_milli=due_milli, seller_total_milli=due_milli)
    if order.settlement is not None and order.dispute.buyer_total_milli == order.dispute.seller_total_milli:
        changed = replace(kept, dispute=equal)
        return Verdict(None if changed == order else Step(replace(changed, updated_at=at.wall)))
    over = replace(equal, resolution="AGREED", resolved_at=at.trading)
    step = pay(replace(kept, dispute=over), ours, purse=purse, at=at)
    told = {"dispute_id": over.dispute_id, "outcome": over.resolution, "total_milli": due_milli}
    return Verdict(replace(step, events=(*step.events, ("order.dispute_resolved", told))), Tell.RESOLUTION)


def dispute(
    order: Order, ours: SettlementResult | None, seller_lines: Sequence[QuoteLine] | None, why: str, *, at: Moment
) -> Verdict:
    """Object to the seller's settlement, or bring an open dispute up to date; nothing moves while it is open."""
    buyer_milli = disputes.due_milli(ours) if ours else None
    seller_milli = None
    if seller_lines is not None:
        seller_milli = disputes.due_milli(SettlementResult(order.contracted_wh, tuple(seller_lines), at.trading))
    if order.state is OrderState.DISPUTED and order.dispute is not None:
        renewed = replace(order.dispute, buyer_total_milli=buyer_milli, seller_total_milli=seller_milli)
        changed = replace(order, dispute=renewed, updated_at=at.wall)
        if renewed == order.dispute:
            return Verdict()
        is_ours_new = buyer_milli != order.dispute.buyer_total_milli
        return Verdict(Step(changed), Tell.DISPUTE if is_ours_new else Tell.NOTHING)
    if not can_advance(order, OrderEvent.DISPUTED):
        return Verdict()
    step = open_dispute(order, why, buyer_milli=buyer_milli, seller_milli=seller_milli, at=at)
    return Verdict(step, Tell.DISPUTE)


def open_dispute(
    order: Order, reason: str, *, buyer_milli: int | None, seller_milli: int | None, at: Moment, by: Side = Side.BUYER
) -> Step:
    """The order in dispute, until somebody decides or the time for it is over."""
    opened = Dispute(
        dispute_id=at.dispute_id,
        opened_by=by,
        reason=reason,
        opened_at=at.trading,
        until=deadlines.dispute_until(order, at.trading),
        buyer_total_milli=buyer_milli,
        seller_total_milli=seller_milli,
    )
    objecting = replace(advance(order, OrderEvent.DISPUTED, now=at.wall), dispute=opened, awaiting_until=None)
    told = {
        "dispute_id": opened.dispute_id,
        "opened_by": opened.opened_by.value,
        "reason": opened.reason,
        "until": opened.until.isoformat(),
        "buyer_total_milli": buyer_milli,
        "seller_total_milli": seller_milli,
    }
    return Step(objecting, (), (("order.disputed", told),))
