"""Prosumer's and operator's desk: objections to settlements, opened, followed, decided."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import Field

from api.contracts import DisputeOut
from api.desk import Call, Desk
from api.paging import ListOf, Page, Strict
from api.problems import ApiError, not_found
from bpp import casework, disputes, updates
from bpp.refusals import UnableTo
from bpp.scope import OPERATOR, PROSUMER, check_own, own_provider
from bpp.settling import Outcome
from bpp.shop import Shop
from store import disputes as stored
from store import orders
from trade.disputes import Decision
from trade.order import Order, Side


class DisputeIn(Strict):
    """What is wrong with the settlement."""

    reason: str = Field(min_length=1, max_length=500)


class DecisionIn(Strict):
    """How the dispute ends: the buyer's figure is accepted, or an own objection is withdrawn."""

    outcome: Decision
    note: str = Field(min_length=1, max_length=500, description="Why; kept in the audit trail and told to the buyer")


class DisputesOf(Page):
    """Query of the list of disputes."""

    state: Literal["OPEN", "RESOLVED"] | None = None


class Disputes:
    """The calls of this module."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this module."""
        tags = ["disputes"]
        desk.route(
            "POST",
            "/api/orders/{order_id}/disputes",
            role=PROSUMER,
            body=DisputeIn,
            answer=DisputeOut,
            status=201,
            tags=tags,
        )(self.open_dispute)
        desk.route("GET", "/api/disputes", role=PROSUMER, query=DisputesOf, answer=ListOf[DisputeOut], tags=tags)(
            self.list_disputes
        )
        desk.route(
            "POST",
            "/api/disputes/{dispute_id}/resolve",
            role=OPERATOR,
            body=DecisionIn,
            answer=DisputeOut,
            tags=tags,
        )(self.resolve)

    async def open_dispute(self, call: Call[DisputeIn]) -> DisputeOut:
        """Object to the settlement of an order, or to what became of a cancelled one.

        The buyer's node is told; figures stay as they are booked until somebody decides. 409 when the order is not
        settled, is in dispute already, or when the time for objections is over.
        """
        async with call.node.database.unit_of_work() as uow:
            order = await orders.lock(uow, call.path["order_id"])
            if order is None:
                raise not_found("order", call.path["order_id"])
            check_own(call, order.provider_id)
            try:
                outcome = disputes.object_to(
                    order, call.body.reason, dispute_id=str(uuid.uuid4()), at=self._shop.moment()
                )
            except UnableTo as refusal:
                raise ApiError(409, refusal.sentence, field="state") from refusal
            return await self._keep(call, uow, order, outcome, act="dispute.opened", note=call.body.reason)

    async def list_disputes(self, call: Call[None]) -> ListOf[DisputeOut]:
        """List disputes, the newest first; a prosumer sees those of its own provider."""
        query = call.query
        async with call.node.database.unit_of_work() as uow:
            found = await stored.newest(
                uow,
                Side.SELLER,
                provider_id=own_provider(call),
                is_open=None if query.state is None else query.state == "OPEN",
                after=query.after,
                limit=query.limit,
            )
        items = [shown for order in found if (shown := DisputeOut.of(order))]
        following = items[-1].dispute_id if len(items) == query.limit else None
        return ListOf[DisputeOut](items=items, next=following)

    async def resolve(self, call: Call[DecisionIn]) -> DisputeOut:
        """Decide a dispute: settle at the buyer's figure, or withdraw the objection that this side made.

        Both nodes then book the same figure; who decided and why is in the audit trail. 409 when it is decided
        already, was opened by the other side (for WITHDRAW), or when the buyer's node has named no figure.
        """
        async with call.node.database.unit_of_work() as uow:
            order = await stored.lock(uow, Side.SELLER, call.path["dispute_id"])
            if order is None:
                raise not_found("dispute", call.path["dispute_id"])
            try:
                outcome = disputes.resolve(order, call.body.outcome, at=self._shop.moment())
            except UnableTo as refusal:
                raise ApiError(409, refusal.sentence, field="outcome") from refusal
            return await self._keep(call, uow, order, outcome, act="dispute.resolved", note=call.body.note)

    async def _keep(
        self, call: Call[Any], uow: Any, before: Order, outcome: Outcome, *, act: str, note: str
    ) -> DisputeOut:
        await casework.keep(self._shop, uow, outcome, before=before)
        await updates.note_act(self._shop, uow, call.token.actor, act, outcome.order, note=note)
        return _shown(outcome.order)


def _shown(order: Order) -> DisputeOut:
    shown = DisputeOut.of(order)
    assert shown is not None  # noqa: S101 - asked of disputed orders only
    return shown
