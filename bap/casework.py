"""What the handlers of callbacks share: finding the order, deciding by the use cases, storing what was decided."""

from __future__ import annotations

from typing import Any

import structlog

from bap import buyer, contracts, letters, translate
from bap.buyer import Step
from bap.translate import OrderView, WireRefusal
from beckn.envelope import Letter
from beckn.node import Node
from store import audit, customers, events, orders
from store.db import UnitOfWork
from trade.money import Series
from trade.order import Order, OrderState, Side

log = structlog.get_logger("bap.handlers")

#: Order not found (BECKN-005): the seller does not know the order it is asked about.
ORDER_NOT_FOUND = "30010"


class Casework:
    """One node's work on the orders that callbacks are about."""

    def __init__(self, node: Node) -> None:
        self._node = node

    # --- Load -------------------------------------------------------------------------------------------------------

    async def _answered(self, letter: Letter, uow: UnitOfWork) -> Order | None:
        """The order whose letter this one answers."""
        return await customers.lock_answered(
            uow,
            seller_id=letter.signer_id,
            transaction_id=letter.context.transaction_id,
            message_id=letter.context.message_id,
        )

    async def _viewed(self, letter: Letter, uow: UnitOfWork) -> tuple[OrderView | None, Order | None]:
        """What the letter says and the order it is about; (None, None) when it cannot be read or is not ours."""
        try:
            view = translate.order_from_wire(letter.message)
        except WireRefusal as problem:
            ignored(letter, f"unreadable: {problem}")
            return None, None
        order = await orders.lock_by_wire(
            uow, side=Side.BUYER, counterparty_id=letter.signer_id, wire_order_id=view.wire_order_id
        ) or await self._answered(letter, uow)
        if order is None:
            await self._stranger(letter, uow, view.wire_order_id)
            return None, None
        return view, order

    async def _stranger(self, letter: Letter, uow: UnitOfWork, wire_order_id: str) -> None:
        """A callback about no order of this seller's; about another seller's it is written into the audit."""
        ignored(letter, "no order of this seller")
        if await customers.sellers_of(uow, wire_order_id):
            await audit.add(
                uow,
                actor=letter.signer_id,
                act="callback_for_anothers_order",
                subject=wire_order_id,
                detail={"action": letter.context.action, "message_id": letter.context.message_id},
                now=letter.received_at,
            )

    # --- Decide -----------------------------------------------------------------------------------------------------

    async def _confirmed(self, letter: Letter, uow: UnitOfWork, order: Order, view: OrderView) -> Order:
        """Take any sign of the contract as its confirmation, under the id the seller gives it."""
        if not view.status:
            return order
        wire_order_id = view.wire_order_id
        if wire_order_id != order.wire_order_id and await orders.is_wire_id_taken(
            uow,
            side=Side.BUYER,
            counterparty_id=letter.signer_id,
            wire_order_id=wire_order_id,
            by_other_than=order.order_id,
        ):
            ignored(letter, "the seller used another order's id")
            wire_order_id = order.wire_order_id
        step = buyer.record_confirmation(order, wire_order_id=wire_order_id, now=self._node.wall.now())
        return await self._keep(uow, order, step)

    async def _cancelled(self, letter: Letter, uow: UnitOfWork, order: Order, view: OrderView) -> Order:
        asked_for = order.state is OrderState.CANCELLING
        step = contracts.record_cancellation(
            order,
            cancelled_by=view.cancelled_by or ("CONSUMER" if asked_for else "PROVIDER"),
            fee_minor=view.fee_minor,
            reserved_minor=await letters.reserved(uow, order),
            now=self._node.wall.now(),
            now_trading=self._node.trading.now(),
        )
        return await self._keep(uow, order, step)

    async def _changed(
        self, letter: Letter, uow: UnitOfWork, order: Order, view: OrderView, *, is_answer: bool
    ) -> Order:
        """Follow the seller's series, if it gives one: as the answer to our change, or as a curtailment."""
        asked = None
        if is_answer and contracts.waits_for_change(order):
            asked = await self._asked_series(uow, order)
        if view.contracted_wh is None or (asked is None and view.contracted_wh == order.contracted_wh):
            return order
        step = contracts.record_change(
            order,
            view.contracted_wh,
            asked_wh=asked,
            seller_total_minor=view.total_minor,
            reserved_minor=await letters.reserved(uow, order),
            message_id=letter.letter_id,
            now=self._node.wall.now(),
        )
        return await self._keep(uow, order, step)

    async def _asked_series(self, uow: UnitOfWork, order: Order) -> Series | None:
        """The series of the newest update we sent."""
        told = await events.newest(uow, f"order:{order.order_id}", ["order.update_sent"])
        return order.contracted_wh.with_values(tuple(told[0][1]["energy_wh"])) if told else None

    async def _completed(self, letter: Letter, uow: UnitOfWork, order: Order, view: OrderView) -> Order:
        step = contracts.record_completion(
            order,
            metered_wh=view.metered_wh,
            seller_lines=view.settlement.lines if view.settlement else view.lines,
            reserved_minor=await letters.reserved(uow, order),
            now=self._node.wall.now(),
            now_trading=self._node.trading.now(),
        )
        return await self._keep(uow, order, step)

    async def _refused(self, letter: Letter, uow: UnitOfWork, order: Order | None) -> None:
        """An error callback to select, init or confirm: the order ends, unless it has gone on."""
        if order is None or not buyer.can_refuse(order) or not self._is_awaited(letter, order):
            await self._declined(letter, uow, order)
            return
        code, sentence = translate.error_from_wire(letter.error)
        step = buyer.refuse(
            order,
            code=code,
            sentence=sentence,
            reserved_minor=await letters.reserved(uow, order) if order.wire_order_id else 0,
            now=self._node.wall.now(),
        )
        await self._keep(uow, order, step)

    async def _status_refused(self, letter: Letter, uow: UnitOfWork) -> None:
        """A seller that does not know the order it was sent never confirmed it; other errors decide nothing."""
        order = await self._answered(letter, uow)
        code, _ = translate.error_from_wire(letter.error)
        if order is not None and order.state is OrderState.UNANSWERED and code == ORDER_NOT_FOUND:
            await self._refused(letter, uow, order)
        else:
            await self._declined(letter, uow, order)

    async def _cancel_refused(self, letter: Letter, uow: UnitOfWork, order: Order | None) -> None:
        code, sentence = translate.error_from_wire(letter.error)
        step = order and contracts.refuse_cancel(order, code=code, sentence=sentence, now=self._node.wall.now())
        if order is None or not isinstance(step, Step):
            await self._declined(letter, uow, order)
        else:
            await self._keep(uow, order, step)

    async def _change_refused(self, letter: Letter, uow: UnitOfWork, order: Order) -> None:
        code, sentence = translate.error_from_wire(letter.error)
        step = contracts.refuse_update(
            order,
            code=code,
            sentence=sentence,
            reserved_minor=await letters.reserved(uow, order),
            message_id=letter.letter_id,
            now=self._node.wall.now(),
        )
        await self._keep(uow, order, step)

    def _answers_change(self, letter: Letter, order: Order) -> bool:
        return contracts.waits_for_change(order) and self._is_awaited(letter, order)

    @staticmethod
    def _is_awaited(letter: Letter, order: Order) -> bool:
        """True for the answer to the order's last letter, and for one to its confirm while that is chased."""
        return letter.context.message_id == order.awaiting_message_id or order.state is OrderState.UNANSWERED

    # --- Save and tell ----------------------------------------------------------------------------------------------

    async def _keep(self, uow: UnitOfWork, order: Order, step: Step | None) -> Order:
        """Store a step; None was no news."""
        if step is None:
            return order
        return await letters.keep(uow, self._node, step, before=order, now=self._node.wall.now())

    async def _tell(self, letter: Letter, uow: UnitOfWork, order: Order, kind: str, data: dict[str, Any]) -> None:
        """Tell the app something about an order that leaves the order as it is."""
        await self._keep(uow, order, Step(order, (), ((kind, data),)))

    async def _declined(self, letter: Letter, uow: UnitOfWork, order: Order | None) -> None:
        """A question the seller does not answer, or a refusal that comes too late to change anything."""
        if order is None:
            ignored(letter, "no order asked this")
            return
        code, sentence = translate.error_from_wire(letter.error)
        told = {"action": letter.context.action, "code": code, "sentence": sentence}
        await self._tell(letter, uow, order, "order.answer_refused", told)


def ignored(letter: Letter, why: str) -> None:
    """Note a callback that changes nothing."""
    log.info("callback_ignored", action=letter.context.action, signer_id=letter.signer_id, why=why,
             transaction_id=letter.context.transaction_id, message_id=letter.context.message_id)  # fmt: skip
