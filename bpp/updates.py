"""What an `update` brings, once its order is locked: other energy, the buyer's allocation, a dispute or its end.

Each function does its part in the letter's unit of work and returns the order as the answer shall show it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from bpp import cascade, cascade_desk, casework, contract, disputes, settling, shelf, translate
from bpp.shop import Shop
from bpp.translate import AllocationNotice, DisputeNotice, ResolutionNotice, UpdateNotice, UpdateRequest
from store import audit, orders
from trade.order import Order


async def take(shop: Shop, uow: Any, order: Order, notice: UpdateNotice) -> Order:
    """Do what the update asks; raises UnableToUpdate or WireRefusal."""
    if isinstance(notice, UpdateRequest):
        return await _change(shop, uow, order, notice)
    if isinstance(notice, AllocationNotice):
        return await _allocate(shop, uow, order, notice)
    if isinstance(notice, DisputeNotice):
        return await _dispute(shop, uow, order, notice)
    return await _resolve(shop, uow, order, notice)


async def _change(shop: Shop, uow: Any, order: Order, request: UpdateRequest) -> Order:
    """The contract over other energy, while the gate is open and energy is free."""
    decision = contract.update(
        order,
        await shelf.lock_known(uow, order.offer_id),
        requested_wh=request.requested_wh,
        energy_wh=request.energy_wh,
        at=shop.moment(),
        quote_id=str(uuid.uuid4()),
    )
    cascade.check_not_more(order, decision.order.contracted_wh)
    await orders.save(uow, decision.order)
    await shelf.save_taken(uow, decision.offer)
    await cascade_desk.follow(shop, uow, order, decision.order)
    return decision.order


async def _allocate(shop: Shop, uow: Any, order: Order, notice: AllocationNotice) -> Order:
    """The buyer's figure kept; if that is all that was missing, the order is settled, and the answer says so.

    Contracts settled in rounds go through them together, so they are left to the job, which is woken.
    """
    heard = settling.hear(order, notice.allocated_wh, round_=notice.round, at=shop.moment())
    if heard == order:
        return order
    if order.policy.rounds > 1 and order.settlement is None:
        await orders.save(uow, heard)
        await casework.note(uow, heard)
        uow.after_commit(lambda: shop.node.jobs.wake(casework.SETTLING_JOB))
        return replace(heard, seller_alloc_wh=None, final_wh=None)  # the answer is about the open round alone
    return await casework.look_at(shop, uow, heard, before=order, quietly=True)


async def _dispute(shop: Shop, uow: Any, order: Order, notice: DisputeNotice) -> Order:
    """The buyer's objection, marked here, too."""
    heard = disputes.hear(
        order,
        dispute_id=notice.dispute_id,
        reason=notice.reason,
        total_milli=translate.total_from_wire(notice, order.currency),
        until=notice.until,
        at=shop.moment(),
    )
    if heard != order:
        await orders.save(uow, heard)
        await note_act(shop, uow, order.counterparty_id, "dispute.opened", heard, note=notice.reason)
    return heard


async def _resolve(shop: Shop, uow: Any, order: Order, notice: ResolutionNotice) -> Order:
    """The buyer's side ended the dispute."""
    outcome = disputes.hear_resolution(
        order,
        dispute_id=notice.dispute_id,
        outcome=notice.outcome,
        total_milli=translate.total_from_wire(notice, order.currency),
        at=shop.moment(),
    )
    if outcome is None:
        return order
    await casework.keep(shop, uow, outcome, before=order)
    await note_act(shop, uow, order.counterparty_id, "dispute.resolved", outcome.order, note=notice.note)
    return outcome.order


async def note_act(shop: Shop, uow: Any, actor: str, act: str, order: Order, *, note: str) -> None:
    """Write down who did what about a dispute."""
    dispute = order.dispute
    detail = {
        "dispute_id": dispute.dispute_id if dispute else "",
        "outcome": dispute.resolution if dispute else "",
        "note": note,
        "buyer_total_milli": dispute.buyer_total_milli if dispute else None,
        "seller_total_milli": dispute.seller_total_milli if dispute else None,
    }
    now = shop.node.wall.now()
    await audit.add(uow, actor=actor, act=act, subject=f"order:{order.order_id}", detail=detail, now=now)
