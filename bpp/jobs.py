"""What this seller does without being asked: quotes run out, deliveries begin, meters are settled, disputes lapse.

Every job looks for stored work and does it in small units of work, so it is safe to run twice, in two replicas, or
after a crash: rows that another worker has are skipped, and what was done is found done. Quotes run out on the wall
clock; deliveries begin and end on the trading clock, also whenever a driven one is moved.
"""

from __future__ import annotations

from collections.abc import Callable

from beckn.node import Job, Node
from bpp import cascade_desk, casework, contract, disputes, seller, shelf, updates
from bpp.casework import EXPORT
from bpp.config import SellerSettings
from bpp.shop import Shop
from store import offer_search, orders
from store import settling as settling_notes
from trade.order import Side


def jobs(settings: SellerSettings, shop: Callable[[Node], Shop]) -> list[Job]:
    """The table of this node's jobs."""

    async def expire(node: Node) -> None:
        await expire_quotes(shop(node))

    async def deliver(node: Node) -> None:
        await delist_ended(shop(node))
        await start_deliveries(shop(node))
        await settle_due(shop(node))
        await lapse_disputes(shop(node))

    async def look_after_utility(node: Node) -> None:
        await cascade_desk.look_after(shop(node))

    table = [
        Job("expire_quotes", every_s=settings.expire_every_s, run=expire),
        Job(casework.SETTLING_JOB, every_s=settings.deliver_every_s, run=deliver, on_clock_move=True),
    ]
    if settings.utility_id:
        table.append(Job("ask_utility", every_s=settings.utility_look_every_s, run=look_after_utility))
    return table


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


async def delist_ended(shop: Shop) -> int:
    """Take offers whose slots are all over out of the searches; how many there were."""
    done = 0
    while True:
        async with shop.node.database.unit_of_work() as uow:
            ended = await offer_search.delist_ended(uow, shop.node.trading.now(), limit=shop.settings.job_batch_max)
        done += ended
        if ended < shop.settings.job_batch_max:
            return done


async def settle_due(shop: Shop) -> int:
    """Look at every meter with news or overdue contracts; how many contracts were settled or settled again."""
    done, meter_id = 0, ""
    await _note_overdue(shop)
    while True:
        async with shop.node.database.unit_of_work() as uow:
            notes = await settling_notes.noted(uow, EXPORT, after=meter_id, limit=shop.settings.job_batch_max)
        for note in notes:
            meter_id = note.meter_id
            done += await casework.settle_noted(shop, note)
        if len(notes) < shop.settings.job_batch_max:
            return done


async def _note_overdue(shop: Shop) -> None:
    """Have the meters looked at whose contracts wait for somebody who has been silent for too long."""
    after, limit = "", shop.settings.job_batch_max
    while True:
        async with shop.node.database.unit_of_work() as uow:
            meters = await orders.overdue(uow, shop.node.trading.now(), after=after, limit=limit)
            for meter_id, start, end in meters:
                await settling_notes.note(uow, meter_id, EXPORT, start, end)
        if len(meters) < limit:
            return
        after = meters[-1][0]


async def lapse_disputes(shop: Shop) -> int:
    """End the disputes that nobody decided in time: the lesser figure holds; how many there were."""
    done = 0
    while True:
        at = shop.moment()
        async with shop.node.database.unit_of_work() as uow:
            lapsed = await orders.lapsed_disputes(uow, Side.SELLER, at.trading, shop.settings.job_batch_max)
            for order in lapsed:
                outcome = disputes.lapse(order, at=at)
                await casework.keep(shop, uow, outcome, before=order)
                await updates.note_act(shop, uow, "deadline", "dispute.resolved", outcome.order, note="")
        done += len(lapsed)
        if len(lapsed) < shop.settings.job_batch_max:
            return done
