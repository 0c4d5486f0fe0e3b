"""What the buyer's node does with each callback: load, decide, save, tell. One letter is one unit of work.

A callback finds its order by the seller that signed it and the order's id, or by the message_id of the letter it
answers; so no seller can ever touch another's order. Callbacks may come unasked (a fresh message_id), late, twice, or
in another order than their causes: every decision asks the order's state, and news that is no news changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from bap import buyer, contracts, letters, quotes, translate
from bap.api_models import OfferOut
from bap.buyer import Step
from bap.casework import Case
from bap.translate import WireRefusal
from beckn.envelope import Letter
from beckn.node import Node
from beckn.processing import Handler
from store import events, searches
from store.db import UnitOfWork
from trade.order import OrderState

log = structlog.get_logger("bap.handlers")

#: Order not found (BECKN-005): the seller does not know the order it is asked about.
ORDER_NOT_FOUND = "30010"


# --- Before there is a contract ---------------------------------------------------------------------------------------


async def on_search(case: Case) -> None:
    """Offers for a search: kept in their newest version, and the app told how many came from whom."""
    letter, transaction_id = case.letter, case.letter.context.transaction_id
    if letter.error is not None:
        case.ignore(str(letter.error))
        return
    catalog = translate.catalog_from_wire(letter.message, letter.signer_id)
    for problem in catalog.problems:
        log.info("offer_unreadable", seller_id=letter.signer_id, sentence=str(problem))
    found = {(offer.provider.provider_id, offer.offer_id): OfferOut.of(offer) for offer in catalog.offers}
    told = {"transaction_id": transaction_id, "seller_id": letter.signer_id, "offers": len(found)}
    queued = await searches.put_offers(
        case.uow,
        transaction_id,
        letter.signer_id,
        [(*key, offer.model_dump_json()) for key, offer in found.items()],
        event=("search.offers", told),
        now=letter.received_at,
    )
    if queued is None:
        case.ignore("no such search")
    else:
        subject = f"search:{transaction_id}"
        letters.nudge_after(case.uow, case.node, subject, letter.signer_id, webhooks_wait=queued > 0)


async def on_select(case: Case) -> None:
    """A quote for a selection, or a refusal of it."""
    await _take_quote(case, quotes.record_quote)


async def on_init(case: Case) -> None:
    """The seller holds the energy, or refuses to."""
    await _take_quote(case, quotes.record_hold)


async def _take_quote(case: Case, record: Callable[..., Step | None]) -> None:
    order = await case.find_answered()
    if case.letter.error is not None:
        await case.refuse(order)
        return
    if order is None or not case.is_answer(order):
        case.ignore("no order waits for it")
        return
    try:
        step = record(order, case.quoted(order), now=case.now)
    except WireRefusal as problem:
        sentence, step = f"The seller's quote cannot be traded on: {problem}", None
        if buyer.can_refuse(order):
            step = buyer.refuse(order, code="QUOTE_UNFIT", sentence=sentence, reserved_milli=0, now=case.now)
    await case.keep(order, step)


async def on_confirm(case: Case) -> None:
    """The contract stands, or the seller refuses it; an answer after a long silence counts as well."""
    if case.letter.error is not None:
        await case.refuse(await case.find_answered())
    elif seen := await case.view_order():
        view, order = seen
        await case.change(await case.confirm(order, view), view)


# --- The contract -----------------------------------------------------------------------------------------------------


async def on_status(case: Case) -> None:
    """How the seller sees the order. It may bring any news: confirmation, change, delivery, the end."""
    if case.letter.error is not None:
        await _status_refused(case)
        return
    seen = await case.view_order()
    if seen is None:
        return
    view, order = seen
    answers_cancel = case.is_answer(order) and order.state is OrderState.CANCELLING
    order = await case.confirm(order, view)
    if view.status == "CANCELLED":
        await case.cancel(order, view)
        return
    order = await case.change(order, view)
    order = await case.reckon(order, view)
    if answers_cancel and view.status == "ACTIVE":
        sentence = "The seller keeps the contract."
        order = await case.keep(order, contracts.refuse_cancel(order, code="", sentence=sentence, now=case.now))
    if view.detail_state == OrderState.DELIVERING:
        await case.keep(order, buyer.start_delivery(order, now=case.now))


async def _status_refused(case: Case) -> None:
    """A seller that does not know the order it was sent never confirmed it; other errors decide nothing."""
    order = await case.find_answered()
    code, _ = translate.error_from_wire(case.letter.error)
    if order is not None and order.state is OrderState.UNANSWERED and code == ORDER_NOT_FOUND:
        await case.refuse(order)
    else:
        await case.decline(order)


async def on_update(case: Case) -> None:
    """The contract as changed: the answer to our update, or the seller's curtailment; or a refusal of ours.

    Under two-sided policies also the seller's allocation, its settlement and its part in a dispute.
    """
    if case.letter.error is not None:
        await case.refuse_change(await case.find_answered())
    elif seen := await case.view_order():
        view, order = seen
        order = await case.change(await case.confirm(order, view), view)
        await case.reckon(order, view)


async def on_cancel(case: Case) -> None:
    """The contract is cancelled, by either side; or the seller refuses to cancel."""
    if case.letter.error is not None:
        await case.refuse_cancel(await case.find_answered())
    elif seen := await case.view_order():
        view, order = seen
        await case.cancel(await case.confirm(order, view), view)


# --- Answers that change no contract ----------------------------------------------------------------------------------


async def on_track(case: Case) -> None:
    """Where the delivery can be watched. A URL that is none of the web's is not passed on."""
    order = await case.find_answered()
    if order is None or case.letter.error is not None:
        await case.decline(order)
        return
    view = translate.tracking_from_wire(case.letter.message)
    await case.tell(order, "order.tracked", {"url": _web_url(view.url), "status": view.status})


async def on_support(case: Case) -> None:
    """How to reach whoever helps."""
    order = await case.find_answered()
    if order is None or case.letter.error is not None:
        await case.decline(order)
        return
    view = translate.support_from_wire(case.letter.message)
    told = {"phone": view.phone, "email": view.email, "url": _web_url(view.url)}
    await case.tell(order, "order.supported", told)


async def on_rating(case: Case) -> None:
    """The rating arrived; the seller may ask for more in a form."""
    order = await case.find_answered()
    if order is None or case.letter.error is not None:
        await case.decline(order)
        return
    form = translate.rating_form_from_wire(case.letter.message)
    told = {"url": _web_url(form.url), "required": form.is_required} if form else {}
    await case.tell(order, "order.rated", told)


async def cancellation_reasons(case: Case) -> None:
    """The reasons for cancelling that a seller knows."""
    reasons = translate.reasons_from_wire(case.letter.message)
    await _take_list(case, [{"id": reason.reason_id, "name": reason.name} for reason in reasons])


async def rating_categories(case: Case) -> None:
    """What a seller lets itself be rated for."""
    names = translate.categories_from_wire(case.letter.message)
    await _take_list(case, [{"id": name, "name": name} for name in names])


async def _take_list(case: Case, items: list[dict[str, str]]) -> None:
    """The answer to a question that belongs to no order."""
    letter, subject = case.letter, f"ask:{case.letter.context.message_id}"
    question = await events.first(case.uow, subject)
    if question is None or question["data"]["seller_id"] != letter.signer_id:
        case.ignore("nobody asked")
        return
    told: dict[str, Any] = {"items": items}
    if letter.error is not None:
        code, sentence = translate.error_from_wire(letter.error)
        told = {"items": None, "refusal": {"code": code, "sentence": sentence}}
    queued = await events.append(
        case.uow,
        token_id=question["token_id"],
        subject=subject,
        events=[("seller.answered", {**question["data"], **told})],
        now=letter.received_at,
    )
    letters.nudge_after(case.uow, case.node, subject, webhooks_wait=queued)


def _web_url(url: str) -> str:
    """The URL if a browser may safely follow it, else nothing."""
    return url if url.startswith(("https://", "http://")) else ""


#: Every action a buyer's node receives, with what it does.
ACTIONS: dict[str, Callable[[Case], Awaitable[None]]] = {
    "on_search": on_search,
    "on_select": on_select,
    "on_init": on_init,
    "on_confirm": on_confirm,
    "on_status": on_status,
    "on_track": on_track,
    "on_update": on_update,
    "on_cancel": on_cancel,
    "on_rating": on_rating,
    "on_support": on_support,
    "cancellation_reasons": cancellation_reasons,
    "rating_categories": rating_categories,
}


def table(node: Node) -> dict[str, Handler]:
    """The handlers of one node: each works on its letter's case, then wakes who waits for the answer."""

    def of(work: Callable[[Case], Awaitable[None]]) -> Handler:
        async def handle(letter: Letter, uow: UnitOfWork) -> None:
            case = Case(node, letter, uow)
            await work(case)
            case.announce()

        return handle

    return {action: of(work) for action, work in ACTIONS.items()}
