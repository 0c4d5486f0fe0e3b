"""Disputes: opened by a person, followed, and decided by the operator with an audit trail."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.contracts import DisputeOut
from api.desk import Call, Desk
from api.paging import ListOf, Page, Strict, cursor, read_cursor
from api.problems import not_found
from bap import disputes, letters, reckoning
from bap.api_calls import READERS, reading, unit_of_work, visible_to
from bap.settling import Tell, Verdict
from store import audit, buyer_orders, buyer_settling
from store import disputes as stored
from store.db import UnitOfWork
from trade.disputes import Decision
from trade.order import Order, Side

_TAGS = ["disputes"]


class DisputeIn(Strict):
    """What is wrong with a settled or cancelled order, for the people on both sides."""

    reason: str = Field(min_length=1, max_length=500)


class DecisionIn(Strict):
    """How a dispute ends: the seller's figure is accepted, or an objection of this side is withdrawn."""

    outcome: Decision
    note: str = Field(min_length=1, max_length=500, description="Why; kept in the audit trail and told to the seller")


class DisputeQuery(Page):
    """Query of the list of disputes."""

    state: Literal["OPEN", "RESOLVED"] | None = None


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about disputes."""
    _add_objecting(desk)
    _add_deciding(desk)


def _add_objecting(desk: Desk) -> None:
    @desk.route(
        "POST",
        "/api/orders/{order_id}/disputes",
        role=READERS,
        body=DisputeIn,
        answer=DisputeOut,
        status=201,
        tags=_TAGS,
    )
    async def open_dispute(call: Call[DisputeIn]) -> DisputeOut:
        """Object to the settlement of an order, or to what a cancellation cost.

        The seller is told. 409 when the order is not settled, is in dispute already, or when the time for objections is
        over.
        """
        async with unit_of_work(call) as uow:
            order = await buyer_orders.get(uow, call.path["order_id"], token_id=visible_to(call), lock=True)
            if order is None:
                raise not_found("order", call.path["order_id"])
            paid_milli = await reckoning.paid_milli(uow, order)
            step = disputes.object_to(order, call.body.reason, paid_milli=paid_milli, at=letters.moment(call.node))
            order = await reckoning.carry_out(uow, call.node, order, Verdict(step, Tell.DISPUTE))
            letters.announce(uow, call.node, order)
            await _note(uow, call, "dispute.opened", order, {"reason": call.body.reason})
        return _shown(order)

    @desk.route("GET", "/api/disputes", role=READERS, query=DisputeQuery, answer=ListOf[DisputeOut], tags=_TAGS)
    async def list_disputes(call: Call[None]) -> ListOf[DisputeOut]:
        """List disputes of this app's orders, the newest first."""
        after, query = read_cursor(call.query.after, count=1), call.query
        async with reading(call) as uow:
            found = await buyer_settling.disputed(
                uow,
                token_id=visible_to(call),
                is_open=None if query.state is None else query.state == "OPEN",
                after=str(after[0]) if after else None,
                limit=query.limit,
            )
        items = [_shown(order) for order in found]
        following = cursor(items[-1].dispute_id) if len(items) == query.limit else None
        return ListOf[DisputeOut](items=items, next=following)


def _add_deciding(desk: Desk) -> None:
    @desk.route(
        "POST",
        "/api/disputes/{dispute_id}/resolve",
        role="operator",
        body=DecisionIn,
        answer=DisputeOut,
        tags=_TAGS,
    )
    async def resolve_dispute(call: Call[DecisionIn]) -> DisputeOut:
        """Decide a dispute: settle at the seller's figure, or withdraw the objection that this side made.

        Both nodes then book the same figure, and the seller is told; who decided and why is in the audit trail. 402
        when the wallet cannot pay what is accepted beyond escrow; 409 when the dispute is decided already, was opened
        by the seller (for WITHDRAW), or when the seller has named no figure.
        """
        async with unit_of_work(call) as uow:
            order = await stored.lock(uow, Side.BUYER, call.path["dispute_id"])
            if order is None:
                raise not_found("dispute", call.path["dispute_id"])
            asked, purse = call.body, await letters.purse(uow, order)
            step = disputes.resolve(order, asked.outcome, asked.note, purse=purse, at=letters.moment(call.node))
            order = await letters.keep(uow, call.node, step, before=order, now=call.now)
            order = await reckoning.tell_resolution(uow, call.node, order, asked.note)
            letters.announce(uow, call.node, order)
            await _note(uow, call, "dispute.resolved", order, {"outcome": asked.outcome.value, "note": asked.note})
        return _shown(order)


async def _note(uow: UnitOfWork, call: Call[Any], act: str, order: Order, said: dict[str, Any]) -> None:
    """Who did what about which dispute, in the unit of work that does it."""
    detail = {**said, "dispute_id": order.dispute.dispute_id if order.dispute else ""}
    await audit.add(
        uow, actor=call.token.actor, act=act, subject=f"order:{order.order_id}", detail=detail, now=call.now
    )


def _shown(order: Order) -> DisputeOut:
    shown = DisputeOut.of(order)
    assert shown is not None  # noqa: S101 - asked of disputed orders only
    return shown
