"""Our word on a contract: what the buyer's meter took of it, as its share of the meter's import. Pure.

A meter's import is shared over all contracts that have a claim on it, whoever sells, so that no watt-hour is taken
twice (`trade.allocation`). The share is told to the seller once the contract's slots are over and measured, told again
when a reading is corrected, and under ITERATED told anew in every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import overload

from bap.buyer import Step
from trade import allocation, deadlines
from trade.allocation import Claim
from trade.money import Series
from trade.order import Order, OrderState, Side
from trade.policy import AllocationRule

#: States in which a contract's money has moved or waits for a decision: only a correction is told any more.
_SETTLED = frozenset({OrderState.COMPLETED, OrderState.DISPUTED})


def grid(orders: Sequence[Order], due: Sequence[Order]) -> Series:
    """Zeros over the slots of the orders that are due, as fine as all contracts on the meter need."""
    first = min(order.contracted_wh.start for order in due)
    slot_s = allocation.common_slot_s((order.contracted_wh for order in (*orders, *due)), first)
    end: datetime = max(order.contracted_wh.end for order in due)
    return Series(first, slot_s, (0,) * (int((end - first).total_seconds()) // slot_s))


def allocate(
    orders: Sequence[Order], due: Sequence[Order], *, like: Series, metered_wh: Sequence[int | None]
) -> dict[str, Series]:
    """Our allocation of every due order whose slots are all measured, over its own slots, in energy injected.

    `orders` are all contracts with a claim on the meter's slots, `due` those to be told; `metered_wh` is the import
    over the slots of `like`. Every contract gets its part pro rata; those settled in rounds then share again what the
    others leave.
    """
    everybody = {order.order_id: order for order in (*orders, *due)}
    claims = {
        order_id: Claim(_fine(order.contracted_wh, like), None, order.policy.loss_ppm)
        for order_id, order in everybody.items()
    }
    import_wh = like.with_values(tuple(wh or 0 for wh in metered_wh))
    shares = allocation.allocate(import_wh, claims)
    in_rounds = {order_id: order for order_id, order in everybody.items() if order.policy.rounds > 1}
    if any(order.final_wh is not None or order.state in _SETTLED for order in in_rounds.values()):
        once = [(share, claims[key].loss_ppm) for key, share in shares.items() if key not in in_rounds]
        again = {order_id: _again(claims[order_id], order, like) for order_id, order in in_rounds.items()}
        shares |= allocation.allocate(_less(import_wh, once), again)
    unread = {like.start.timestamp() + index * like.slot_s for index, wh in enumerate(metered_wh) if wh is None}
    return {
        order.order_id: allocation.coarsened(shares[order.order_id], order.contracted_wh)
        for order in due
        if not any(wh and slot.start.timestamp() in unread for slot, wh in claims[order.order_id].contracted_wh.items())
    }


def _again(claim: Claim, order: Order, like: Series) -> Claim:
    """A claim in a later round: what is settled already, and what the seller has offered beyond it.

    Once settled, what we told stands as long as the readings do: only what they leave or lack moves.
    """
    if order.state in _SETTLED:
        return replace(claim, settled_wh=_fine(order.buyer_alloc_wh, like))
    if order.final_wh is None:
        return claim
    return replace(claim, settled_wh=_fine(order.final_wh, like), offered_wh=_fine(order.seller_alloc_wh, like))


@overload
def _fine(series: Series, like: Series) -> Series: ...
@overload
def _fine(series: Series | None, like: Series) -> Series | None: ...
def _fine(series: Series | None, like: Series) -> Series | None:
    """The series over slots as fine as the grid's; None stays None."""
    return None if series is None else allocation.refined(series, like.slot_s)


def _less(import_wh: Series, taken: Sequence[tuple[Series, int]]) -> Series:
    """What is left of an import once these shares (with their losses) have arrived out of it."""
    left = list(import_wh.values)
    for share, loss_ppm in taken:
        offset = int((share.start - import_wh.start).total_seconds()) // import_wh.slot_s
        for index, wh in enumerate(share.values):
            if 0 <= offset + index < len(left):
                left[offset + index] -= allocation.received_wh(wh, loss_ppm)
    return import_wh.with_values(tuple(max(0, wh) for wh in left))


def is_allocation_due(order: Order, orders: Sequence[Order], *, now_trading: datetime) -> bool:
    """True when the seller should hear our allocation of this order, for the first time or corrected.

    Never before delivery is over; a settled order only while corrections are taken; a further round only once all
    contracts that share slots with it on the meter are through the round before, or that round's deadline has passed.
    """
    if not order.policy.is_two_sided or order.delivery_end > now_trading or Side.BUYER in order.utility_sides:
        return False
    if order.state in _SETTLED:
        return now_trading <= deadlines.corrections_until(order)
    return all(
        other.alloc_round >= order.alloc_round or now_trading >= deadlines.allocation_due(other, order.alloc_round)
        for other in orders
        if other.policy.allocation is AllocationRule.ITERATED
        and other.state not in _SETTLED
        and other.delivery_start < order.delivery_end
        and other.delivery_end > order.delivery_start
    )


def round_of(order: Order) -> int:
    """The round our next word belongs to; the last one once it is settled."""
    return min(order.alloc_round + 1, order.policy.rounds)


def record_allocation(order: Order, alloc_wh: Series, *, message_id: str, now: datetime) -> Step | None:
    """Our allocation, to be kept and told under `message_id`; None when the seller knows it."""
    if order.buyer_alloc_wh == alloc_wh:
        return None
    kind = "order.allocated" if order.buyer_alloc_wh is None else "order.allocation_corrected"
    told = {
        "message_id": message_id,
        "round": round_of(order),
        "energy_wh": alloc_wh.total,
        "contracted_wh": order.contracted_wh.total,
    }
    return Step(replace(order, buyer_alloc_wh=alloc_wh, updated_at=now), (), ((kind, told),))


def told_wh(order: Order) -> Series:
    """Our allocation as far as it goes: silence adds nothing to what earlier rounds settled."""
    return order.buyer_alloc_wh or order.final_wh or Series.flat(order.contracted_wh, 0)
