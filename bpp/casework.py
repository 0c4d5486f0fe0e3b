"""Settling with the store: find what a meter's news concerns, decide (`settling`), save, move money, tell.

Whoever settles a meter claims it for the unit of work, so that two workers do not do the same; a contract's own row is
locked besides. What is not finished keeps its note (`store.settling`), so nothing is lost by stopping anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bpp import settling
from bpp.shop import Shop
from store import audit, orders, providers, readings, transfers
from store import settling as settling_notes
from store.settling import Note
from trade.money import Series
from trade.order import Order, Side

#: The flow of a meter that a seller is paid for.
EXPORT = "EXPORT"
#: The job that settles.
SETTLING_JOB = "deliver"


async def settle_meter(shop: Shop, meter_id: str) -> int:
    """Look at one meter, if there is news of it: what an upload of readings calls when it is done."""
    async with shop.node.database.unit_of_work() as uow:
        notes = await settling_notes.noted(uow, EXPORT, meter_id=meter_id)
    return sum([await settle_noted(shop, note) for note in notes])


async def note(uow: Any, order: Order) -> None:
    """Have the order's meter looked at again over its time: something but a reading has changed who shares it."""
    start, end = orders.energy_bounds(order)
    await settling_notes.note(uow, order.meter_id, EXPORT, start, end)


async def settle_noted(shop: Shop, note: Note) -> int:
    """Settle what a note asks for, some contracts in a unit of work, and strike it; how many there were."""
    done, after = 0, None
    while True:
        async with shop.node.database.unit_of_work() as uow:
            if not await orders.claim_meter(uow, note.meter_id):
                return done  # another worker is at it; the note stays for whoever comes next
            batch = await orders.lock_on_meter(
                uow, note.meter_id, note.starts_at, note.ends_at, after=after, limit=shop.settings.job_batch_max
            )
            done += await _settle(shop, uow, batch) if batch else 0
            if len(batch) < shop.settings.job_batch_max:
                await settling_notes.strike(uow, note)
                return done
            after = orders.place(batch[-1])


async def _settle(shop: Shop, uow: Any, batch: Sequence[Order]) -> int:
    """Settle locked orders of one meter: orders, money and letters in one unit of work."""
    outcomes = settling.look(await meter_of(uow, batch), batch, at=shop.moment())
    before = {order.order_id: order for order in batch}
    for outcome in outcomes:
        await keep(shop, uow, outcome, before=before[outcome.order.order_id])
    return len([outcome for outcome in outcomes if outcome.tell])


async def meter_of(uow: Any, batch: Sequence[Order]) -> settling.Meter:
    """What is known of the meter of these orders over their slots."""
    meter_id, own = batch[0].meter_id, {order.order_id: order for order in batch}
    start = min(order.contracted_wh.start for order in batch)
    end = max(order.contracted_wh.end for order in batch)
    claims = {order.order_id: order for order in await orders.on_meter(uow, meter_id, start, end)} | own
    grid = settling.grid_of(batch, list(claims.values()))
    return settling.Meter.of(grid, await readings.series(uow, meter_id, EXPORT, grid), list(claims.values()))


async def keep(shop: Shop, uow: Any, outcome: settling.Outcome, *, before: Order, quietly: bool = False) -> None:
    """Save an outcome, score it, move its money, and tell the buyer unless an answer does (`quietly`)."""
    order = outcome.order
    await orders.save(uow, order)
    score = settling.score(before, order)
    if score is not None:
        await providers.add_score(
            uow, order.provider_id, score.contracted_wh, score.delivered_wh, settled=score.settled
        )
    await transfers.post(uow, outcome.transfers)
    if outcome.tell and not quietly:
        await shop.tell(uow, outcome.told or order, outcome.tell)


async def look_at(shop: Shop, uow: Any, order: Order, *, before: Order, quietly: bool) -> Order:
    """One locked order, changed just now, against its meter as it is: saved, settled if it is ready."""
    at, meter = shop.moment(), await meter_of(uow, [order])
    outcome = settling.decide(order, meter, settling.shares(meter, now_trading=at.trading)[order.order_id], at=at)
    outcome = outcome or settling.Outcome(order)
    await keep(shop, uow, outcome, before=before, quietly=quietly)
    return outcome.order


async def take_figures(shop: Shop, uow: Any, order: Order, figures: Mapping[Side, Series]) -> bool:
    """The utility's own figures for sides of a locked order, and what follows from them; False when they cannot count.

    The buyer's node is told by on_update; who said what is in the audit trail.
    """
    changed = settling.replaced(order, figures, at=shop.moment())
    if changed is None:
        return False
    if changed == order:
        return True  # said again
    await look_at(shop, uow, changed, before=order, quietly=False)
    detail = {side.value: list(series.values) for side, series in figures.items()}
    await audit.add(
        uow,
        actor=order.utility_id,
        act="allocation.replaced",
        subject=f"order:{order.order_id}",
        detail=detail,
        now=shop.node.wall.now(),
    )
    return True
