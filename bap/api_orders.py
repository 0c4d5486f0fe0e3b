"""Orders: chosen, held, confirmed, asked about, changed, cancelled, rated.

Every call that writes to the seller is load, decide (`buyer`, `contracts`), keep and send in one unit of work, then
perhaps wait. A repeat of a call that already happened answers the same order and sends nothing twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from aiohttp import web

from api import live
from api.desk import Call, Desk, Handler
from api.live import StreamQuery
from api.paging import ListOf, cursor, read_cursor
from api.problems import ApiError, not_found
from bap import buyer, contracts, letters, translate
from bap.api_calls import READERS, reading, unit_of_work, visible_to, waiting
from bap.api_order_models import (
    SHOWN_EVENTS,
    CancelIn,
    NothingIn,
    OrderIn,
    OrderOut,
    OrderQuery,
    RatingIn,
    SupportIn,
    UpdateIn,
)
from bap.buyer import Step, Wish
from bap.offer_document import offer_from_document, policy_of
from store import buyer_orders, events, order_document, orders, searches
from store.db import UnitOfWork
from trade.order import (
    Customer,
    Order,
    OrderState,
    Side,
)

B = TypeVar("B")

_TAGS = ["orders"]

#: States in which there is nothing to show of an order but itself.
_WITHOUT_CONTRACT = frozenset(
    {
        OrderState.SELECTING,
        OrderState.QUOTED,
        OrderState.INITIALISING,
        OrderState.INITIALISED,
        OrderState.CONFIRMING,
        OrderState.REFUSED,
        OrderState.EXPIRED,
    }
)

#: What a call about an order decides: the step, the message to send, or None when it already happened.
Decision = tuple[Step, dict[str, Any]] | None
Decide = Callable[[UnitOfWork, Order, str], Awaitable[Decision]]


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about orders."""
    _add_reading(desk)
    _add_contracting(desk)
    _add_changing(desk)
    _add_asking(desk)


def _add_reading(desk: Desk) -> None:
    @desk.route("GET", "/api/orders", role=READERS, query=OrderQuery, answer=ListOf[OrderOut], tags=_TAGS)
    async def list_orders(call: Call[None]) -> ListOf[OrderOut]:
        """List this app's orders, newest first."""
        after, asked = read_cursor(call.query.after, count=1), call.query
        async with reading(call) as uow:
            found = await buyer_orders.page(
                uow,
                token_id=visible_to(call),
                account_id=asked.account_id,
                state=asked.state,
                transaction_id=asked.transaction_id,
                after=str(after[0]) if after else None,
                limit=asked.limit,
            )
        more = len(found) == asked.limit
        return ListOf[OrderOut].model_construct(
            items=[OrderOut.of(order) for order in found], next=cursor(found[-1].order_id) if more else None
        )

    @desk.route("GET", "/api/orders/{order_id}", role=READERS, answer=OrderOut, tags=_TAGS)
    async def get_order(call: Call[None]) -> OrderOut:
        """Show an order, with where to track it, whom to ask, and any dispute."""
        async with reading(call) as uow:
            order = await buyer_orders.get(uow, call.path["order_id"], token_id=visible_to(call))
            if order is None:
                raise not_found("order", call.path["order_id"])
            return await _shown(uow, order)

    @desk.route(
        "GET",
        "/api/orders/{order_id}/events",
        role=READERS,
        query=StreamQuery,
        media="text/event-stream",
        tags=_TAGS,
    )
    async def stream_order(call: Call[None]) -> web.StreamResponse:
        """Stream what happens to an order as server-sent events.

        Each event's `id` is its seq; a client that reconnects with `Last-Event-ID` misses nothing.
        """
        order_id = call.path["order_id"]
        async with reading(call) as uow:
            if await buyer_orders.get(uow, order_id, token_id=visible_to(call)) is None:
                raise not_found("order", order_id)
        return await live.stream(call, f"order:{order_id}")


def _letter(desk: Desk, action: str, body: type[B]) -> Callable[[Handler[B]], Handler[B]]:
    """A route that sends a letter about an order."""
    path = f"/api/orders/{{order_id}}/{action}"
    return desk.route("POST", path, role="app", body=body, answer=OrderOut, status=202, tags=_TAGS, waits=True)


def _add_contracting(desk: Desk) -> None:
    @desk.route("POST", "/api/orders", role="app", body=OrderIn, answer=OrderOut, status=202, tags=_TAGS, waits=True)
    async def create_order(call: Call[OrderIn]) -> OrderOut:
        """Choose energy of an offer that a search found, and ask the seller for a quote.

        Choosing again in the same transaction with the same provider replaces the order that is not confirmed yet.
        """
        message_id = letters.new_message_id()
        with ExitStack() as listening:
            async with unit_of_work(call) as uow:
                order = await _choose(uow, call, message_id)
                answer = listening.enter_context(waiting(call, letters.order_channel(order)))
            return await _after(call, order, await answer.until(_answers(message_id)))

    @_letter(desk, "init", NothingIn)
    async def init_order(call: Call[NothingIn]) -> OrderOut:
        """Ask the seller to hold the energy until its quote expires."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            is_held = order.state is OrderState.INITIALISED and order.quote is not None
            if order.state is OrderState.INITIALISING or (
                is_held and order.quote is not None and order.quote.expires_at > call.now
            ):
                return None
            wait = call.node.settings.hold_wait
            step = buyer.start_init(order, message_id=message_id, now=call.now, wait=wait)
            return step, translate.init_to_wire(step.order)

        return await _act(call, "init", decide)

    @_letter(desk, "confirm", NothingIn)
    async def confirm_order(call: Call[NothingIn]) -> OrderOut:
        """Confirm the order: the quote's total is reserved in the wallet and the seller is asked for the contract.

        402 when the wallet holds less. A repeat answers the same order and reserves nothing twice.
        """

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            if order.state in buyer.CONTRACTED:
                return None
            wait = call.node.settings.contract_wait
            step = buyer.start_confirm(order, message_id=message_id, now=call.now, wait=wait)
            return step, translate.confirm_to_wire(step.order)

        return await _act(call, "confirm", decide)


def _add_changing(desk: Desk) -> None:
    @_letter(desk, "update", UpdateIn)
    async def update_order(call: Call[UpdateIn]) -> OrderOut:
        """Ask for another series on the contract's slots; what it may cost more is reserved first."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            wanted = call.body.energy.series()
            step = contracts.start_update(
                order,
                wanted,
                reserved_milli=await letters.reserved(uow, order),
                message_id=message_id,
                now=call.now,
                now_trading=call.node.trading.now(),
                wait=call.node.settings.contract_wait,
            )
            return step, translate.update_to_wire(order, wanted)

        return await _act(call, "update", decide)

    @_letter(desk, "cancel", CancelIn)
    async def cancel_order(call: Call[CancelIn]) -> OrderOut:
        """Ask the seller to cancel, for a reason of its list; the agreed terms say what it costs."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            if order.state in (OrderState.CANCELLING, OrderState.CANCELLED):
                return None
            step = contracts.start_cancel(
                order,
                reason_id=call.body.reason_id,
                message_id=message_id,
                now=call.now,
                now_trading=call.node.trading.now(),
                wait=call.node.settings.contract_wait,
            )
            return step, translate.cancel_to_wire(order, call.body.reason_id, call.body.note)

        return await _act(call, "cancel", decide)


def _add_asking(desk: Desk) -> None:
    @_letter(desk, "status", NothingIn)
    async def ask_status(call: Call[NothingIn]) -> OrderOut:
        """Ask the seller how the order stands."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            return _asked(order, "status", message_id), translate.status_to_wire(order)

        return await _act(call, "status", decide)

    @_letter(desk, "track", NothingIn)
    async def track_order(call: Call[NothingIn]) -> OrderOut:
        """Ask the seller where the delivery can be watched."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            return _asked(order, "track", message_id), translate.track_to_wire(order)

        return await _act(call, "track", decide)

    @_letter(desk, "support", SupportIn)
    async def ask_support(call: Call[SupportIn]) -> OrderOut:
        """Ask the seller whom to talk to about the order."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            customer = order.customer or Customer("", "", "")
            phone, email = call.body.phone or customer.phone, call.body.email or customer.email
            return _asked(order, "support", message_id), translate.support_to_wire(order, phone, email)

        return await _act(call, "support", decide)

    @_letter(desk, "rating", RatingIn)
    async def rate_order(call: Call[RatingIn]) -> OrderOut:
        """Tell the seller what the consumer thought."""

        async def decide(uow: UnitOfWork, order: Order, message_id: str) -> Decision:
            category, value = call.body.category, call.body.value
            rated = contracts.record_rating(
                order, category=category, value=value, now=call.now, now_trading=call.node.trading.now()
            )
            asked = Step(rated, (), _asked(order, "rating", message_id).events)
            return asked, translate.rating_to_wire(order, category, value)

        return await _act(call, "rating", decide)


def _asked(order: Order, action: str, message_id: str) -> Step:
    """A question that leaves the order as it is; its event lets the answer find the order."""
    contracts.check_askable(order, action)
    return Step(order, (), (("order.asked", {"action": action, "message_id": message_id}),))


async def _act(call: Call[Any], action: str, decide: Decide) -> OrderOut:
    """Load, decide, keep and send in one unit of work; then wait for the answer, if the caller wants to.

    A repeat of what already happened waits for the first call's answer.
    """
    message_id = letters.new_message_id()
    with ExitStack() as listening:
        async with unit_of_work(call) as uow:
            order = await buyer_orders.get(uow, call.path["order_id"], token_id=call.token.token_id, lock=True)
            if order is None:
                raise not_found("order", call.path["order_id"])
            answer = listening.enter_context(waiting(call, letters.order_channel(order)))
            decision = await decide(uow, order, message_id)
            if decision is None:
                message_id = order.awaiting_message_id if order.awaiting_until else ""
            else:
                step, message = decision
                order = await letters.keep(uow, call.node, step, before=order, now=call.now)
                letters.announce(uow, call.node, order)
                await letters.send_about(
                    uow, call.node, order, action=action, message=message, message_id=message_id, now=call.now
                )
        told = await answer.until(_answers(message_id)) if message_id else None
        return await _after(call, order, told, is_new=action == "confirm" and decision is not None)


def _answers(message_id: str) -> Callable[[Any], bool]:
    """True for the nudge after the answer to a letter was worked on."""
    return lambda told: bool(told["answers"] == message_id)


async def _after(call: Call[Any], order: Order, told: Any, *, is_new: bool = False) -> OrderOut:
    """The order after the wait: as the nudge brought it, or read anew when the wait was in vain.

    A draft, and a contract that `is_new`, has nothing to show but itself.
    """
    if told is not None:
        order = order_document.from_document(told["order"])
    if (is_new or order.state in _WITHOUT_CONTRACT) and (told is not None or not call.wait):
        return OrderOut.of(order)
    async with reading(call) as uow:
        return await _shown(uow, order if told is not None else await orders.get(uow, order.order_id) or order)


async def _choose(uow: UnitOfWork, call: Call[OrderIn], message_id: str) -> Order:
    """Keep a new order, or the session's draft anew, and send its select."""
    asked, token_id = call.body, call.token.token_id
    found = await searches.choice(
        uow,
        token_id=token_id,
        account_id=asked.account_id,
        transaction_id=asked.transaction_id,
        seller_id=asked.seller_id,
        provider_id=asked.provider_id,
        offer_id=asked.offer_id,
    )
    if found is None:
        raise not_found("account", asked.account_id)
    if found["offer"] is None:
        raise ApiError(
            404,
            "No search of this app found that offer; search first and use its transaction_id, seller_id, provider_id"
            " and offer_id.",
            field="offer_id",
        )
    offer = offer_from_document(found["offer"])
    wish = Wish(
        account_id=asked.account_id,
        customer=Customer(found["name"], found["email"], found["phone"]),
        series=asked.energy.series() if asked.energy else None,
        energy_wh=asked.energy_wh,
        policy=policy_of(offer, call.node.settings.policies),
        meter_id=found["meter_id"],
    )

    def choose(draft: Order | None) -> Step:
        return buyer.choose(
            offer,
            wish,
            draft=draft,
            transaction_id=asked.transaction_id,
            order_id=str(uuid.uuid4()),
            message_id=message_id,
            now=call.now,
            wait=call.node.settings.quote_wait,
        )

    try:
        order = await letters.keep(uow, call.node, choose(None), before=None, now=call.now)
    except orders.OrderExists:
        draft = await orders.lock_session(
            uow,
            side=Side.BUYER,
            counterparty_id=asked.seller_id,
            transaction_id=asked.transaction_id,
            provider_id=asked.provider_id,
        )
        order = await letters.keep(uow, call.node, choose(draft), before=draft, now=call.now)
    letters.announce(uow, call.node, order)
    message = translate.select_to_wire(order)
    await letters.send_about(
        uow, call.node, order, action="select", message=message, message_id=message_id, now=call.now
    )
    return order


async def _shown(uow: UnitOfWork, order: Order) -> OrderOut:
    """The order and, once there may be any, the newest of what else there is to show."""
    if not order.wire_order_id:
        return OrderOut.of(order)
    return OrderOut.of(order, await events.newest(uow, f"order:{order.order_id}", list(SHOWN_EVENTS)))
