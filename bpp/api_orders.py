"""Prosumer's desk, orders: look, curtail, cancel. Anybody's link to a delivery, and the operator's proof of books."""

from __future__ import annotations

import hmac
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import Field

from api.desk import Call, Desk
from api.paging import Id, ListOf, Page, Strict
from api.problems import ApiError, not_found
from api.series import EnergySeriesIn, EnergySeriesOut
from bpp import cascade_desk, casework, contract, refusals, settling, shelf
from bpp.order_models import DeliveredOut, OrderOut, TrackOut
from bpp.refusals import UnableTo
from bpp.scope import PROSUMER, check_own, own_provider
from bpp.shop import Shop
from store import orders
from trade.order import Order, OrderState, Side


class OrdersOf(Page):
    """Query of the list of orders."""

    provider_id: Id | None = None
    state: OrderState | None = None
    transaction_id: str | None = Field(default=None, max_length=255)


class CurtailIn(Strict):
    """What the provider can still deliver: the order's own slots, none above what is contracted."""

    contracted: EnergySeriesIn
    reason: str = Field(min_length=1, max_length=500)


class CancelIn(Strict):
    """Why the provider cannot deliver."""

    reason: str = Field(min_length=1, max_length=500)


class Orders:
    """The calls of this module."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this module."""
        tags, one = ["orders"], "/api/orders/{order_id}"
        desk.route("GET", "/api/orders", role=PROSUMER, query=OrdersOf, answer=ListOf[OrderOut], tags=tags)(
            self.list_orders
        )
        desk.route("GET", one, role=PROSUMER, answer=OrderOut, tags=tags)(self.get_order)
        desk.route("POST", f"{one}/curtail", role=PROSUMER, body=CurtailIn, answer=OrderOut, tags=tags)(self.curtail)
        desk.route("POST", f"{one}/cancel", role=PROSUMER, body=CancelIn, answer=OrderOut, tags=tags)(self.cancel)
        desk.route("GET", "/api/track/{token}", role=None, answer=TrackOut, tags=["tracking"])(self.track)

    async def list_orders(self, call: Call[None]) -> ListOf[OrderOut]:
        """List orders, newest first; a prosumer sees those of its own provider."""
        query = call.query
        if query.provider_id is not None:
            check_own(call, query.provider_id)
        async with call.node.database.unit_of_work() as uow:
            found = await orders.list_for(
                uow,
                side=Side.SELLER,
                provider_id=query.provider_id or own_provider(call),
                state=query.state,
                transaction_id=query.transaction_id,
                after=query.after,
                limit=query.limit,
            )
        following = found[-1].order_id if len(found) == query.limit else None
        return ListOf[OrderOut](items=[OrderOut.of(order) for order in found], next=following)

    async def get_order(self, call: Call[None]) -> OrderOut:
        """Show one order."""
        async with call.node.database.unit_of_work() as uow:
            order = await orders.get(uow, call.path["order_id"])
        return OrderOut.of(_own(call, order))

    async def curtail(self, call: Call[CurtailIn]) -> OrderOut:
        """Take back energy that cannot be delivered, in slots that have not begun.

        The buyer's node is told at once. What is taken back is not offered again. 409 when the order is no live
        contract, 422 when the series does not fit it.
        """
        body = call.body
        async with call.node.database.unit_of_work() as uow:
            order = _own(call, await orders.lock(uow, call.path["order_id"]))
            offer = await shelf.lock_known(uow, order.offer_id)
            try:
                decision = contract.curtail(
                    order, offer, new_wh=body.contracted.series(), at=self._shop.moment(), quote_id=str(uuid.uuid4())
                )
            except UnableTo as refusal:
                raise _problem(refusal, "contracted") from refusal
            curtailed = replace(decision.order, refusal=body.reason)
            await orders.save(uow, curtailed)
            await shelf.save_taken(uow, decision.offer)
            await self._shop.tell(uow, curtailed, "on_update")
            await cascade_desk.follow(self._shop, uow, order, curtailed)
        return OrderOut.of(curtailed)

    async def cancel(self, call: Call[CancelIn]) -> OrderOut:
        """Cancel a contract that cannot be delivered.

        The buyer pays nothing and its node is told at once. The energy is not offered again. 409 when the order is no
        live contract.
        """
        async with call.node.database.unit_of_work() as uow:
            order = _own(call, await orders.lock(uow, call.path["order_id"]))
            offer = await shelf.lock_known(uow, order.offer_id)
            try:
                decision = contract.give_up(
                    order, offer, reason=call.body.reason, at=self._shop.moment(), quote_id=str(uuid.uuid4())
                )
            except UnableTo as refusal:
                raise _problem(refusal, "state") from refusal
            await orders.save(uow, decision.order)
            await shelf.save_taken(uow, decision.offer)
            await casework.note(uow, decision.order)
            await self._shop.tell(uow, decision.order, "on_status")
            await cascade_desk.follow(self._shop, uow, order, decision.order)
        return OrderOut.of(decision.order)

    async def track(self, call: Call[None]) -> TrackOut:
        """Follow a delivery by the link that on_track gave.

        The link is the permission: it shows this one order and nothing else of the meter.
        """
        token = call.path["token"]
        async with call.node.database.unit_of_work() as uow:
            order = await orders.get(uow, token.partition(".")[0])
            if order is None or not order.wire_order_id or not _is_token(order, token):
                raise not_found("delivery", token[:80])
            delivered = await _delivered(uow, order, call.node.trading.now())
        is_active = order.state in (OrderState.ACTIVE, OrderState.DELIVERING)
        own = order.contracted_wh
        return TrackOut(
            order_id=order.wire_order_id,
            state=order.state,
            status="active" if is_active else "inactive",
            contracted=EnergySeriesOut.of(own),
            delivered=DeliveredOut(start=own.start, slot_s=own.slot_s, energy_wh=delivered),
            delivered_wh=sum(wh or 0 for wh in delivered),
            contracted_wh=own.total,
        )


async def _delivered(uow: Any, order: Order, now_trading: datetime) -> list[int | None]:
    """The order's share of each slot: as settled, or of the readings so far."""
    if order.settlement is not None:
        return list(order.settlement.delivered_wh.values)
    own = order.contracted_wh
    if order.state not in (OrderState.ACTIVE, OrderState.DELIVERING):
        return [None] * len(own.values)
    meter = await casework.meter_of(uow, [order])
    share = settling.shares(meter, now_trading=now_trading)[order.order_id]
    return [wh if known else None for known, wh in zip(meter.measured(order), share.values, strict=True)]


def _is_token(order: Order, token: str) -> bool:
    return hmac.compare_digest(order.tracking_token.encode(), token.encode())


def _own(call: Call[Any], order: Order | None) -> Order:
    if order is None:
        raise not_found("order", call.path["order_id"])
    check_own(call, order.provider_id)
    return order


def _problem(refusal: UnableTo, field: str) -> ApiError:
    status = 422 if refusal.code == refusals.UPDATE_INCONSISTENT else 409
    return ApiError(status, refusal.sentence, field=field)
