"""What was delivered and what it costs: readings of a meter -> shares of its orders -> lines at settled energy.

settled = min(contracted, metered) in every slot, at the contract's prices. When one meter serves several orders and
delivered less than was contracted, the orders share it in proportion to their contracts (pro-rata, the allocation
rule the published energy-trading guides recommend), in whole Wh, exactly: nothing is lost or made by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trade.money import Series
from trade.order import Order
from trade.pricing import order_lines
from trade.quote import SettlementResult


def allocate(metered_wh: int, contracted: Mapping[str, int]) -> dict[str, int]:
    """The Wh each order gets of one slot's reading: contract x min(1, M / sum), by largest remainder.

    The shares sum to min(metered, contracted) exactly and none exceeds its contract. Equal remainders are served in
    order of id, so both nodes and every repeat get the same. Raises ValueError for negative energy.
    """
    if metered_wh < 0 or any(wh < 0 for wh in contracted.values()):
        raise ValueError("energy is never negative: an export is a positive reading")
    total_wh = sum(contracted.values())
    if metered_wh >= total_wh:
        return dict(contracted)
    shares = {order_id: wh * metered_wh // total_wh for order_id, wh in contracted.items()}
    by_remainder = sorted(contracted, key=lambda order_id: (-(contracted[order_id] * metered_wh % total_wh), order_id))
    for order_id in by_remainder[: metered_wh - sum(shares.values())]:
        shares[order_id] += 1
    return shares


def settle(order: Order, *, metered_wh: Series, now: datetime) -> SettlementResult:
    """The order's settlement, from the part of the meter's delivery allocated to it (`now`: trading clock).

    delivered = min(contracted, metered) per slot: energy beyond the contract is not sold by it, energy below it is
    not paid. Wheeling is paid per kWh settled. The total never exceeds the quote of the contracted energy.
    """
    if not metered_wh.is_aligned(order.contracted_wh):
        raise ValueError("the readings and the contract cover different slots")
    if any(wh < 0 for wh in metered_wh.values):
        raise ValueError("energy is never negative: an export is a positive reading")
    delivered_wh = metered_wh.with_values(
        tuple(min(owed, metered) for owed, metered in zip(order.contracted_wh.values, metered_wh.values, strict=True))
    )
    return SettlementResult(delivered_wh=delivered_wh, lines=order_lines(order, energy_wh=delivered_wh), settled_at=now)
