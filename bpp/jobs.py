"""What this seller does without being asked: quotes run out, deliveries begin, meters are settled.

Every job looks for stored work and does it in small units of work, so it is safe to run twice, in two replicas, or
after a crash: rows that another worker has are skipped, and what was done is found done. Quotes run out on the wall
clock; deliveries begin and end on the trading clock, also whenever a driven one is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from beckn.node import Job, Node
from bpp import contract, seller, shelf
from bpp.config import SellerSettings
from bpp.shop import Shop
from store import orders, readings, transfers
from trade.money import Series
from trade.order import Order


def jobs(settings: SellerSettings, shop: Callable[[Node], Shop]) -> list[Job]:
    """The table of this node's jobs."""

    async def expire(node: Node) -> None:
        await expire_quotes(shop(node))

    async def deliver(node: Node) -> None:
        await start_deliveries(shop(node))
        await settle_due(shop(node))

    return [
        Job("expire_quotes", every_s=settings.expire_every_s, run=expire),
        Job("deliver", every_s=settings.deliver_every_s, run=deliver, on_clock_move=True),
    ]


async def expire_quotes(shop: Shop) -> int:
    """End orders whose quote has run out and free what they held; how many there were."""
    done = 0
    while True:
        now = shop.node.wall.now()
        async with shop.node.database.unit_of_work() as uow:
            lapsed = await orders.expired_quotes(uow, now, shop.settings.job_batch_max)
            locked = await shelf.lock_all(uow, {order.offer_id for order in lapsed})
            for order in lapsed:
                decision = seller.expire(order, locked[order.offer_id], now_wall=now)
                locked[order.offer_id] = decision.offer
                await orders.save(uow, decision.order)
            for offer in locked.values():
                await shelf.save_taken(uow, offer)
        done += len(lapsed)
        if len(lapsed) < shop.settings.job_batch_max:
            return done


async def start_deliveries(shop: Shop) -> int:
    """Tell the buyers of contracts whose first slot has begun; how many there were."""
    done = 0
    while True:
        at = shop.moment()
        async with shop.node.database.unit_of_work() as uow:
            begun = await orders.to_start(uow, at.trading, shop.settings.job_batch_max)
            for order in begun:
                running = contract.start(order, now_wall=at.wall)
                await orders.save(uow, running)
                await shop.tell(uow, running, "on_status")
        done += len(begun)
        if len(begun) < shop.settings.job_batch_max:
            return done


async def settle_due(shop: Shop) -> int:
    """Settle every meter with contracts that are over and measured; how many contracts that were."""
    done, meter_id = 0, ""
    while True:
        async with shop.node.database.unit_of_work() as uow:
            meters = await orders.to_settle(
                uow, shop.node.trading.now(), after=meter_id, limit=shop.settings.job_batch_max
            )
        for meter_id in meters:
            done += await settle_meter(shop, meter_id)
        if len(meters) < shop.settings.job_batch_max:
            return done


async def settle_meter(shop: Shop, meter_id: str) -> int:
    """Settle everything that is over and measured on one meter; how many contracts that were."""
    done = 0
    while True:
        settled = await _settle_batch(shop, meter_id)
        done += settled
        if settled < shop.settings.job_batch_max:
            return done


async def _settle_batch(shop: Shop, meter_id: str) -> int:
    """Settle some contracts of one meter: orders, money and letters in one unit of work."""
    at = shop.moment()
    async with shop.node.database.unit_of_work() as uow:
        if not await orders.claim_meter(uow, meter_id):
            return 0  # another worker is at it
        over = await orders.measured_on_meter(uow, meter_id, at.trading, shop.settings.job_batch_max)
        over = [order for order in over if order.contracted_wh.slot_s == over[0].contracted_wh.slot_s]
        if not over:
            return 0
        grid = _span(over)
        metered = await readings.series(uow, meter_id, "EXPORT", grid)
        due = {order.order_id for order in over if _is_measured(order, grid, metered)}
        sharing = await orders.on_meter(uow, meter_id, grid.start, grid.end)
        metered_wh = grid.with_values(tuple(wh or 0 for wh in metered))
        settled = contract.settle_meter(sharing, metered_wh=metered_wh, due=due, at=at)
        for entry in settled:
            await orders.save(uow, entry.order)
            await shop.tell(uow, entry.order, "on_status")
        await transfers.post(uow, [transfer for entry in settled for transfer in entry.transfers])
    return len(settled)


def _span(over: Sequence[Order]) -> Series:
    """Zeros over the slots from the first to the last that hold energy of any of these orders."""
    bounds = [orders.energy_bounds(order) for order in over]
    start, slot_s = min(begin for begin, _ in bounds), over[0].contracted_wh.slot_s
    end: datetime = max(end for _, end in bounds)
    return Series(start, slot_s, (0,) * (int((end - start).total_seconds()) // slot_s))


def _is_measured(order: Order, grid: Series, metered: Sequence[Any]) -> bool:
    """True when every slot in which the order has energy has a reading."""
    offset = int((order.contracted_wh.start - grid.start).total_seconds()) // grid.slot_s
    return all(metered[offset + index] is not None for index, wh in enumerate(order.contracted_wh.values) if wh)
