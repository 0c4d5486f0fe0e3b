"""The day itself and the morning after: orders are watched, meters are read, orders complete and are rated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from api.series import rfc3339
from cli.street.calls import Node
from cli.street.cast import Member
from cli.street.evening import PATIENCE_S, tell
from cli.street.stage import Placed, Stage, TradingDay, in_parallel
from energy_catalog import fontana

#: When orders are looked at, after the day began.
NOON = timedelta(hours=12)
#: When meters are read and when everything is settled, after the day ended.
READING_AFTER, SETTLEMENT_AFTER = timedelta(minutes=5), timedelta(minutes=10)
#: How long to wait for the last order of a day to complete (wall clock), and between looks, seconds.
COMPLETION_S_MAX, LOOK_EVERY_S = 60.0, 0.1

#: One order in this many is asked about at noon, and one rated at the end (at least one of a day).
ASKED_ONE_IN = 30
#: What buyers rate, where the seller lets them.
_RATED = "Order"
_OVER = frozenset({"COMPLETED", "CANCELLED", "EXPIRED", "REFUSED"})


async def watch(stage: Stage, today: TradingDay) -> None:
    """At noon some buyers ask how their orders stand and where to watch them."""
    await stage.move_clock(today.starts_at + NOON)

    async def ask(placed: Placed) -> None:
        await tell(stage.app, placed, "status")
        await tell(stage.app, placed, "track")

    await in_parallel(ask, some([placed for placed in today.orders if placed.is_contracted]))


async def settle(stage: Stage, today: TradingDay) -> None:
    """Read the meters after the day, let the nodes settle, wait until the buyers know, and let them rate."""
    await stage.move_clock(today.ends_at + READING_AFTER)
    await in_parallel(lambda member: _read_meter(stage, today, member), stage.members)
    await stage.move_clock(today.ends_at + SETTLEMENT_AFTER)
    await _completion(stage, today)
    completed = [placed for placed in today.orders if placed.state == "COMPLETED"]
    sellers = sorted({placed.deal.ask.seller_id for placed in completed})
    ratable = dict(zip(sellers, await in_parallel(lambda seller: _categories(stage, seller), sellers), strict=True))
    ratable_orders = [placed for placed in completed if _RATED in ratable[placed.deal.ask.seller_id]]
    await in_parallel(lambda placed: _rate(stage, placed), some(ratable_orders))


def some(orders: Sequence[Placed]) -> Sequence[Placed]:
    """One order in so many, and at least one: nobody looks at every one of its orders at noon, or rates them all."""
    return orders[::ASKED_ONE_IN]


async def _read_meter(stage: Stage, today: TradingDay, member: Member) -> None:
    """What the home's meter counted in every hour of the day: export for its seller's node, import for the buyers'."""
    await _upload(stage.prosumers[member.number], today, member, "EXPORT", member.home.surplus_wh)
    await _upload(stage.app, today, member, "IMPORT", member.home.deficit_wh)


async def _upload(node: Node, today: TradingDay, member: Member, flow: str, measured: Callable[[int], int]) -> None:
    readings = [{"starts_at": rfc3339(fontana.starts_at(hour)), "energy_wh": measured(hour)} for hour in today.hours]
    body = {"flow": flow, "slot_s": 3600, "readings": readings}
    await node.post(f"/api/meters/{member.meter_id}/readings", body)


async def _completion(stage: Stage, today: TradingDay) -> None:
    """Look at every buyer's orders until they are over; those that are not in time are written down as failures."""
    give_up_at = time.monotonic() + COMPLETION_S_MAX
    waiting = today.orders
    while waiting:
        transactions = {str(placed.order["transaction_id"]) for placed in waiting}
        newest = await in_parallel(lambda transaction: _orders(stage, transaction), sorted(transactions))
        by_id = {str(order["order_id"]): order for orders in newest for order in orders}
        for placed in waiting:
            placed.order = by_id[placed.order_id]
        waiting = [placed for placed in waiting if placed.state not in _OVER]
        if waiting and time.monotonic() > give_up_at:
            today.failures += [f"{today.day}: order {placed.order_id} is still {placed.state}" for placed in waiting]
            return
        if waiting:
            await asyncio.sleep(LOOK_EVERY_S)


async def _orders(stage: Stage, transaction_id: str) -> list[dict[str, Any]]:
    return list((await stage.app.get("/api/orders", transaction_id=transaction_id, limit=500))["items"])


async def _categories(stage: Stage, seller_id: str) -> set[str]:
    """What a seller lets itself be rated for."""
    answer = await stage.app.post(f"/api/sellers/{seller_id}/rating_categories", wait_s=PATIENCE_S)
    return {item["id"] for item in answer["items"] or []}


async def _rate(stage: Stage, placed: Placed) -> None:
    """Five for full delivery, down to one for none."""
    contracted = sum(placed.order["contracted"]["energy_wh"])
    delivered = sum(placed.order["settlement"]["delivered"]["energy_wh"])
    value = 1 + 4 * delivered // max(contracted, 1)
    await tell(stage.app, placed, "rating", {"category": _RATED, "value": str(value)})
