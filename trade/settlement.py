"""What was delivered and what it costs: readings of a meter -> shares of its orders -> lines at settled energy.

settled = min(contracted, metered) in every slot, at the contract's prices. When one meter serves several orders and
delivered less than was contracted, the orders share it in proportion to their contracts (pro-rata, the allocation
rule the published energy-trading guides recommend), in whole Wh, exactly: nothing is lost or made by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trade.money import Series
from trade.order import Order, SettlementResult
from trade.pricing import order_lines


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


def allocate_series(metered_wh: Series, contracted: Mapping[str, Series]) -> dict[str, Series]:
    """Slot by slot, the part of one meter's readings each order gets, over that order's own slots.

    The orders may cover different stretches, but on one grid and within the readings; raises ValueError when an
    order's slots have no reading. All orders that share a slot of the meter must be given together.
    """
    shares: dict[str, list[int]] = {order_id: [0] * len(series.values) for order_id, series in contracted.items()}
    offsets = {order_id: _offset(metered_wh, series) for order_id, series in contracted.items()}
    for index, metered in enumerate(metered_wh.values):
        in_slot = {
            order_id: series.values[index - offsets[order_id]]
            for order_id, series in contracted.items()
            if 0 <= index - offsets[order_id] < len(series.values)
        }
        for order_id, wh in allocate(metered, in_slot).items():
            shares[order_id][index - offsets[order_id]] = wh
    return {order_id: series.with_values(tuple(shares[order_id])) for order_id, series in contracted.items()}


def _offset(metered_wh: Series, series: Series) -> int:
    offset, rest = divmod(int((series.start - metered_wh.start).total_seconds()), metered_wh.slot_s)
    if series.slot_s != metered_wh.slot_s or rest:
        raise ValueError("the order's slots are not the meter's slots")
    if offset < 0 or offset + len(series.values) > len(metered_wh.values):
        raise ValueError("the readings do not cover the order")
    return offset


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
