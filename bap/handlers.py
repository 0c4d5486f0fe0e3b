"""What the buyer's node does with each callback: load, decide, save, tell. One letter is one unit of work.

A callback finds its order by the seller that signed it and the order's id, or by the message_id of the letter it
answers; so no seller can ever touch another's order. Callbacks may come unasked (a fresh message_id), late, twice, or
in another order than their causes: every decision asks the order's state, and news that is no news changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from bap import buyer, contracts, letters, translate
from bap.api_models import OfferOut
from bap.buyer import Quoted, Step
from bap.casework import Casework, ignored
from bap.translate import QuoteView, WireRefusal
from beckn.envelope import Letter
from beckn.processing import Handler
from store import events, searches
from store.db import UnitOfWork
from trade.order import OrderState

log = structlog.get_logger("bap.handlers")

#: A use case that takes a quote: order and quote in, `now` by name.
Record = Callable[..., Step | None]


class Callbacks(Casework):
    """The handlers of one node."""

    def table(self) -> dict[str, Handler]:
        """Every action a buyer's node receives, with its handler."""
        handlers: dict[str, Handler] = {
            "on_search": self.on_search,
            "on_select": self.on_select,
            "on_init": self.on_init,
            "on_confirm": self.on_confirm,
            "on_status": self.on_status,
            "on_track": self.on_track,
            "on_update": self.on_update,
            "on_cancel": self.on_cancel,
            "on_rating": self.on_rating,
            "on_support": self.on_support,
            "cancellation_reasons": self.cancellation_reasons,
            "rating_categories": self.rating_categories,
        }
        return {action: self._announced(handler) for action, handler in handlers.items()}

    def _announced(self, handler: Handler) -> Handler:
        """The handler, and then a nudge for the request that waits for this answer."""

        async def handle(letter: Letter, uow: UnitOfWork) -> None:
            await handler(letter, uow)
            letters.nudge_after(uow, self._node, letters.answer_channel(letter.context.message_id))

        return handle

    # --- Before there is a contract ---------------------------------------------------------------------------------

    async def on_search(self, letter: Letter, uow: UnitOfWork) -> None:
        """Offers for a search: kept in their newest version, and the app told how many came from whom."""
        transaction_id = letter.context.transaction_id
        search = await searches.get(uow, transaction_id, token_id=None)
        if search is None or letter.error is not None:
            ignored(letter, "no such search" if search is None else str(letter.error))
            return
        catalog = translate.catalog_from_wire(letter.message, letter.signer_id)
        for problem in catalog.problems:
            log.info("offer_unreadable", seller_id=letter.signer_id, sentence=str(problem))
        found = {(offer.provider.provider_id, offer.offer_id): OfferOut.of(offer) for offer in catalog.offers}
        if found:
            documents = [(*key, offer.model_dump_json()) for key, offer in found.items()]
            await searches.put_offers(uow, transaction_id, letter.signer_id, documents, now=letter.received_at)
        told = {"transaction_id": transaction_id, "seller_id": letter.signer_id, "offers": len(found)}
        subject = f"search:{transaction_id}"
        queued = await events.append(
            uow,
            token_id=search["token_id"],
            subject=subject,
            events=[("search.offers", told)],
            now=letter.received_at,
        )
        letters.nudge_after(uow, self._node, subject, letter.signer_id, webhooks_wait=queued)

    async def on_select(self, letter: Letter, uow: UnitOfWork) -> None:
        """A quote for a selection, or a refusal of it."""
        await self._offered(letter, uow, buyer.record_quote)

    async def on_init(self, letter: Letter, uow: UnitOfWork) -> None:
        """The seller holds the energy, or refuses to."""
        await self._offered(letter, uow, buyer.record_hold)

    async def _offered(self, letter: Letter, uow: UnitOfWork, record: Record) -> None:
        order = await self._answered(letter, uow)
        if letter.error is not None:
            await self._refused(letter, uow, order)
            return
        if order is None or not self._is_awaited(letter, order):
            ignored(letter, "no order waits for it")
            return
        now = self._node.wall.now()
        try:
            view = translate.quote_from_wire(letter.message, order, letter.context.timestamp)
        except WireRefusal as problem:
            step = None
            if buyer.can_refuse(order):
                sentence = f"The seller's quote cannot be traded on: {problem}"
                step = buyer.refuse(order, code="QUOTE_UNFIT", sentence=sentence, reserved_minor=0, now=now)
        else:
            step = record(order, _quoted(view), now=now)
        await self._keep(uow, order, step)

    async def on_confirm(self, letter: Letter, uow: UnitOfWork) -> None:
        """The contract stands, or the seller refuses it; an answer after a long silence counts as well."""
        if letter.error is not None:
            await self._refused(letter, uow, await self._answered(letter, uow))
            return
        view, order = await self._viewed(letter, uow)
        if view is None or order is None:
            return
        order = await self._confirmed(letter, uow, order, view)
        await self._changed(letter, uow, order, view, is_answer=False)

    # --- The contract -----------------------------------------------------------------------------------------------

    async def on_status(self, letter: Letter, uow: UnitOfWork) -> None:
        """How the seller sees the order. It may bring any news: confirmation, change, delivery, the end."""
        if letter.error is not None:
            await self._status_refused(letter, uow)
            return
        view, order = await self._viewed(letter, uow)
        if view is None or order is None:
            return
        is_answer = letter.context.message_id == order.awaiting_message_id
        was_cancelling = order.state is OrderState.CANCELLING
        order = await self._confirmed(letter, uow, order, view)
        if view.status == "CANCELLED":
            await self._cancelled(letter, uow, order, view)
            return
        order = await self._changed(letter, uow, order, view, is_answer=is_answer)
        if view.status == "COMPLETE":
            await self._completed(letter, uow, order, view)
            return
        if was_cancelling and is_answer and view.status == "ACTIVE":
            sentence = "The seller keeps the contract."
            step = contracts.refuse_cancel(order, code="", sentence=sentence, now=self._node.wall.now())
            order = await self._keep(uow, order, step)
        if view.detail_state == OrderState.DELIVERING:
            await self._keep(uow, order, buyer.start_delivery(order, now=self._node.wall.now()))

    async def on_update(self, letter: Letter, uow: UnitOfWork) -> None:
        """The contract as changed: the answer to our update, or the seller's curtailment; or a refusal of ours."""
        if letter.error is not None:
            order = await self._answered(letter, uow)
            if order is not None and self._answers_change(letter, order):
                await self._change_refused(letter, uow, order)
            else:
                await self._declined(letter, uow, order)
            return
        view, order = await self._viewed(letter, uow)
        if view is None or order is None:
            return
        order = await self._confirmed(letter, uow, order, view)
        is_answer = letter.context.message_id == order.awaiting_message_id
        await self._changed(letter, uow, order, view, is_answer=is_answer)

    async def on_cancel(self, letter: Letter, uow: UnitOfWork) -> None:
        """The contract is cancelled, by either side; or the seller refuses to cancel."""
        if letter.error is not None:
            order = await self._answered(letter, uow)
            await self._cancel_refused(letter, uow, order)
            return
        view, order = await self._viewed(letter, uow)
        if view is None or order is None:
            return
        order = await self._confirmed(letter, uow, order, view)
        await self._cancelled(letter, uow, order, view)

    # --- Answers that change no contract ----------------------------------------------------------------------------

    async def on_track(self, letter: Letter, uow: UnitOfWork) -> None:
        """Where the delivery can be watched. A URL that is none of the web's is not passed on."""
        order = await self._answered(letter, uow)
        if order is None or letter.error is not None:
            await self._declined(letter, uow, order)
            return
        view = translate.tracking_from_wire(letter.message)
        await self._tell(letter, uow, order, "order.tracked", {"url": _web_url(view.url), "status": view.status})

    async def on_support(self, letter: Letter, uow: UnitOfWork) -> None:
        """How to reach whoever helps."""
        order = await self._answered(letter, uow)
        if order is None or letter.error is not None:
            await self._declined(letter, uow, order)
            return
        view = translate.support_from_wire(letter.message)
        told = {"phone": view.phone, "email": view.email, "url": _web_url(view.url)}
        await self._tell(letter, uow, order, "order.supported", told)

    async def on_rating(self, letter: Letter, uow: UnitOfWork) -> None:
        """The rating arrived; the seller may ask for more in a form."""
        order = await self._answered(letter, uow)
        if order is None or letter.error is not None:
            await self._declined(letter, uow, order)
            return
        form = translate.rating_form_from_wire(letter.message)
        told = {"url": _web_url(form.url), "required": form.is_required} if form else {}
        await self._tell(letter, uow, order, "order.rated", told)

    async def cancellation_reasons(self, letter: Letter, uow: UnitOfWork) -> None:
        """The reasons for cancelling that a seller knows."""
        items = [
            {"id": reason.reason_id, "name": reason.name} for reason in translate.reasons_from_wire(letter.message)
        ]
        await self._asked(letter, uow, items)

    async def rating_categories(self, letter: Letter, uow: UnitOfWork) -> None:
        """What a seller lets itself be rated for."""
        items = [{"id": name, "name": name} for name in translate.categories_from_wire(letter.message)]
        await self._asked(letter, uow, items)

    async def _asked(self, letter: Letter, uow: UnitOfWork, items: list[dict[str, str]]) -> None:
        """The answer to a question that belongs to no order."""
        subject = f"ask:{letter.context.message_id}"
        question = await events.first(uow, subject)
        if question is None or question["data"]["seller_id"] != letter.signer_id:
            ignored(letter, "nobody asked")
            return
        told: dict[str, Any] = {"items": items}
        if letter.error is not None:
            code, sentence = translate.error_from_wire(letter.error)
            told = {"items": None, "refusal": {"code": code, "sentence": sentence}}
        queued = await events.append(
            uow,
            token_id=question["token_id"],
            subject=subject,
            events=[("seller.answered", {**question["data"], **told})],
            now=letter.received_at,
        )
        letters.nudge_after(uow, self._node, letters.answer_channel(letter.context.message_id), webhooks_wait=queued)


def _quoted(view: QuoteView) -> Quoted:
    """A QuoteView in the words of the use case."""
    details = {
        "wheeling_micro_per_kwh": view.wheeling_micro_per_kwh,
        "provider_name": view.provider_name,
        "cancellation_terms": view.cancellation_terms,
        "payment_id": view.payment_id,
        "fulfillment_id": view.fulfillment_id,
        "fulfillment_type": view.fulfillment_type,
    }
    return Quoted(view.quote, view.contracted_wh, view.price_micro_per_kwh, details)


def _web_url(url: str) -> str:
    """The URL if a browser may safely follow it, else nothing."""
    return url if url.startswith(("https://", "http://")) else ""
