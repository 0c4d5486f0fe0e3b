"""What becomes of an order whose letter was not delivered: refused for certain, or with an outcome nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bap import buyer, contracts, letters, reckoning
from bap.buyer import Step
from beckn.node import Node
from beckn.outbox import Outgoing
from store import buyer_orders, events, searches
from store.db import UnitOfWork
from trade.order import Order


async def on_undelivered(node: Node, uow: UnitOfWork, letter: Outgoing, outcome: dict[str, Any], certain: bool) -> None:
    """Told by the outbox, in the unit of work that parks the letter.

    `certain` means that the letter changed nothing at the peer: then a draft or a confirm is refused and its money
    released. Otherwise the peer may have acted on it, and the order is chased until the seller says how it stands.
    """
    code, sentence = _why(letter, outcome)
    if letter.action == "search":
        await _search_failed(node, uow, letter, sentence)
    else:
        order = await buyer_orders.lock_answered(
            uow, seller_id=letter.receiver_id, transaction_id=letter.transaction_id, message_id=letter.message_id
        )
        if order is None:
            await _question_failed(node, uow, letter, code, sentence)
        else:
            step = await _decide(node, uow, order, letter, code=code, sentence=sentence, certain=certain)
            order = await letters.keep(uow, node, step, before=order, now=node.wall.now())
            if letter.action == "update" and outcome.get("result") == "GIVEN_UP":
                order = await reckoning.say_again(uow, node, order)
            letters.announce(uow, node, order, answers=letter.message_id)


def _why(letter: Outgoing, outcome: dict[str, Any]) -> tuple[str, str]:
    said = outcome.get("message") or "no answer"
    if outcome.get("result") == "NACK":
        return str(outcome.get("code") or "NACK"), f"The seller's node refused the {letter.action}: {said}"
    return "UNDELIVERED", f"The {letter.action} could not be delivered: {said}"


async def _decide(
    node: Node, uow: UnitOfWork, order: Order, letter: Outgoing, *, code: str, sentence: str, certain: bool
) -> Step:
    now, told = node.wall.now(), {"action": letter.action, "code": code, "sentence": sentence}
    is_awaited = letter.message_id == order.awaiting_message_id
    if letter.action in ("select", "init", "confirm") and is_awaited and buyer.can_refuse(order):
        if not certain:
            wait = node.settings.contract_wait
            return buyer.note_silence(order, message_id=letter.message_id, now=now, wait=wait)
        held = await letters.reserved(uow, order)
        return buyer.refuse(order, code=code, sentence=sentence, reserved_milli=held, now=now)
    if letter.action == "cancel" and certain:
        refused = contracts.refuse_cancel(order, code=code, sentence=sentence, now=now)
        if refused is not None:
            return refused
    if letter.action == "update" and is_awaited and certain and contracts.waits_for_change(order):
        held = await letters.reserved(uow, order)
        return contracts.refuse_update(
            order, code=code, sentence=sentence, reserved_milli=held, message_id=letter.message_id, now=now
        )
    if letter.action in ("cancel", "update") and is_awaited and order.awaiting_until is not None:
        order = replace(order, awaiting_until=now)  # it may have arrived: ask how the order stands, and at once
    return Step(order, (), (("order.answer_refused", told),))


async def _search_failed(node: Node, uow: UnitOfWork, letter: Outgoing, sentence: str) -> None:
    search = await searches.get(uow, letter.transaction_id, token_id=None)
    if search is None:
        return
    subject = f"search:{letter.transaction_id}"
    told = {"transaction_id": letter.transaction_id, "sentence": sentence}
    queued = await events.append(
        uow,
        token_id=search["token_id"],
        subject=subject,
        events=[("search.undelivered", told)],
        now=node.wall.now(),
    )
    letters.nudge_after(uow, node, subject, webhooks_wait=queued)


async def _question_failed(node: Node, uow: UnitOfWork, letter: Outgoing, code: str, sentence: str) -> None:
    subject = f"ask:{letter.message_id}"
    question = await events.first(uow, subject)
    if question is None:
        return
    told = {**question["data"], "items": None, "refusal": {"code": code, "sentence": sentence}}
    queued = await events.append(
        uow,
        token_id=question["token_id"],
        subject=subject,
        events=[("seller.answered", told)],
        now=node.wall.now(),
    )
    letters.nudge_after(uow, node, subject, webhooks_wait=queued)
