"""Nothing stays open for ever: what happens to an order whose last deadline has passed on the trading clock.

    CONFIRMING, UNANSWERED           the seller never said whether there is a contract, and its time is over: refused
    ACTIVE, DELIVERING, CANCELLING   settled by what both sides said; who stayed silent counts as zero
    DISPUTED                         the lesser figure holds

Each frees the escrow. A seller that speaks later brings a correction, for as long as corrections are taken.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from bap import buyer, disputes, letters, reckoning, settling, translate
from bap.buyer import Step
from beckn.node import Node
from store import buyer_settling
from store.db import UnitOfWork
from trade import ledger
from trade.order import Order, OrderState

log = structlog.get_logger("bap.closing")

#: Orders that one run works on at most; the next goes on.
ORDERS_EACH_RUN = 1000


async def close_overdue(node: Node) -> None:
    """Close every order whose last deadline has passed, one in each unit of work."""
    for _ in range(ORDERS_EACH_RUN):
        async with node.database.unit_of_work() as uow:
            due = await buyer_settling.lock_past_due(uow, node.trading.now(), 1)
            for order in due:
                letters.announce(uow, node, await _close(node, uow, order))
        if not due:
            return


async def _close(node: Node, uow: UnitOfWork, order: Order) -> Order:
    log.info("order_overdue", order_id=order.order_id, state=order.state, seller_id=order.counterparty_id)
    at, purse = letters.moment(node), await letters.purse(uow, order)
    if order.state is OrderState.DISPUTED:
        step = disputes.lapse(order, purse=purse, at=at)
        return await letters.keep(uow, node, step, before=order, now=at.wall)
    if order.state in (OrderState.CONFIRMING, OrderState.UNANSWERED):
        sentence = "The seller never answered the confirm, and the time in which it could be settled is over."
        step = buyer.refuse(
            order, code="NO_ANSWER", sentence=sentence, reserved_milli=purse.reserved_milli, now=at.wall
        )
        return await letters.keep(uow, node, step, before=order, now=at.wall)
    try:
        step = settling.settle_unanswered(order, purse=purse, at=at)
    except ledger.UnableToSettle:
        own = settling.own_result(order, at=at)
        verdict = settling.dispute(order, own, None, "More is due than is reserved.", at=at)
        return await reckoning.carry_out(uow, node, order, verdict)
    kept = await letters.keep(uow, node, step, before=order, now=at.wall)
    return await tell_again(node, uow, kept)


async def tell_again(node: Node, uow: UnitOfWork, order: Order) -> Order:
    """Say our word once more to a seller that was silent, or ask it how the order stands where ours does not count."""
    if order.policy.is_two_sided:
        return await reckoning.tell_allocation(uow, node, order)
    message_id, now = letters.new_message_id(), node.wall.now()
    told = {"action": "status", "message_id": message_id}
    asked = Step(replace(order, updated_at=now), (), (("order.asked", told),))
    kept = await letters.keep(uow, node, asked, before=order, now=now)
    await ask_status(node, uow, kept, message_id)
    return kept


async def ask_status(node: Node, uow: UnitOfWork, order: Order, message_id: str) -> None:
    """Ask the seller how it sees the order; a seller that is gone is not asked."""
    message, now = translate.status_to_wire(order), node.wall.now()
    try:
        await letters.send_about(uow, node, order, action="status", message=message, message_id=message_id, now=now)
    except letters.SellerUnknown:
        log.warning("seller_unknown", order_id=order.order_id, seller_id=order.counterparty_id, state=order.state)
