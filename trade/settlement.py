"""What of a contract is settled and what it costs: both sides' allocations -> final energy -> flows and lines.

The rule is the contract's own (`order.policy`), kept whole in the order, so both nodes compute the same from the same
allocations, today and when a reading is corrected next month.

    ONE_SIDED    final = min(contracted, a_S): the seller's meter alone
    MIN_OF_TWO   final = min(contracted, a_S, a_B): the lesser of what both meters say
    DEVIATION    final as above, but the contract is paid in full, and each side settles what its own meter missed with
                 its utility at the retailer's tariff: load and generation count up to the contract, never beyond

a_S and a_B are the sides' newest allocations (`allocation`), in energy injected by the seller. Curtailment needs no
rule of its own: it lowers `contracted_wh`, so billable = min(delivered, contracted - curtailed), and energy that was
taken back was never missing. What each charge is and how it is rounded: `flows`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trade import flows
from trade.flows import Quantities
from trade.money import Series
from trade.order import Order
from trade.policy import PenaltyRule, Policy, SettlementRule
from trade.quote import QuoteLine, SettlementResult


class OneMeter(ValueError):
    """Buyer and seller of a contract are the same meter: energy that nobody traded."""


def check_meters(order: Order) -> None:
    """Refuse a contract of a meter with itself; raises OneMeter."""
    if order.meter_id and order.meter_id == order.buyer_meter_id:
        raise OneMeter(f"meter {order.meter_id!r} is on both sides; a contract needs two meters")


def final_of(
    *, contracted_wh: Series, buyer_alloc_wh: Series | None, seller_alloc_wh: Series, policy: Policy
) -> Series:
    """The energy both sides' allocations settle, per slot. The buyer's counts unless the policy is ONE_SIDED.

    Raises ValueError for a negative allocation (an export is a positive figure, whatever a meter's sign is), for other
    slots than the contract's, and for a two-sided policy without the buyer's allocation: a side that stayed silent is
    a series of zeros, said on purpose.
    """
    sides = [seller_alloc_wh]
    if policy.is_two_sided:
        if buyer_alloc_wh is None:
            raise ValueError(f"policy {policy.id} needs the buyer's allocation; a silent side is a series of zeros")
        sides.append(buyer_alloc_wh)
    for series in sides:
        if not series.is_aligned(contracted_wh):
            raise ValueError("the allocation and the contract cover different slots")
        if any(wh < 0 for wh in series.values):
            raise ValueError("energy is never negative: an export is a positive reading")
    values = [series.values for series in (contracted_wh, *sides)]
    return contracted_wh.with_values(tuple(min(slot) for slot in zip(*values, strict=True)))


def settle(
    order: Order,
    *,
    seller_alloc_wh: Series,
    buyer_alloc_wh: Series | None = None,
    final_wh: Series | None = None,
    now: datetime,
    version: int = 1,
) -> SettlementResult:
    """The order's settlement from both sides' allocations (`now`: trading clock).

    `final_wh` replaces what the rule would make of them, where the sides agreed on another figure; it lies between 0
    and the contract. A correction is the same call with the next `version`: the ledger books the difference of the two
    results. Raises ValueError as `final_of` does, and OneMeter.
    """
    check_meters(order)
    contracted = order.contracted_wh
    ruled = final_of(
        contracted_wh=contracted,
        buyer_alloc_wh=buyer_alloc_wh,
        seller_alloc_wh=seller_alloc_wh,
        policy=order.policy,
    )
    final = ruled if final_wh is None else final_wh
    if not final.is_aligned(contracted) or any(
        not 0 <= wh <= owed for wh, owed in zip(final.values, contracted.values, strict=True)
    ):
        raise ValueError("the final energy covers the contract's slots and lies between 0 and the contract")
    bought = buyer_alloc_wh if order.policy.is_two_sided and buyer_alloc_wh else contracted
    slots = [
        Quantities(owed, settled, min(owed, buyer), min(owed, seller))
        for owed, settled, buyer, seller in zip(
            contracted.values, final.values, bought.values, seller_alloc_wh.values, strict=True
        )
    ]
    charged = flows.charge(order, slots)
    return SettlementResult(
        delivered_wh=final, lines=charged.lines, settled_at=now, flows=charged.flows, version=version
    )


def quote_lines(order: Order, energy_wh: Series) -> tuple[QuoteLine, ...]:
    """What the buyer pays when all of `energy_wh` is delivered and taken: the lines of a quote, under its policy.

    Raises ValueError for other slots than the order's prices and for negative energy.
    """
    if not energy_wh.is_aligned(order.price_micro_per_kwh):
        raise ValueError("energy and price cover different slots")
    if any(wh < 0 for wh in energy_wh.values):
        raise ValueError("energy is never negative")
    return flows.charge(order, _in_full(energy_wh)).lines


def exposure_milli(order: Order) -> int:
    """The most the buyer can come to owe for the contract, thousandths of a minor unit: what escrow has to hold.

    Without a penalty on the buyer and without negative prices nothing costs more than full delivery, the quote.
    Otherwise a slot costs most either delivered in full or not at all (its cost is convex in the energy settled), and
    the bound is the sum of the dearer one of each slot, plus what roundings can add. Never below zero.
    """
    policy, contracted = order.policy, order.contracted_wh
    pays_penalty = (
        policy.settlement is SettlementRule.MIN_OF_TWO
        and policy.penalty is PenaltyRule.ATTRIBUTED
        and policy.penalty_micro_per_kwh > 0
    )
    full = _in_full(contracted)
    if not pays_penalty and min(order.price_micro_per_kwh.values) >= 0:
        return max(0, sum(line.amount_milli for line in flows.charge(order, full).lines))
    bound = flows.rounding_slack(order)
    for index, slot in enumerate(full):
        untaken = Quantities(slot.contracted_wh, 0, 0, slot.contracted_wh)
        undelivered = Quantities(slot.contracted_wh, 0, slot.contracted_wh, 0)
        bound += max(flows.exact_cost(order, index, case) for case in (slot, untaken, undelivered))
    return max(0, flows.milli_above(bound, order.currency))


def delivered_per_mille(orders: Iterable[Order]) -> int | None:
    """A provider's score: energy its meter delivered of what it promised, in thousandths, over its settled orders.

    score = floor(1000 x sum min(contracted, a_S) / sum contracted). What a buyer did not take is not held against the
    seller. A published penalty may be far below the price, which pays sellers to promise too much; this figure is what
    they lose by it. None while nothing was promised.
    """
    settled = [order for order in orders if order.settlement is not None]
    promised_wh = sum(order.contracted_wh.total for order in settled)
    return 1000 * sum(map(kept_wh, settled)) // promised_wh if promised_wh else None


def kept_wh(order: Order) -> int:
    """What the seller's meter delivered of what a settled order promised: sum of min(contracted, a_S)."""
    measured = order.seller_alloc_wh or (order.settlement.delivered_wh if order.settlement else None)
    if measured is None:
        return 0
    return sum(min(pair) for pair in zip(order.contracted_wh.values, measured.values, strict=True))


def _in_full(energy_wh: Series) -> list[Quantities]:
    """Every slot contracted, delivered and taken alike."""
    return [Quantities(wh, wh, wh, wh) for wh in energy_wh.values]
