"""The wake-ups of the buyer's node. Each takes one order at a time, locked, in a unit of work of its own.

Only deliveries start in dozens: those of a street all begin at midnight, nothing is decided about them, and
nobody is written to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from bap import buyer, closing, letters, metering, standing_runs
from beckn.jobs import Job
from beckn.node import Node
from store import buyer_orders, orders
from store.db import UnitOfWork

#: Orders that one run of a job works on at most; the next run goes on.
ORDERS_EACH_RUN = 500
#: Deliveries that start in one unit of work.
STARTED_AT_ONCE = 50


async def chase_unanswered(node: Node) -> None:
    """End drafts that nobody answered; ask how orders stand whose confirm, cancel or update was not answered."""
    await _one_by_one(node, _chase_next)


async def _chase_next(node: Node, uow: UnitOfWork) -> bool:
    now = node.wall.now()
    due = await orders.unanswered(uow, now, 1)
    for order in due:
        message_id = letters.new_message_id()
        step = buyer.note_silence(order, message_id=message_id, now=now, wait=node.settings.contract_wait)
        kept = await letters.keep(uow, node, step, before=order, now=now)
        letters.announce(uow, node, kept, answers=order.awaiting_message_id)
        if kept.awaiting_until is not None:
            await closing.ask_status(node, uow, kept, message_id)
    return bool(due)


async def expire_quotes(node: Node) -> None:
    """End drafts whose quote ran out before it was confirmed."""
    await _one_by_one(node, _expire_next)


async def _expire_next(node: Node, uow: UnitOfWork) -> bool:
    now = node.wall.now()
    due = await orders.expired_quotes(uow, now, 1)
    for order in due:
        letters.announce(uow, node, await letters.keep(uow, node, buyer.expire(order, now=now), before=order, now=now))
    return bool(due)


async def start_deliveries(node: Node) -> None:
    """Contracts whose first slot has begun (trading clock) are being delivered."""
    await _one_by_one(node, _start_next)


async def _start_next(node: Node, uow: UnitOfWork) -> bool:
    due = await orders.to_start(uow, node.trading.now(), STARTED_AT_ONCE)
    for order in due:
        step = buyer.start_delivery(order, now=node.wall.now())
        if step is not None:
            letters.announce(uow, node, await letters.keep(uow, node, step, before=order, now=node.wall.now()))
    return bool(due)


async def ask_about_late_settlements(node: Node) -> None:
    """Speak once more about orders that should have been settled long ago: a word on either side may have been lost."""
    await _one_by_one(node, _ask_next)


async def _ask_next(node: Node, uow: UnitOfWork) -> bool:
    late = node.trading.now() - timedelta(seconds=node.settings.settle_late_s)
    due = await buyer_orders.lock_overdue(uow, ended_before=late, now_wall=node.wall.now(), limit=1)
    for order in due:
        await closing.tell_again(node, uow, order)
    return bool(due)


async def _one_by_one(node: Node, work: Callable[[Node, UnitOfWork], Awaitable[bool]]) -> None:
    """Repeat the work in fresh units of work until there is none, or enough for one run."""
    for _ in range(ORDERS_EACH_RUN):
        async with node.database.unit_of_work() as uow:
            if not await work(node, uow):
                return


#: What wakes up when: the first three also watch deadlines of `trade.order.DEADLINES`.
JOBS = (
    Job("chase_unanswered", 2.0, chase_unanswered),
    Job("expire_quotes", 5.0, expire_quotes),
    Job("start_deliveries", 30.0, start_deliveries, on_clock_move=True),
    Job(metering.JOB, 5.0, metering.allocate, on_clock_move=True),
    Job("close_overdue", 30.0, closing.close_overdue, on_clock_move=True),
    Job("ask_about_late_settlements", 60.0, ask_about_late_settlements),
    Job("start_standing_runs", 5.0, standing_runs.start_due, on_clock_move=True),
    Job("go_on_with_standing_runs", 1.0, standing_runs.go_on),
)
