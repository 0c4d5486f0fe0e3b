"""The consumers' meters at work: every look at a meter with news tells the sellers what its contracts were allocated.

The database notes every meter that was read (`store.settling`), so no upload is forgotten, however it came in. A look
works on some weeks of a meter in each unit of work: orders, events and letters commit together. What could not be told
yet, because delivery is not over or another contract's round is behind, is found again by its missing allocation.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from bap import letters, shares, translate
from beckn.node import Node
from store import buyer_settling, orders, readings
from store import settling as notes
from store.db import UnitOfWork
from store.settling import Note
from trade.money import Series
from trade.order import Order
from trade.reading import IMPORT

log = structlog.get_logger("bap.metering")

#: The job that allocates; whoever brings news of a meter wakes it.
JOB = "allocate"
#: Meters asked for at once.
METERS_EACH_QUERY = 100
#: How much of a meter is worked on in one unit of work.
STRETCH = timedelta(days=7)


async def allocate(node: Node) -> None:
    """Look at every meter with news, then at those whose contracts have become due since."""
    after, found = "", True
    while found:
        async with node.database.unit_of_work() as uow:
            noted = await notes.noted(uow, IMPORT, after=after, limit=METERS_EACH_QUERY)
        for note in noted:
            await _look_at_noted(node, note)
        found, after = len(noted) == METERS_EACH_QUERY, noted[-1].meter_id if noted else after
    after, found = "", True
    while found:
        now_trading = node.trading.now()
        async with node.database.unit_of_work() as uow:
            meters = await buyer_settling.meters_to_allocate(uow, now_trading, after=after, limit=METERS_EACH_QUERY)
        for meter_id in meters:
            async with node.database.unit_of_work() as uow:
                span = await buyer_settling.span_to_allocate(uow, meter_id, now_trading)
            if span is not None:
                await look_at(node, meter_id, *span)
        found, after = len(meters) == METERS_EACH_QUERY, meters[-1] if meters else after


async def _look_at_noted(node: Node, note: Note) -> None:
    """Look at what a note tells of, and strike it when all of it was looked at."""
    if await look_at(node, note.meter_id, note.starts_at, note.ends_at):
        async with node.database.unit_of_work() as uow:
            await notes.strike(uow, note)


async def look_at(node: Node, meter_id: str, start: datetime, end: datetime) -> bool:
    """Allocate every contract that shares slots with [start, end); False when another worker is at the meter."""
    cursor: datetime | None = start
    while cursor is not None and cursor < end:
        async with node.database.unit_of_work() as uow:
            if not await orders.claim_meter(uow, f"import {meter_id}"):
                return False
            cursor = await buyer_settling.next_delivery(uow, meter_id, cursor)
            if cursor is None or cursor >= end:
                break
            stretch_end = min(end, cursor + STRETCH)
            await _allocate(node, uow, meter_id, cursor, stretch_end)
        cursor = stretch_end
    return True


async def _allocate(node: Node, uow: UnitOfWork, meter_id: str, start: datetime, end: datetime) -> None:
    now_trading = node.trading.now()
    touched = await buyer_settling.lock_on_meter(uow, meter_id, start, end)
    candidates = [order for order in touched if order.policy.is_two_sided and order.delivery_end <= now_trading]
    if not candidates:
        return
    first = min(order.contracted_wh.start for order in candidates)
    last = max(order.contracted_wh.end for order in candidates)
    everybody = await buyer_settling.lock_on_meter(uow, meter_id, first, last)
    due = [order for order in candidates if shares.is_allocation_due(order, everybody, now_trading=now_trading)]
    if not due:
        return
    grid = shares.grid(everybody, due)
    metered = await readings.series(uow, meter_id, IMPORT, grid)
    found = shares.allocate(everybody, due, like=grid, metered_wh=metered)
    for order in due:
        if order.order_id in found:
            await _tell(node, uow, order, found[order.order_id])


async def _tell(node: Node, uow: UnitOfWork, order: Order, alloc_wh: Series) -> None:
    """Keep our allocation and send it to the seller, if it is news."""
    message_id, now = letters.new_message_id(), node.wall.now()
    step = shares.record_allocation(order, alloc_wh, message_id=message_id, now=now)
    if step is None:
        return
    message = translate.allocation_to_wire(order, alloc_wh, shares.round_of(order))
    try:
        await letters.send_about(uow, node, order, action="update", message=message, message_id=message_id, now=now)
    except letters.SellerUnknown:
        log.warning("seller_unknown", order_id=order.order_id, seller_id=order.counterparty_id, state=order.state)
        return
    letters.announce(uow, node, await letters.keep(uow, node, step, before=order, now=now))
