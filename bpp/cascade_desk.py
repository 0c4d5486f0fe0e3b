"""Asking the utility: letters to it as its buyer, its answers, and what becomes of the buyer who waits meanwhile.

This node is a second subscriber to its utility, of type BAP, and asks it under transaction ids of its own. Orders and
questions are saved in the unit of work that sends the letter, so a crash forgets neither. `cascade` decides.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from beckn import envelope
from beckn.actions import ACTIONS, Role, received_by
from beckn.envelope import Letter, Party
from beckn.outbox import Outgoing
from bpp import cascade, casework, refusals, shelf, translate
from bpp.refusals import UnableTo, UnableToConfirm, UnableToHold
from bpp.seller import Decision
from bpp.shop import Shop
from bpp.translate import WireRefusal
from bpp.translate import utility as wire
from store import orders, utility_questions
from store.utility_questions import Question
from trade.order import Order, OrderEvent, OrderState, Side

log = structlog.get_logger("bpp.cascade")

#: Where the utility's answers arrive, under PUBLIC_URL.
PATH = "/beckn-bap"

_CODE = re.compile(r"[0-9]{5}", re.ASCII)


# --- Asking ----------------------------------------------------------------------------------------------------------


async def ask(shop: Shop, uow: Any, letter: Letter, held: Order) -> Order:
    """Ask for charges and limit of an order that is held; it waits. Raises UnableToHold before anything is written."""
    utility_id = shop.settings.utility_id
    url = await _url(shop, utility_id, UnableToHold)
    now, transaction_id, buyers = shop.node.wall.now(), str(uuid.uuid4()), letter.context.message_id
    until = now + timedelta(seconds=shop.settings.utility_answer_s_max)
    order = cascade.ask(
        held, utility_id=utility_id, transaction_id=transaction_id, buyer_message_id=buyers, until=until, now=now
    )
    asked = Question(transaction_id, order.order_id, utility_id, "init", buyers, now, until)
    await utility_questions.save(uow, asked)
    message = wire.carry_to_wire(cascade.request_of(order), utility_id=utility_id, billed_as=shop.node.me.subscriber_id)
    await _send(shop, uow, order, "init", message, url=url)
    return order


async def commit(shop: Shop, uow: Any, letter: Letter, order: Order, agreed: Order) -> None:
    """Ask the utility to log an order that its buyer confirmed; it waits. Raises UnableToConfirm before any writing."""
    url = await _url(shop, order.utility_id, UnableToConfirm)
    now, buyers = shop.node.wall.now(), letter.context.message_id
    until = now + timedelta(seconds=shop.settings.utility_chase_every_s)
    waiting = cascade.commit(order, agreed, buyer_message_id=buyers, until=until, now=now)
    await orders.save(uow, waiting)
    asked = Question(order.utility_transaction_id, order.order_id, order.utility_id, "confirm", buyers, now, until)
    await utility_questions.save(uow, asked)
    charges = wire.Charges(order.wheeling_micro_per_kwh, order.wheeling_seller_micro_per_kwh, None)
    message = wire.carry_to_wire(
        cascade.request_of(order),
        utility_id=order.utility_id,
        billed_as=shop.node.me.subscriber_id,
        charges=charges,
    )
    await _send(shop, uow, waiting, "confirm", message, url=url)


async def confirmed_again(shop: Shop, uow: Any, letter: Letter, order: Order) -> None:
    """The buyer repeats its confirm while the utility is asked: the newest letter is the one that is answered."""
    question = await utility_questions.get(uow, order.utility_transaction_id)
    if question is None or order.awaiting_until is None:
        return
    now, buyers = shop.node.wall.now(), letter.context.message_id
    await utility_questions.save(uow, replace(question, buyer_message_id=buyers))
    again = cascade.still_waiting(order, buyer_message_id=buyers, until=order.awaiting_until, now=now)
    await orders.save(uow, again)


async def follow(shop: Shop, uow: Any, before: Order, after: Order) -> None:
    """Tell the utility that a contract it carries became smaller, or nothing: its limit is free again."""
    if not after.utility_id or before.state is OrderState.CANCELLED:
        return
    if after.state is OrderState.CANCELLED:
        await _send(shop, uow, after, "cancel", wire.order_id_to_wire(after.order_id))
    elif after.contracted_wh != before.contracted_wh:
        message = wire.resize_to_wire(cascade.request_of(after), utility_id=after.utility_id)
        await _send(shop, uow, after, "update", message)


async def _url(shop: Shop, utility_id: str, refusal: type[UnableTo]) -> str:
    url = await shop.node.directory.url_of(utility_id, Role.BPP.value)
    if url is None:
        raise refusal(
            refusals.NOT_APPLICABLE,
            f"The utility {utility_id}, which carries what is sold here, is not in the network's registry now; try"
            " again later.",
        )
    return url


async def _send(
    shop: Shop, uow: Any, order: Order, action: str, message: dict[str, Any], *, url: str | None = None
) -> None:
    """A letter to the utility, from this node as its buyer."""
    node, now = shop.node, shop.node.wall.now()
    url = url or await node.directory.url_of(order.utility_id, Role.BPP.value)
    if url is None or node.second_me is None:
        log.error("utility_not_told", utility=order.utility_id, order_id=order.order_id, action=action)
        return
    message_id = str(uuid.uuid4())
    context = envelope.request_context(
        action=action,
        network=node.network,
        bap=node.second_me,
        bpp=Party(order.utility_id, url),
        transaction_id=order.utility_transaction_id,
        message_id=message_id,
        now=now,
    )
    await node.outbox.post(
        uow,
        action=action,
        receiver_id=order.utility_id,
        url=url,
        body=envelope.build(context, message),
        transaction_id=order.utility_transaction_id,
        message_id=message_id,
        now=now,
    )


# --- Answers ---------------------------------------------------------------------------------------------------------


def handlers(shop: Shop) -> dict[str, Callable[[Letter, Any], Awaitable[None]]]:
    """The handler of every callback that a buyer receives; those we never ask for are only noted."""

    def of(work: Callable[[Shop, Letter, Any], Awaitable[None]]) -> Callable[[Letter, Any], Awaitable[None]]:
        async def handle(letter: Letter, uow: Any) -> None:
            await work(shop, letter, uow)

        return handle

    heard = {"on_init": on_init, "on_confirm": on_confirm, "on_status": on_status, "on_update": on_changed,
             "on_cancel": on_changed}  # fmt: skip
    return {action.name: of(heard.get(action.name, _unasked)) for action in received_by(Role.BAP)}


async def on_init(shop: Shop, letter: Letter, uow: Any) -> None:
    """The utility's charges: the order is priced with them and the buyer hears; or its refusal, word for word."""
    order = await _waiting(uow, letter, OrderState.CLEARING)
    if order is None:
        return
    if letter.error is not None:
        await _refused_by(shop, uow, order, letter.error)
        return
    try:
        charges = wire.charges_from_wire(letter.message)
    except WireRefusal as problem:
        sentence = f"The answer of the utility {order.utility_id} cannot be used: {problem.sentence}"
        await _refuse(shop, uow, order, code=refusals.NOT_APPLICABLE, sentence=sentence)
        return
    cleared = cascade.cleared(
        order,
        wheeling_buyer_micro_per_kwh=charges.wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=charges.wheeling_seller_micro_per_kwh,
        quote_id=str(uuid.uuid4()),
        at=shop.moment(),
    )
    await orders.save(uow, cleared)
    await _answered(uow, order)
    offer = await shelf.get(uow, order.offer_id)
    assert offer is not None  # noqa: S101 - offers are withdrawn but never removed
    provider = await shop.faces.known(uow, order.provider_id)
    await _answer_buyer(shop, uow, order, translate.quote_to_wire(cleared, provider, offer))


async def on_confirm(shop: Shop, letter: Letter, uow: Any) -> None:
    """The utility has logged the trade: the contract stands. Or it has not: there is none."""
    order = await _waiting(uow, letter, OrderState.COMMITTING)
    if order is None:
        return
    if letter.error is not None:
        await _refused_by(shop, uow, order, letter.error)
    elif wire.is_carried(letter.message):
        decision = cascade.committed(order, await shelf.lock_known(uow, order.offer_id), now=shop.node.wall.now())
        await _keep(uow, order, decision)
        await casework.note(uow, decision.order)  # it may be delivered and measured already
        provider = await shop.faces.known(uow, order.provider_id)
        await _answer_buyer(shop, uow, order, translate.order_to_wire(decision.order, provider))
    else:
        await _refuse(shop, uow, order, code=refusals.NOT_APPLICABLE, sentence="The utility has not logged the trade.")


async def on_status(shop: Shop, letter: Letter, uow: Any) -> None:
    """The answer to a chase: as good as an on_confirm. No such trade is a no; other errors say nothing."""
    code = wire.error_from_wire(letter.error)[0] if letter.error is not None else ""
    if code in ("", refusals.ORDER_NOT_FOUND):
        await on_confirm(shop, letter, uow)
    else:
        log.info("utility_status_unclear", utility=letter.signer_id, code=code)


async def on_changed(shop: Shop, letter: Letter, uow: Any) -> None:
    """The utility's word on a trade: what we asked for is done, or a side's figure is replaced by its own.

    A refusal leaves its limit used, and is noted; so is a figure that comes too late or for other slots.
    """
    if letter.error is not None:
        code, sentence = wire.error_from_wire(letter.error)
        log.warning("utility_keeps_trade", utility=letter.signer_id, code=code, sentence=sentence,
                    transaction_id=letter.context.transaction_id)  # fmt: skip
        return
    try:
        said = wire.allocations_from_wire(letter.message)
    except WireRefusal as problem:
        log.warning("utility_figure_unreadable", utility=letter.signer_id, sentence=problem.sentence)
        return
    question = await utility_questions.get(uow, letter.context.transaction_id) if said else None
    if question is None or question.utility_id != letter.signer_id:
        return
    order, figures = await orders.lock(uow, question.order_id), {Side(side): wh for side, wh in said.items()}
    if order is None or not await casework.take_figures(shop, uow, order, figures):
        log.warning("utility_figure_too_late", utility=letter.signer_id, order_id=question.order_id)


async def _unasked(shop: Shop, letter: Letter, uow: Any) -> None:
    log.info("callback_nobody_asked_for", action=letter.context.action, signer=letter.signer_id)


async def _waiting(uow: Any, letter: Letter, state: OrderState) -> Order | None:
    """The order that waits for this answer, locked; None when none does, or another node answers."""
    question = await utility_questions.get(uow, letter.context.transaction_id)
    if question is None or question.utility_id != letter.signer_id:
        log.info("callback_nobody_asked_for", action=letter.context.action, signer=letter.signer_id)
        return None
    return await _locked(uow, question, state)


async def _locked(uow: Any, question: Question, *states: OrderState) -> Order | None:
    order = await orders.lock(uow, question.order_id)
    is_current = order is not None and order.utility_transaction_id == question.transaction_id
    return order if is_current and order is not None and order.state in states else None


# --- The buyer who waits ---------------------------------------------------------------------------------------------


async def _refused_by(shop: Shop, uow: Any, order: Order, error: dict[str, Any]) -> None:
    """The utility's own refusal, passed on with its code and its sentence."""
    code, sentence = wire.error_from_wire(error)
    told = cascade.refusal_sentence(order.utility_id, sentence)
    await _refuse(shop, uow, order, code=code if _CODE.fullmatch(code) else refusals.NOT_APPLICABLE, sentence=told)


async def _refuse(
    shop: Shop, uow: Any, order: Order, *, code: str, sentence: str, event: OrderEvent = OrderEvent.UTILITY_REFUSED
) -> None:
    """No order: free the energy, and answer the buyer with the reason."""
    offer, now = await shelf.lock_known(uow, order.offer_id), shop.node.wall.now()
    await _keep(uow, order, cascade.refused(order, offer, code=code, sentence=sentence, event=event, now=now))
    log.info("utility_refused", utility=order.utility_id, order_id=order.order_id, code=code, sentence=sentence)
    message, error = translate.refusal_to_wire(_callback(order), WireRefusal(code, "", sentence))
    await _answer_buyer(shop, uow, order, message, error)


async def _keep(uow: Any, waiting: Order, decision: Decision) -> None:
    await orders.save(uow, decision.order)
    await shelf.save_taken(uow, decision.offer)
    await _answered(uow, waiting)


async def _answered(uow: Any, order: Order) -> None:
    question = await utility_questions.get(uow, order.utility_transaction_id)
    if question is not None:
        await utility_questions.save(uow, replace(question, due_at=None))


async def _answer_buyer(
    shop: Shop, uow: Any, waiting: Order, message: dict[str, Any], error: dict[str, Any] | None = None
) -> None:
    """The callback that the buyer's letter is still owed, under that letter's message_id."""
    await shop.call_back(
        uow,
        _callback(waiting),
        message,
        error,
        receiver_id=waiting.counterparty_id,
        transaction_id=waiting.transaction_id,
        message_id=waiting.awaiting_message_id,
    )


def _callback(waiting: Order) -> str:
    return "on_init" if waiting.state is OrderState.CLEARING else "on_confirm"


# --- Silence ---------------------------------------------------------------------------------------------------------


async def look_after(shop: Shop) -> int:
    """Questions that waited long enough: an init is refused, a confirm is asked about; how many there were."""
    done, after = 0, None
    while True:
        async with shop.node.database.unit_of_work() as uow:
            batch = await utility_questions.due(
                uow, now=shop.node.wall.now(), after=after, limit=shop.settings.job_batch_max
            )
        for question in batch:
            await _overdue(shop, question)
            after = (question.due_at or question.asked_at, question.transaction_id)
        done += len(batch)
        if len(batch) < shop.settings.job_batch_max:
            return done


async def _overdue(shop: Shop, found: Question) -> None:
    async with shop.node.database.unit_of_work() as uow:
        order = await _locked(uow, found, OrderState.CLEARING, OrderState.COMMITTING)
        question, now = await utility_questions.get(uow, found.transaction_id), shop.node.wall.now()
        if question is None or question.due_at is None or question.due_at > now:
            return  # it was answered, or asked again, meanwhile
        if order is None:
            await utility_questions.save(uow, replace(question, due_at=None))
        elif order.state is OrderState.CLEARING:
            sentence = (
                f"The utility {order.utility_id} has not answered within"
                f" {shop.settings.utility_answer_s_max:g} s; send init again later."
            )
            await _refuse(shop, uow, order, code=refusals.NOT_APPLICABLE, sentence=sentence, event=OrderEvent.NO_ANSWER)
        else:
            await _chase(shop, uow, order, question, now)


async def _chase(shop: Shop, uow: Any, order: Order, question: Question, now: datetime) -> None:
    """Ask whether the utility carries an order, and go on waiting."""
    until = now + timedelta(seconds=shop.settings.utility_chase_every_s)
    await orders.save(uow, cascade.still_waiting(order, until=until, now=now))
    await utility_questions.save(uow, replace(question, due_at=until))
    await _send(shop, uow, order, "status", wire.order_id_to_wire(order.order_id))


async def undelivered(shop: Shop, uow: Any, letter: Outgoing, outcome: dict[str, Any], certain: bool) -> None:
    """A letter to the utility that it certainly did not take is a no; one that it may have taken is chased on."""
    if ACTIONS[letter.action].is_callback or letter.action not in ("init", "confirm"):
        return
    question = await utility_questions.get(uow, letter.transaction_id)
    if question is None or question.action != letter.action or not (certain or letter.action == "init"):
        return
    order = await _locked(uow, question, OrderState.CLEARING, OrderState.COMMITTING)
    if order is not None:
        said = str(outcome.get("message") or "it does not take letters")
        sentence = f"The utility {order.utility_id} did not take the request: {said}"
        await _refuse(shop, uow, order, code=refusals.NOT_APPLICABLE, sentence=sentence)
