"""What a seller settles, and when: a meter's readings, shared over all contracts on it. Plain functions, no I/O.

The seller's side of a settlement is always its meter's share (SELLER_ALLOC). Under a one-sided policy that is all there
is. Under a two-sided one the buyer's allocation (BUYER_ALLOC) is waited for, in every round of the policy, until it is
due; a side that stays silent counts as zero from then on. `trade.allocation` and `trade.settlement` hold the rules,
`trade.deadlines` says what is due when.

Every look at a meter is the same: all contracts that overlap the news get their shares anew from the newest readings.
Contracts not settled yet are settled once they are ready; settled ones whose outcome changes are settled again, as the
next version, as long as corrections are open. After that a contract keeps its share, and the others divide the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bpp import refusals, serving
from bpp.refusals import UnableToUpdate
from bpp.seller import Moment
from trade import allocation, deadlines, disputes, ledger, settlement
from trade.allocation import Claim
from trade.ledger import Transfer
from trade.money import Series
from trade.order import Order, OrderEvent, OrderState, Side, advance
from trade.quote import LineKind, SettlementResult

_RUNNING = (OrderState.ACTIVE, OrderState.DELIVERING)
_SETTLED = (OrderState.COMPLETED, OrderState.DISPUTED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An order that changed, the money that moves with it, and the callback that tells its buyer (empty: none).

    `told` is what the callback shows where that is more than is kept: the buyer's figure of a round that is closed.
    """

    order: Order
    transfers: tuple[Transfer, ...] = ()
    tell: str = ""
    told: Order | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What a step adds to a provider's score: energy promised and delivered, orders settled."""

    contracted_wh: int
    delivered_wh: int
    settled: int


@dataclass(frozen=True, slots=True)
class Meter:
    """What is known of a seller's meter over some slots: its readings (None: not measured) and every claim on it."""

    metered_wh: Series
    is_measured: tuple[bool, ...]
    claims: tuple[Order, ...]

    @classmethod
    def of(cls, grid: Series, readings: Sequence[int | None], claims: Sequence[Order]) -> Meter:
        """From the readings of the grid's slots, which are as fine as all claims need."""
        known = tuple(wh is not None for wh in readings)
        return cls(grid.with_values(tuple(wh or 0 for wh in readings)), known, tuple(claims))

    def has_measured(self, order: Order) -> bool:
        """True when every slot in which the order has energy has a reading."""
        return all(known for known, wh in zip(self.measured(order), order.contracted_wh.values, strict=True) if wh)

    def measured(self, order: Order) -> list[bool]:
        """Which of the order's slots are wholly measured."""
        own, slot_s = order.contracted_wh, self.metered_wh.slot_s
        parts, offset = own.slot_s // slot_s, _offset(self.metered_wh, own)
        firsts = range(offset, offset + parts * len(own.values), parts)
        return [all(self._is_known(index) for index in range(first, first + parts)) for first in firsts]

    def _is_known(self, index: int) -> bool:
        return 0 <= index < len(self.is_measured) and self.is_measured[index]

    def refined(self, series: Series | None) -> Series | None:
        """A series of a claim over slots as fine as the meter's."""
        return None if series is None else allocation.refined(series, self.metered_wh.slot_s)


def grid_of(orders: Sequence[Order], claims: Sequence[Order]) -> Series:
    """Zeros over all slots from the first to the last of these orders, as fine as all claims on their meter need."""
    start = min(order.contracted_wh.start for order in orders)
    end: datetime = max(order.contracted_wh.end for order in orders)
    slot_s = allocation.common_slot_s((order.contracted_wh for order in (*orders, *claims)), start)
    return Series(start, slot_s, (0,) * (int((end - start).total_seconds()) // slot_s))


def shares(meter: Meter, *, now_trading: datetime) -> dict[str, Series]:
    """Every contract's share of the meter, as energy injected, over the contract's own slots.

    Contracts whose corrections have ended keep what they were given, and those whose figure the utility has replaced
    have that. Of the rest every contract gets its part pro rata;
    those settled in rounds then share anew what the earlier rounds (`final_wh`) left unsettled among themselves.
    """
    slot_s = meter.metered_wh.slot_s
    kept = {order.order_id: _kept(order) for order in meter.claims if _has_fixed_share(order, now_trading)}
    open_ = {order.order_id: order for order in meter.claims if order.order_id not in kept}
    claims = {key: Claim(allocation.refined(order.contracted_wh, slot_s)) for key, order in open_.items()}
    free_wh = _less(meter.metered_wh, [allocation.refined(series, slot_s) for series in kept.values()])
    found = allocation.allocate(free_wh, claims)
    in_rounds = {key: order for key, order in open_.items() if order.policy.rounds > 1}
    if any(order.final_wh for order in in_rounds.values()):
        others = [series for key, series in found.items() if key not in in_rounds]
        again = {key: _again(meter, claims[key], order) for key, order in in_rounds.items()}
        found |= allocation.allocate(_less(free_wh, others), again)
    return kept | {key: allocation.coarsened(series, open_[key].contracted_wh) for key, series in found.items()}


def _again(meter: Meter, claim: Claim, order: Order) -> Claim:
    """A claim in a later round: what is settled already, and what the buyer has offered to take."""
    if order.final_wh is None:
        return claim
    return replace(claim, settled_wh=meter.refined(order.final_wh), offered_wh=meter.refined(order.buyer_alloc_wh))


def look(meter: Meter, orders: Sequence[Order], *, at: Moment) -> list[Outcome]:
    """What the meter's newest readings make of these orders, all of them claims on it; those that change, in order."""
    found = shares(meter, now_trading=at.trading)
    outcomes = []
    for order in orders:
        outcome = decide(order, meter, found[order.order_id], at=at)
        if outcome is not None:
            outcomes.append(outcome)
    return outcomes


def decide(order: Order, meter: Meter, share_wh: Series, *, at: Moment) -> Outcome | None:
    """What becomes of one order with this share of its meter; None when there is nothing to do yet, or any more."""
    if order.state in _RUNNING:
        return _settled_first(order, share_wh, at) if is_ready(order, meter, at.trading) else None
    if order.state in _SETTLED and order.settlement and not _is_closed(order, at.trading):
        return settled_again(order, share_wh, at=at)
    return None


def is_ready(order: Order, meter: Meter, now_trading: datetime) -> bool:
    """True when the order's open round can be closed: both sides have spoken, or it is due.

    In rounds, the contracts that share slots go through them together: what one leaves unsettled is the others' to use.
    """
    if order.delivery_end > now_trading:
        return False
    if is_due(order, now_trading):
        return True
    if Side.SELLER not in order.utility_sides and not meter.has_measured(order):
        return False
    if order.policy.is_two_sided and order.buyer_alloc_wh is None:
        return False
    together = [other for other in meter.claims if _goes_with(other, order)] if order.policy.rounds > 1 else []
    return all(other.buyer_alloc_wh is not None or is_due(other, now_trading) for other in together)


def is_due(order: Order, now_trading: datetime) -> bool:
    """True when the open round ends whoever is silent."""
    due = deadlines.next_due(order)
    return due is not None and due <= now_trading


def _goes_with(other: Order, order: Order) -> bool:
    """True for another contract in the same round, with energy in the same time."""
    same = other.policy.rounds > 1 and other.state in _RUNNING and other.alloc_round <= order.alloc_round
    return same and other.delivery_start < order.delivery_end and order.delivery_start < other.delivery_end


def hear(order: Order, allocated_wh: Series, *, round_: int, at: Moment) -> Order:
    """The buyer's allocation of a round, kept; the order as it was when it says nothing new. Raises UnableToUpdate.

    A word on a round that was closed without it comes too late for that round, and counts once the order is settled:
    then it is a correction.
    """
    if not order.policy.is_two_sided:
        raise UnableToUpdate(
            refusals.NOT_APPLICABLE,
            f"Policy {order.policy.id} settles by the seller's meter alone; it takes no allocation of the buyer's.",
        )
    if order.state not in (*_RUNNING, *_SETTLED):
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE, f"Order {order.wire_order_id!r} is {order.state}; there is nothing to allocate."
        )
    if not allocated_wh.is_aligned(order.contracted_wh):
        own = order.contracted_wh
        raise UnableToUpdate(
            refusals.UPDATE_INCONSISTENT,
            f"The order has other slots; allocate {len(own.values)} slots of {own.slot_s} s from"
            f" {serving.instant(own.start)}.",
        )
    if Side.BUYER in order.utility_sides:
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE,
            f"The utility has replaced the buyer's figure of order {order.wire_order_id!r} by its own.",
        )
    if order.settlement is None:
        return _heard_in_time(order, allocated_wh, round_)
    if _is_closed(order, at.trading):
        until = deadlines.corrections_until(order)
        raise UnableToUpdate(
            refusals.UPDATE_IMPOSSIBLE,
            f"Order {order.wire_order_id!r} is settled for good: corrections ended at {serving.instant(until)}, or its"
            " figure was decided in a dispute.",
        )
    return replace(order, buyer_alloc_wh=allocated_wh)


def replaced(order: Order, figures: Mapping[Side, Series], *, at: Moment) -> Order | None:
    """The order with the utility's own figures for these sides; None when they cannot count (any more)."""
    fits = all(series.is_aligned(order.contracted_wh) for series in figures.values())
    if not fits or not figures or not is_open(order, at.trading):
        return None
    return replace(
        order,
        seller_alloc_wh=figures.get(Side.SELLER, order.seller_alloc_wh),
        buyer_alloc_wh=figures.get(Side.BUYER, order.buyer_alloc_wh),
        utility_sides=tuple(side for side in Side if side in {*order.utility_sides, *figures}),
    )


def _heard_in_time(order: Order, allocated_wh: Series, round_: int) -> Order:
    if round_ > order.alloc_round + 1:
        raise UnableToUpdate(
            refusals.UPDATE_INCONSISTENT,
            f"Order {order.wire_order_id!r} is in round {order.alloc_round + 1}; allocate that one first.",
        )
    return order if round_ <= order.alloc_round else replace(order, buyer_alloc_wh=allocated_wh)


# --- Settling -----------------------------------------------------------------------------------------------------


def _settled_first(order: Order, share_wh: Series, at: Moment) -> Outcome:
    """Close the open round; after the last one settle."""
    running = (
        order if order.state is OrderState.DELIVERING else advance(order, OrderEvent.DELIVERY_STARTED, now=at.wall)
    )
    closed = replace(
        running,
        seller_alloc_wh=share_wh,
        buyer_alloc_wh=buyers_figure(order),
        alloc_round=min(order.alloc_round + 1, order.policy.rounds),
    )
    if order.policy.rounds > closed.alloc_round:
        final = settlement.final_of(
            contracted_wh=order.contracted_wh,
            buyer_alloc_wh=closed.buyer_alloc_wh,
            seller_alloc_wh=share_wh,
            policy=order.policy,
        )
        closed = replace(closed, final_wh=final, updated_at=at.wall)
        waiting = closed if Side.BUYER in order.utility_sides else replace(closed, buyer_alloc_wh=None)
        return Outcome(waiting, (), "on_update", told=closed)
    result = _result(closed, version=1, at=at)
    done = replace(advance(closed, OrderEvent.SETTLED, now=at.wall), settlement=result)
    moved = tuple(ledger.seller_settle(done, result, at=at.trading))
    return Outcome(done, moved, "on_update" if order.policy.is_two_sided else "on_status")


def settled_again(order: Order, share_wh: Series, *, at: Moment) -> Outcome | None:
    """The next version of a settlement, from corrected readings or a corrected word of the buyer; None when all stays.

    A disputed order stays disputed: what it is about may be smaller now, and its sides say when it is over.
    """
    assert order.settlement is not None  # noqa: S101 - only settled orders are settled again
    told = replace(order, seller_alloc_wh=share_wh, buyer_alloc_wh=buyers_figure(order))
    result = _result(told, version=order.settlement.version + 1, at=at)
    if _same(result, order.settlement):
        return None if told == order else Outcome(told)
    return resettled(told, result, at=at)


def resettled(order: Order, result: SettlementResult, *, at: Moment) -> Outcome:
    """A settled order under another settlement: the earlier one is kept, the difference moves, the buyer is told."""
    earlier = order.settlement
    assert earlier is not None  # noqa: S101 - only settled orders are settled again
    changed = replace(order, updated_at=at.wall)
    if order.state is OrderState.COMPLETED:
        changed = advance(order, OrderEvent.RESETTLED, now=at.wall)
    elif order.dispute is not None:
        changed = replace(changed, dispute=replace(order.dispute, seller_total_milli=disputes.due_milli(result)))
    changed = replace(changed, settlement=result, superseded=(*order.superseded, earlier))
    return Outcome(changed, tuple(ledger.seller_settle(changed, result, at=at.trading, earlier=earlier)), "on_update")


def score(before: Order, after: Order) -> Score | None:
    """What a step adds to the provider's score; None when nothing.

    What the buyer did not take is not held against the seller (`settlement.delivered_per_mille`).
    """
    if after.settlement is None:
        return None
    if before.settlement is None:
        return Score(after.contracted_wh.total, settlement.kept_wh(after), 1)
    more_wh = settlement.kept_wh(after) - settlement.kept_wh(before)
    return Score(0, more_wh, 0) if more_wh else None


def buyers_figure(order: Order) -> Series | None:
    """The buyer's allocation as it counts: its word, or else what earlier rounds settled, or nothing."""
    if not order.policy.is_two_sided:
        return None
    return order.buyer_alloc_wh or order.final_wh or Series.flat(order.contracted_wh, 0)


def _result(order: Order, *, version: int, at: Moment) -> SettlementResult:
    assert order.seller_alloc_wh is not None  # noqa: S101 - the caller has set it
    return settlement.settle(
        order,
        seller_alloc_wh=order.seller_alloc_wh,
        buyer_alloc_wh=order.buyer_alloc_wh,
        now=at.trading,
        version=version,
    )


def _same(one: SettlementResult, other: SettlementResult) -> bool:
    return (one.delivered_wh, one.lines, one.flows) == (other.delivered_wh, other.lines, other.flows)


# --- Claims that are closed ---------------------------------------------------------------------------------------


def _is_closed(order: Order, now_trading: datetime) -> bool:
    """True once no reading changes the order's share: corrections have ended, or its figure was decided by people."""
    if order.settlement is None:
        return False
    decided = any(line.kind is LineKind.RESOLUTION for line in order.settlement.lines)
    return decided or deadlines.corrections_until(order) <= now_trading


def is_open(order: Order, now_trading: datetime) -> bool:
    """True while allocations and readings can still change what the order settles at."""
    return order.state in (*_RUNNING, *_SETTLED) and not _is_closed(order, now_trading)


def _has_fixed_share(order: Order, now_trading: datetime) -> bool:
    """True when readings do not change the order's share of the meter."""
    return Side.SELLER in order.utility_sides or _is_closed(order, now_trading)


def _kept(order: Order) -> Series:
    """The share an order has and keeps; one settled by an earlier release knew only what was settled."""
    own = order.seller_alloc_wh or (order.settlement.delivered_wh if order.settlement else None)
    assert own is not None  # noqa: S101 - asked of orders that have a share
    return own


def _less(metered_wh: Series, taken: Sequence[Series]) -> Series:
    """What is left of a meter's readings, never below zero."""
    left = list(metered_wh.values)
    for series in taken:
        offset = _offset(metered_wh, series)
        for index, wh in enumerate(series.values):
            if 0 <= offset + index < len(left):
                left[offset + index] -= wh
    return metered_wh.with_values(tuple(max(0, wh) for wh in left))


def _offset(grid: Series, series: Series) -> int:
    return int((series.start - grid.start).total_seconds()) // grid.slot_s
