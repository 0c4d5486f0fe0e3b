"""The utility's node at work: what it does with the letters of sellers' nodes that ask it to carry a trade.

init      -> on_init      what carrying costs, what may still be traded; nothing is kept
confirm   -> on_confirm   the trade is logged and uses its meters' limits; said again, it is answered again
update    -> on_update    the trade over less or more energy; what it no longer uses is free
cancel    -> on_cancel    all of it is free again
status    -> on_status    the trade as it stands

Handlers as in `bpp.handlers`: one unit of work with the letter's own row; a refusal becomes the callback's error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from beckn.envelope import Letter
from bpp import refusals, utility
from bpp.shop import Shop
from bpp.translate import utility as wire
from bpp.utility import GridMeter, Request, Trade, TradeState, UnableToCarry
from store import utility as store
from store.utility import StoredTrade
from trade.money import Series


async def init(shop: Shop, letter: Letter, uow: Any) -> None:
    """init -> on_init: charges of both sides and the remaining limit, or why the trade cannot be carried."""
    request = wire.request_from_wire(letter.message)
    meters = await _meters(uow, request)
    cleared = utility.check(request, meters, await store.used(uow, utility.places(request, meters)))
    message = wire.clearance_to_wire(
        request, cleared, face=face_of(shop), billed_as=letter.signer_id, quote_id=str(uuid.uuid4())
    )
    await shop.reply(uow, letter, message)


async def confirm(shop: Shop, letter: Letter, uow: Any) -> None:
    """confirm -> on_confirm: the trade is logged, its meters' limits are used; one order is one trade."""
    request = wire.request_from_wire(letter.message)
    if not request.order_id:
        raise UnableToCarry(refusals.INVALID_REQUEST, "Say under which id the trade is to be known: order.id.")
    stored = await store.lock_order(uow, bpp_id=letter.signer_id, order_id=request.order_id)
    if stored is None:
        trade = await _carry(shop, letter, uow, request)
    else:
        trade = trade_of(stored)
        if trade.state is not TradeState.ACTIVE or trade.request != request:
            raise UnableToCarry(
                refusals.NOT_APPLICABLE,
                f"Trade '{request.order_id}' was logged before and is {trade.state}; use another order id.",
            )
    await shop.reply(uow, letter, wire.trade_to_wire(trade, face=face_of(shop)))


async def update(shop: Shop, letter: Letter, uow: Any) -> None:
    """update -> on_update: the trade over other energy; less gives limit back, more needs as much to be left."""
    request = wire.request_from_wire(letter.message)
    trade = await _known(letter, uow, request.order_id)
    resized = utility.resize(trade, request.energy_wh, now=shop.node.wall.now())
    meters = await _meters(uow, trade.request)
    before, after = utility.usage(trade.request, meters), utility.usage(resized.request, meters)
    change = utility.change(before, after)
    limits = utility.limits(before | after, meters)
    used = await store.lock_usage(uow, limits)
    if any(joules > 0 for joules in change.values()):
        others = {place: joules - before.get(place, 0) for place, joules in used.items()}
        utility.check(resized.request, meters, others)
    await store.add_usage(uow, change, limits)
    await store.save_trade(uow, stored_of(resized))
    await shop.reply(uow, letter, wire.trade_to_wire(resized, face=face_of(shop)))


async def cancel(shop: Shop, letter: Letter, uow: Any) -> None:
    """cancel -> on_cancel: the limit is free again. Said again, it is answered again."""
    trade = await _known(letter, uow, letter.message["order_id"])
    if trade.state is TradeState.ACTIVE:
        meters = await _meters(uow, trade.request)
        given_back = utility.change(utility.usage(trade.request, meters), {})
        limits = utility.limits(given_back, meters)
        await store.lock_usage(uow, limits)
        await store.add_usage(uow, given_back, limits)
        trade = utility.cancel(trade, now=shop.node.wall.now())
        await store.save_trade(uow, stored_of(trade))
    await shop.reply(uow, letter, wire.trade_to_wire(trade, face=face_of(shop)))


async def status(shop: Shop, letter: Letter, uow: Any) -> None:
    """status -> on_status: the trade as it stands."""
    trade = await _known(letter, uow, letter.message["order_id"])
    await shop.reply(uow, letter, wire.trade_to_wire(trade, face=face_of(shop)))


HANDLERS = {"init": init, "confirm": confirm, "update": update, "cancel": cancel, "status": status}


async def tell(shop: Shop, uow: Any, trade: Trade) -> None:
    """Send the seller's node an on_update that it did not ask for: a figure was replaced."""
    await shop.call_back(
        uow,
        "on_update",
        wire.trade_to_wire(trade, face=face_of(shop)),
        receiver_id=trade.bpp_id,
        transaction_id=trade.transaction_id,
        message_id=str(uuid.uuid4()),
    )


def face_of(shop: Shop) -> wire.Face:
    """This utility as its letters show it."""
    own = shop.node.me.subscriber_id
    return wire.Face(own, shop.settings.utility_name or own)


async def _carry(shop: Shop, letter: Letter, uow: Any, request: Request) -> Trade:
    """Log a new trade: its usage is added under lock, so that together trades never exceed a limit."""
    meters, now = await _meters(uow, request), shop.node.wall.now()
    wanted = utility.usage(request, meters)
    limits = utility.limits(wanted, meters)
    cleared = utility.check(request, meters, await store.lock_usage(uow, limits))
    await store.add_usage(uow, wanted, limits)
    trade = Trade(
        trade_id=str(uuid.uuid4()),
        bpp_id=letter.signer_id,
        order_id=request.order_id,
        transaction_id=letter.context.transaction_id,
        state=TradeState.ACTIVE,
        request=request,
        wheeling_buyer_micro_per_kwh=cleared.wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=cleared.wheeling_seller_micro_per_kwh,
        created_at=now,
        updated_at=now,
    )
    await store.save_trade(uow, stored_of(trade))
    return trade


async def _known(letter: Letter, uow: Any, order_id: str) -> Trade:
    """The asking node's own trade, locked; refused when it has none of this id."""
    stored = await store.lock_order(uow, bpp_id=letter.signer_id, order_id=order_id)
    if stored is None:
        raise UnableToCarry(refusals.ORDER_NOT_FOUND, f"No trade '{order_id}' of yours is logged here; confirm first.")
    return trade_of(stored)


async def _meters(uow: Any, request: Request) -> dict[str, GridMeter]:
    return {stored["meter_id"]: GridMeter(**stored) for stored in await store.meters_of(uow, request.meter_ids)}


# --- Rows ----------------------------------------------------------------------------------------------------------


def trade_of(stored: StoredTrade) -> Trade:
    """A trade as the rules know it."""

    def series(values: Iterable[int] | None) -> Series | None:
        return None if values is None else Series(stored["starts_at"], stored["slot_s"], tuple(values))

    energy_wh = Series(stored["starts_at"], stored["slot_s"], tuple(stored["energy_wh"]))
    return Trade(
        trade_id=stored["trade_id"],
        bpp_id=stored["bpp_id"],
        order_id=stored["order_id"],
        transaction_id=stored["transaction_id"],
        state=TradeState(stored["state"]),
        request=Request(
            stored["seller_meter_id"], stored["buyer_meter_id"], energy_wh, stored["currency"], stored["order_id"]
        ),
        wheeling_buyer_micro_per_kwh=stored["wheeling_buyer_micro_per_kwh"],
        wheeling_seller_micro_per_kwh=stored["wheeling_seller_micro_per_kwh"],
        created_at=stored["created_at"],
        updated_at=stored["updated_at"],
        seller_alloc_wh=series(stored["seller_alloc_wh"]),
        buyer_alloc_wh=series(stored["buyer_alloc_wh"]),
    )


def stored_of(trade: Trade) -> StoredTrade:
    """A trade as it is kept."""
    request, energy_wh = trade.request, trade.request.energy_wh
    return StoredTrade(
        trade_id=trade.trade_id,
        bpp_id=trade.bpp_id,
        order_id=trade.order_id,
        transaction_id=trade.transaction_id,
        state=trade.state.value,
        seller_meter_id=request.seller_meter_id,
        buyer_meter_id=request.buyer_meter_id,
        currency=request.currency,
        starts_at=energy_wh.start,
        slot_s=energy_wh.slot_s,
        energy_wh=list(energy_wh.values),
        seller_alloc_wh=list(trade.seller_alloc_wh.values) if trade.seller_alloc_wh else None,
        buyer_alloc_wh=list(trade.buyer_alloc_wh.values) if trade.buyer_alloc_wh else None,
        wheeling_buyer_micro_per_kwh=trade.wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=trade.wheeling_seller_micro_per_kwh,
        created_at=trade.created_at,
        updated_at=trade.updated_at,
    )
