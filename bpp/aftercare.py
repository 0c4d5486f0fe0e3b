"""Letters about a contract that exists, and questions that need none: load, decide, save, reply, as in `handlers`."""

from __future__ import annotations

import uuid
from typing import Any

from beckn.envelope import Letter
from bpp import cascade, cascade_desk, contract, feedback, refusals, shelf, translate, updates
from bpp.refusals import (
    UnableTo,
    UnableToCancel,
    UnableToReport,
    UnableToSupport,
    UnableToTrack,
    UnableToUpdate,
)
from bpp.shop import Shop
from store import orders, providers, transfers
from trade import ledger
from trade.order import Order, OrderState, Side


async def status(shop: Shop, letter: Letter, uow: Any) -> None:
    """status -> on_status: the contract as it stands."""
    order_id, _ = translate.status_from_wire(letter.message)
    order = await _contract(uow, letter, order_id, UnableToReport)
    if cascade.is_waiting(order):
        raise UnableToReport(
            refusals.NOT_APPLICABLE,
            f"Order {order_id!r} waits for the utility that has to carry it; its on_confirm follows, or ask again.",
        )
    await _answer(shop, letter, uow, order)


async def track(shop: Shop, letter: Letter, uow: Any) -> None:
    """track -> on_track: a link to what has been delivered so far; inactive once nothing more will be."""
    order = await _contract(uow, letter, translate.track_from_wire(letter.message), UnableToTrack)
    is_active = order.state in (OrderState.ACTIVE, OrderState.DELIVERING)
    await shop.reply(uow, letter, translate.tracking_to_wire(order, url=shop.track_url(order), is_active=is_active))


async def update(shop: Shop, letter: Letter, uow: Any) -> None:
    """update -> on_update: other energy, the buyer's allocation, a dispute or its end; the answer is the order then."""
    notice = translate.update_from_wire(letter.message)
    order = await _contract(uow, letter, notice.order_id, UnableToUpdate)
    await _answer(shop, letter, uow, await updates.take(shop, uow, order, notice))


async def cancel(shop: Shop, letter: Letter, uow: Any) -> None:
    """cancel -> on_cancel: the energy is free again, the fee is booked. Said again, it is answered again."""
    request = translate.cancel_from_wire(letter.message)
    order = await _contract(uow, letter, request.order_id, UnableToCancel)
    if order.state is not OrderState.CANCELLED:
        offer = await shelf.lock_known(uow, order.offer_id)
        decision = contract.cancel(
            order, offer, reason_id=request.reason_id, at=shop.moment(), quote_id=str(uuid.uuid4())
        )
        running, order = order, decision.order
        await orders.save(uow, order)
        await shelf.save_taken(uow, decision.offer)
        await transfers.post(uow, ledger.dated(decision.transfers, shop.node.trading.now()))
        await cascade_desk.follow(shop, uow, running, order)
    await _answer(shop, letter, uow, order)


async def rating(shop: Shop, letter: Letter, uow: Any) -> None:
    """rating -> on_rating: kept for the provider to see. Only what the buyer's node bought can be rated."""
    requests = translate.rating_from_wire(letter.message)
    bought = await orders.lock_transaction(
        uow, side=Side.SELLER, counterparty_id=letter.signer_id, transaction_id=letter.context.transaction_id
    )
    for order_id in {request.subject_id for request in requests} - {order.wire_order_id for order in bought}:
        order = await _find(uow, letter, order_id)
        bought += [order] if order else []
    given = feedback.ratings(
        [feedback.Given(r.category, r.subject_id, r.value) for r in requests],
        bought=bought,
        rater_id=letter.signer_id,
        at=shop.moment(),
    )
    for order in given.orders:
        await orders.save(uow, order)
    await providers.rate(uow, given.ratings)
    await shop.reply(uow, letter, translate.feedback_to_wire())


async def support(shop: Shop, letter: Letter, uow: Any) -> None:
    """support -> on_support: whom to turn to."""
    request, settings = translate.support_from_wire(letter.message), shop.settings
    if not (settings.support_phone or settings.support_email or settings.support_url):
        raise UnableToSupport(
            refusals.SUPPORT_UNAVAILABLE, "This seller has named nobody for help; cancel or wait for the order."
        )
    message = translate.support_to_wire(
        request.ref_id, phone=settings.support_phone, email=settings.support_email, url=settings.support_url
    )
    await shop.reply(uow, letter, message)


async def get_cancellation_reasons(shop: Shop, letter: Letter, uow: Any) -> None:
    """get_cancellation_reasons -> cancellation_reasons."""
    await shop.reply(uow, letter, translate.reasons_to_wire(contract.CANCELLATION_REASONS.items()))


async def get_rating_categories(shop: Shop, letter: Letter, uow: Any) -> None:
    """get_rating_categories -> rating_categories."""
    await shop.reply(uow, letter, translate.categories_to_wire(feedback.CATEGORIES))


HANDLERS = {
    "status": status,
    "track": track,
    "update": update,
    "cancel": cancel,
    "rating": rating,
    "support": support,
    "get_cancellation_reasons": get_cancellation_reasons,
    "get_rating_categories": get_rating_categories,
}


async def _find(uow: Any, letter: Letter, order_id: str) -> Order | None:
    return await orders.lock_by_wire(uow, side=Side.SELLER, counterparty_id=letter.signer_id, wire_order_id=order_id)


async def _contract(uow: Any, letter: Letter, order_id: str, refusal: type[UnableTo]) -> Order:
    """The sender's own order of this id, locked; `refusal` when it has none."""
    order = await _find(uow, letter, order_id)
    if order is None:
        raise refusal(
            refusals.ORDER_NOT_FOUND, f"There is no order {order_id!r} of yours here; check the id, or confirm first."
        )
    return order


async def _answer(shop: Shop, letter: Letter, uow: Any, order: Order) -> None:
    provider = await shop.faces.known(uow, order.provider_id)
    await shop.reply(uow, letter, translate.order_to_wire(order, provider))
