"""What a seller's letter says of how an order ends, worked on: decide by `settling` and `disputes`, keep, answer.

Runs in the unit of work of the letter, the call or the job that brought the news, so what was decided, the money and
the letter that tells the seller commit together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from bap import disputes, letters, metering, settling, shares, translate
from bap.buyer import Step
from bap.disputes import Told
from bap.settling import Tell, Verdict, Word
from bap.translate import OrderView
from beckn.node import Node
from store import events, transfers
from store.db import UnitOfWork
from trade import deadlines, ledger
from trade import disputes as figures
from trade.order import Order, OrderState

log = structlog.get_logger("bap.reckoning")

#: Events that carry the message_id of a letter in which we told our allocation.
_ALLOCATED = ["order.allocated", "order.allocation_corrected", "order.asked"]


async def hear(uow: UnitOfWork, node: Node, order: Order, view: OrderView, *, message_id: str) -> Order:
    """All that a seller's on_status or on_update says of allocations, settlement, dispute and resolution, in turn."""
    at, outcome, round_before = letters.moment(node), view.outcome, order.alloc_round
    if view.status == "COMPLETE" or outcome.seller_alloc is not None:
        word = await _word(uow, order, view, message_id)
        verdict = settling.record_word(order, word, purse=await letters.purse(uow, order), at=at)
        order = await carry_out(uow, node, order, verdict)
        if order.alloc_round > round_before:
            uow.after_commit(lambda: node.jobs.wake(metering.JOB))
    said = outcome.dispute
    if said is not None and said.is_open:
        told = Told(said.dispute_id, said.reason, said.total_milli, said.until)
        paid = await paid_milli(uow, order)
        order = await _keep(uow, node, order, disputes.hear(order, told, paid_milli=paid, at=at))
    end = outcome.resolution
    if end is not None and end.by != "BUYER" and order.dispute and order.dispute.dispute_id == end.dispute_id:
        told = Told(end.dispute_id, end.note, end.total_milli, outcome=end.outcome)
        purse = await letters.purse(uow, order)
        order = await _keep(uow, node, order, disputes.hear_resolution(order, told, purse=purse, at=at))
    return order


async def _word(uow: UnitOfWork, order: Order, view: OrderView, message_id: str) -> Word:
    """The seller's word in the terms of the use case. A one-sided seller's is its readings."""
    outcome, is_two_sided = view.outcome, order.policy.is_two_sided
    sellers = outcome.seller_alloc.energy_wh if outcome.seller_alloc and is_two_sided else view.metered_wh
    heard = outcome.buyer_alloc.energy_wh if outcome.buyer_alloc else None
    is_answer = False
    if is_two_sided and order.buyer_alloc_wh is not None and heard != order.buyer_alloc_wh:
        newest = await events.newest(uow, f"order:{order.order_id}", _ALLOCATED)
        is_answer = bool(newest) and newest[-1][1].get("message_id") == message_id
    return Word(
        seller_wh=sellers,
        heard_wh=heard,
        final_wh=outcome.final.energy_wh if outcome.final and is_two_sided else None,
        round_=outcome.final.round_ if outcome.final else 1,
        lines=view.settlement.lines if view.settlement else view.lines,
        is_final=view.settlement is not None or (view.status == "COMPLETE" and not is_two_sided),
        is_answer=is_answer,
        is_utilitys=outcome.buyer_alloc is not None and outcome.buyer_alloc.is_utilitys,
    )


async def carry_out(uow: UnitOfWork, node: Node, order: Order, verdict: Verdict) -> Order:
    """Keep what was decided, and tell the seller what it has to hear."""
    order = await _keep(uow, node, order, verdict.step)
    if verdict.tell is Tell.ALLOCATION:
        return await tell_allocation(uow, node, order)
    if verdict.tell is Tell.DISPUTE:
        own = settling.own_result(order, at=letters.moment(node))
        final_wh = own.delivered_wh if own else None
        return await _tell(uow, node, order, translate.dispute_to_wire(order, final_wh, shares.round_of(order)))
    if verdict.tell is Tell.RESOLUTION:
        return await tell_resolution(uow, node, order)
    return order


async def say_again(uow: UnitOfWork, node: Node, order: Order) -> Order:
    """What a seller that was away for as long as delivery is tried still has to hear, in a fresh letter.

    The objection, while it is open; our allocation, as long as a word of ours can move money.
    """
    at = letters.moment(node)
    if order.state is OrderState.DISPUTED:
        return await carry_out(uow, node, order, Verdict(None, Tell.DISPUTE))
    if order.buyer_alloc_wh is not None and at.trading <= deadlines.corrections_until(order):
        return await tell_allocation(uow, node, order)
    return order


async def tell_allocation(uow: UnitOfWork, node: Node, order: Order) -> Order:
    """Our allocation once more, for a seller that seems not to know it."""
    alloc_wh = shares.told_wh(order)
    return await _tell(uow, node, order, translate.allocation_to_wire(order, alloc_wh, shares.round_of(order)))


async def tell_resolution(uow: UnitOfWork, node: Node, order: Order, note: str = "") -> Order:
    """How the dispute was decided here, and what we owe now."""
    due_milli = await paid_milli(uow, order)
    return await _tell(uow, node, order, translate.resolution_to_wire(order, due_milli, note))


async def paid_milli(uow: UnitOfWork, order: Order) -> int:
    """What was paid to the seller's node for the order, by our books: its settlement, or its cancellation fee."""
    if order.settlement is not None:
        return figures.due_milli(order.settlement)
    fee = await transfers.get(uow, f"{order.order_id}/cancel")
    return fee.moved_milli(ledger.payable(order.counterparty_id)) if fee else 0


async def _tell(uow: UnitOfWork, node: Node, order: Order, message: dict[str, Any]) -> Order:
    """An update to the seller, with the event that lets its answer find the order; a seller that is gone gets none."""
    message_id, now = letters.new_message_id(), node.wall.now()
    try:
        await letters.send_about(uow, node, order, action="update", message=message, message_id=message_id, now=now)
    except letters.SellerUnknown:
        log.warning("seller_unknown", order_id=order.order_id, seller_id=order.counterparty_id, state=order.state)
        return order
    asked = ("order.asked", {"action": "update", "message_id": message_id})
    return await letters.keep(uow, node, Step(replace(order, updated_at=now), (), (asked,)), before=order, now=now)


async def _keep(uow: UnitOfWork, node: Node, order: Order, step: Step | None) -> Order:
    return order if step is None else await letters.keep(uow, node, step, before=order, now=node.wall.now())
