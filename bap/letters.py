"""What every use case of this node ends with: keep the step, tell the app, put the letter in the outbox.

All of it happens in the caller's unit of work, so an order, its money, its events and its letter commit together. Those
who wait are nudged after the commit: event streams, requests with `Prefer: wait`, and the courier of webhooks.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from api import webhooks
from bap.buyer import Step
from bap.settling import Moment, Purse
from beckn import envelope
from beckn.envelope import Party
from beckn.node import Node
from store import buyer_orders, events, order_document, transfers
from store.db import UnitOfWork
from trade import ledger
from trade.order import Order


class SellerUnknown(Exception):
    """The registry knows no such seller, or not just now."""


def new_message_id() -> str:
    """An id for a letter, made before anything is decided."""
    return str(uuid.uuid4())


def summary(order: Order) -> dict[str, Any]:
    """What every event of an order says."""
    return {
        "order_id": order.order_id,
        "account_id": order.account_id,
        "state": order.state.value,
        "transaction_id": order.transaction_id,
        "seller_id": order.counterparty_id,
        "provider_id": order.provider_id,
    }


async def keep(uow: UnitOfWork, node: Node, step: Step, *, before: Order | None, now: datetime) -> Order:
    """Store a step: the order when it changed (`before` None: it is new), its transfers and events.

    Raises store.orders.OrderExists for a new order whose session has one, store.transfers.InsufficientFunds when the
    wallet cannot pay.
    """
    order = step.order
    told = [(kind, {**summary(order), **data}) for kind, data in step.events]
    if before is None:
        queued = await buyer_orders.insert(uow, order, told, now=now)
    elif order is not before:
        queued = await buyer_orders.save(uow, order, told, now=now)
    else:
        queued = bool(told) and await events.append_of_order(
            uow, account_id=order.account_id, order_id=order.order_id, events=told, now=now
        )
    if step.transfers:
        await transfers.post(uow, ledger.dated(step.transfers, node.trading.now()))
    if queued:
        uow.after_commit(lambda: node.nudge(webhooks.CHANNEL))
    return order


def announce(uow: UnitOfWork, node: Node, order: Order, *, answers: str = "") -> None:
    """Once the unit of work commits, wake whoever watches the order or waits for the answer to the letter `answers`.

    The order itself goes along, so that a request that waited need not read it.
    """

    def told() -> dict[str, Any]:
        return {"answers": answers, "order": order_document.to_document(order)}

    nudge_after(uow, node, order_channel(order), told)


def order_channel(order: Order) -> str:
    """Where an order's changes are nudged: the subject of its events."""
    return f"order:{order.order_id}"


def nudge_after(uow: UnitOfWork, node: Node, channel: str, payload: Any = None, *, webhooks_wait: bool = False) -> None:
    """Nudge a channel, and the courier when webhooks have something to carry, once the unit of work commits."""

    def committed() -> None:
        node.nudge(channel, payload)
        if webhooks_wait:
            node.nudge(webhooks.CHANNEL)

    uow.after_commit(committed)


async def reserved(uow: UnitOfWork, order: Order) -> int:
    """What the order's escrow holds, in thousandths of a minor unit."""
    return await transfers.balance(uow, ledger.escrow(order.order_id), order.currency)


async def purse(uow: UnitOfWork, order: Order) -> Purse:
    """What the ledger holds for the order: its escrow, and for a correction what its wallet can pay."""
    if order.settlement is None:
        return Purse(await reserved(uow, order))
    wallet = ledger.wallet(order.account_id)
    return Purse(await reserved(uow, order), await transfers.available(uow, wallet, order.currency))


def moment(node: Node) -> Moment:
    """Now on both clocks, with an id for a dispute that may come of it."""
    return Moment(node.wall.now(), node.trading.now(), str(uuid.uuid4()))


async def send(
    uow: UnitOfWork,
    node: Node,
    *,
    action: str,
    seller_id: str,
    message: dict[str, Any] | None,
    transaction_id: str,
    message_id: str,
    now: datetime,
) -> None:
    """Put a letter to a seller into the outbox; raises SellerUnknown."""
    url = await node.directory.url_of(seller_id, "BPP")
    if url is None:
        raise SellerUnknown(seller_id)
    context = envelope.request_context(
        action=action,
        network=node.network,
        bap=node.me,
        bpp=Party(seller_id, url),
        transaction_id=transaction_id,
        message_id=message_id,
        now=now,
    )
    await node.outbox.post(
        uow,
        action=action,
        receiver_id=seller_id,
        url=url,
        body=envelope.build(context, message),
        transaction_id=transaction_id,
        message_id=message_id,
        now=now,
    )


async def send_about(
    uow: UnitOfWork,
    node: Node,
    order: Order,
    *,
    action: str,
    message: dict[str, Any],
    message_id: str,
    now: datetime,
) -> None:
    """Put a letter about an order to its seller into the outbox; raises SellerUnknown."""
    await send(
        uow,
        node,
        action=action,
        seller_id=order.counterparty_id,
        message=message,
        transaction_id=order.transaction_id,
        message_id=message_id,
        now=now,
    )
