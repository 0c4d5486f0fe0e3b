"""One callback's work: find the order it is about, decide by the use cases, store what was decided, wake who waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from bap import buyer, contracts, letters, reckoning, translate
from bap.buyer import Step
from bap.quotes import Quoted
from bap.translate import OrderView, QuoteView, WireRefusal
from beckn.envelope import Letter
from beckn.node import Node
from store import audit, buyer_orders, events, orders
from store.db import UnitOfWork
from trade.money import Series
from trade.order import Order, OrderState, Side
from trade.policy import PLAIN

log = structlog.get_logger("bap.handlers")


@dataclass(slots=True)
class Case:
    """A letter being worked on, in its unit of work; `order` is the one it is about, once found, as it is now."""

    node: Node
    letter: Letter
    uow: UnitOfWork
    order: Order | None = None

    @property
    def now(self) -> datetime:
        """The wall clock."""
        return self.node.wall.now()

    # --- Load -------------------------------------------------------------------------------------------------------

    async def find_answered(self) -> Order | None:
        """The order whose letter this one answers, locked."""
        self.order = await buyer_orders.lock_answered(
            self.uow,
            seller_id=self.letter.signer_id,
            transaction_id=self.letter.context.transaction_id,
            message_id=self.letter.context.message_id,
        )
        return self.order

    async def view_order(self) -> tuple[OrderView, Order] | None:
        """What the letter says and the order it is about, locked; None when unreadable or not this seller's."""
        try:
            view = translate.order_from_wire(self.letter.message)
        except WireRefusal as problem:
            self.ignore(f"unreadable: {problem}")
            return None
        self.order = await orders.lock_by_wire(
            self.uow, side=Side.BUYER, counterparty_id=self.letter.signer_id, wire_order_id=view.wire_order_id
        )
        order = self.order or await self.find_answered()
        if order is None:
            await self._note_stranger(view.wire_order_id)
            return None
        return view, order

    async def _note_stranger(self, wire_order_id: str) -> None:
        """A callback about no order of this seller's; about another seller's it is written into the audit."""
        self.ignore("no order of this seller")
        if await buyer_orders.sellers_of(self.uow, wire_order_id):
            await audit.add(
                self.uow,
                actor=self.letter.signer_id,
                act="callback_for_anothers_order",
                subject=wire_order_id,
                detail={"action": self.letter.context.action, "message_id": self.letter.context.message_id},
                now=self.letter.received_at,
            )

    def is_awaited(self, order: Order) -> bool:
        """True for the answer to the order's last letter, and for one to its confirm while that is chased."""
        return self.is_answer(order) or order.state is OrderState.UNANSWERED

    def is_answer(self, order: Order) -> bool:
        """True for the answer to the order's last letter."""
        return self.letter.context.message_id == order.awaiting_message_id

    # --- Decide -----------------------------------------------------------------------------------------------------

    def quoted(self, order: Order) -> Quoted:
        """The letter's quote in the words of the use case; raises WireRefusal."""
        view: QuoteView = translate.quote_from_wire(self.letter.message, order, self.letter.context.timestamp)
        details = {
            "wheeling_micro_per_kwh": view.wheeling_micro_per_kwh,
            "wheeling_seller_micro_per_kwh": view.wheeling_seller_micro_per_kwh,
            "provider_name": view.provider_name,
            "cancellation_terms": view.cancellation_terms,
            "payment_id": view.payment_id,
            "fulfillment_id": view.fulfillment_id,
            "fulfillment_type": view.fulfillment_type,
        }
        policy_id = view.policy or PLAIN.id
        return Quoted(view.quote, view.contracted_wh, view.price_micro_per_kwh, details, policy_id, view.policy_digest)

    async def confirm(self, order: Order, view: OrderView) -> Order:
        """Take any sign of the contract as its confirmation, under the id the seller gives it."""
        if not view.status:
            return order
        wire_order_id = view.wire_order_id
        if wire_order_id != order.wire_order_id and await orders.is_wire_id_taken(
            self.uow,
            side=Side.BUYER,
            counterparty_id=self.letter.signer_id,
            wire_order_id=wire_order_id,
            by_other_than=order.order_id,
        ):
            self.ignore("the seller used another order's id")
            wire_order_id = order.wire_order_id
        return await self.keep(order, buyer.record_confirmation(order, wire_order_id=wire_order_id, now=self.now))

    async def change(self, order: Order, view: OrderView) -> Order:
        """Follow the seller's series, if it gives one: as the answer to our change, or as a curtailment."""
        asked = None
        if self.is_answer(order) and contracts.waits_for_change(order):
            asked = await self._asked_series(order)
        if view.contracted_wh is None or (asked is None and view.contracted_wh == order.contracted_wh):
            return order
        step = contracts.record_change(
            order,
            view.contracted_wh,
            asked_wh=asked,
            seller_total_milli=view.total_milli,
            reserved_milli=await self._reserved(order),
            message_id=self.letter.letter_id,
            now=self.now,
        )
        return await self.keep(order, step)

    async def _asked_series(self, order: Order) -> Series | None:
        """The series of the newest update we sent."""
        told = await events.newest(self.uow, f"order:{order.order_id}", ["order.update_sent"])
        return order.contracted_wh.with_values(tuple(told[0][1]["energy_wh"])) if told else None

    async def cancel(self, order: Order, view: OrderView) -> Order:
        """The contract has ended: the fee, if any, to the seller, the rest back; or a dispute about the fee."""
        asked_for = order.state is OrderState.CANCELLING
        verdict = contracts.record_cancellation(
            order,
            cancelled_by=view.cancelled_by or ("CONSUMER" if asked_for else "PROVIDER"),
            fee_milli=view.fee_milli,
            reserved_milli=await self._reserved(order),
            at=letters.moment(self.node),
        )
        self.order = await reckoning.carry_out(self.uow, self.node, order, verdict)
        return self.order

    async def reckon(self, order: Order, view: OrderView) -> Order:
        """What the seller says of how the order ends: allocations, settlement, disputes."""
        message_id = self.letter.context.message_id
        self.order = await reckoning.hear(self.uow, self.node, order, view, message_id=message_id)
        return self.order

    async def refuse(self, order: Order | None) -> None:
        """An error callback to select, init or confirm: the order ends, unless it has gone on."""
        if order is None or not buyer.can_refuse(order) or not self.is_awaited(order):
            await self.decline(order)
            return
        code, sentence = translate.error_from_wire(self.letter.error)
        held = await self._reserved(order)
        step = buyer.refuse(order, code=code, sentence=sentence, reserved_milli=held, now=self.now)
        await self.keep(order, step)

    async def refuse_cancel(self, order: Order | None) -> None:
        """The seller does not cancel: the contract stands."""
        code, sentence = translate.error_from_wire(self.letter.error)
        step = None
        if order is not None:
            step = contracts.refuse_cancel(order, code=code, sentence=sentence, now=self.now)
        if order is None or step is None:
            await self.decline(order)
        else:
            await self.keep(order, step)

    async def refuse_change(self, order: Order | None) -> None:
        """The seller keeps the contract as it was."""
        if order is None or not contracts.waits_for_change(order) or not self.is_answer(order):
            await self.decline(order)
            return
        code, sentence = translate.error_from_wire(self.letter.error)
        step = contracts.refuse_update(
            order,
            code=code,
            sentence=sentence,
            reserved_milli=await self._reserved(order),
            message_id=self.letter.letter_id,
            now=self.now,
        )
        await self.keep(order, step)

    async def decline(self, order: Order | None) -> None:
        """A question the seller does not answer, or a refusal that comes too late to change anything."""
        code, sentence = translate.error_from_wire(self.letter.error)
        if order is None:
            self.ignore(f"no order asked this: {sentence}")
            return
        told = {"action": self.letter.context.action, "code": code, "sentence": sentence}
        await self.tell(order, "order.answer_refused", told)

    async def _reserved(self, order: Order) -> int:
        """What the order's escrow holds: nothing before a confirm."""
        return await letters.reserved(self.uow, order) if order.wire_order_id else 0

    # --- Save and tell ----------------------------------------------------------------------------------------------

    async def keep(self, order: Order, step: Step | None) -> Order:
        """Store a step; None was no news."""
        if step is not None:
            order = self.order = await letters.keep(self.uow, self.node, step, before=order, now=self.now)
        return order

    async def tell(self, order: Order, kind: str, data: dict[str, Any]) -> None:
        """Tell the app something about an order that leaves the order as it is."""
        await self.keep(order, Step(order, (), ((kind, data),)))

    def announce(self) -> None:
        """Wake those who wait for this answer, and those who watch the order."""
        if self.order is not None:
            letters.announce(self.uow, self.node, self.order, answers=self.letter.context.message_id)

    def ignore(self, why: str) -> None:
        """Note a callback that changes nothing."""
        context = self.letter.context
        log.info("callback_ignored", action=context.action, signer_id=self.letter.signer_id, why=why,
                 transaction_id=context.transaction_id, message_id=context.message_id)  # fmt: skip
