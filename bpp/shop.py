"""What every handler, job and route of this node works with, and the only way letters leave it.

`reply` answers a letter; `tell` sends a callback that nobody asked for, with a fresh message_id, to the URL that the
registry has for the buyer's node. Both write to the outbox in the unit of work that decided, so that a decision without
its letter, or a letter without its decision, cannot be.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import structlog

from beckn import envelope
from beckn.actions import ACTIONS, Role
from beckn.envelope import Letter, Party
from beckn.node import Node
from bpp import refusals, translate
from bpp.config import SellerSettings
from bpp.refusals import UnableTo, UnableToQuote
from bpp.seller import Demand, Moment, NewIds, Session
from bpp.shelf import Faces
from bpp.translate import Selection, WireRefusal
from energy_catalog.offers import Offer
from trade.order import Order
from trade.policy import PLAIN, Policy

log = structlog.get_logger("bpp")


@dataclass(frozen=True, slots=True)
class Shop:
    """One seller's node at work."""

    node: Node
    settings: SellerSettings
    faces: Faces

    def moment(self) -> Moment:
        """Now, on both clocks."""
        return Moment(wall=self.node.wall.now(), trading=self.node.trading.now())

    def policy_of(self, offer: Offer | None) -> Policy:
        """The policy an offer names; an offer of one that this node was not given any more cannot be sold.

        Raises UnableToQuote.
        """
        named = self.settings.policies.get(offer.policy) if offer else PLAIN
        if named is None:
            raise UnableToQuote(
                refusals.ITEM_NOT_FOUND,
                f"The offer is settled by policy {offer.policy if offer else ''}, which this node does not have any"
                " more; it cannot be ordered.",
            )
        return named

    def track_url(self, order: Order) -> str:
        """Where anybody who has the link can follow the delivery."""
        return f"{self.settings.public_url}/api/track/{order.tracking_token}"

    async def reply(
        self, uow: Any, letter: Letter, message: dict[str, Any], error: dict[str, Any] | None = None
    ) -> None:
        """Answer a letter with its callback, under its own message_id."""
        action = ACTIONS[letter.context.action].callback
        assert action is not None  # noqa: S101 - this node serves requests only
        now = self.node.wall.now()
        context = envelope.reply_context(letter, action=action, network=self.node.network, me=self.node.me, now=now)
        await self.node.outbox.post(
            uow,
            action=action,
            receiver_id=letter.signer_id,
            url=letter.signer_url,
            body=envelope.build(context, message, error),
            transaction_id=letter.context.transaction_id,
            message_id=letter.context.message_id,
            now=now,
        )

    async def refuse(self, uow: Any, letter: Letter, refusal: UnableTo | WireRefusal) -> None:
        """Answer a letter with the error that says why it cannot be done."""
        if isinstance(refusal, UnableTo):
            refusal = WireRefusal(refusal.code, "", refusal.sentence)
        log.info("letter_answered_with_error", code=refusal.code, sentence=refusal.sentence, buyer=letter.signer_id)
        callback = ACTIONS[letter.context.action].callback or ""
        message, error = translate.refusal_to_wire(callback, refusal)
        await self.reply(uow, letter, message, error)

    async def tell(self, uow: Any, order: Order, action: str) -> None:
        """Send the buyer's node an on_status or on_update that it did not ask for, with the order as it is now."""
        provider = await self.faces.known(uow, order.provider_id)
        await self.call_back(
            uow,
            action,
            translate.order_to_wire(order, provider),
            receiver_id=order.counterparty_id,
            transaction_id=order.transaction_id,
            message_id=str(uuid.uuid4()),
        )

    async def call_back(
        self,
        uow: Any,
        action: str,
        message: dict[str, Any],
        error: dict[str, Any] | None = None,
        *,
        receiver_id: str,
        transaction_id: str,
        message_id: str,
    ) -> None:
        """Send a callback without the letter it answers at hand: unsolicited, or later than the letter's own work."""
        url = await self.node.directory.url_of(receiver_id, Role.BAP.value)
        if url is None:
            # Nothing is lost: the buyer's node can ask for the status once it is in the registry again.
            log.warning("buyer_not_in_registry", buyer=receiver_id, transaction_id=transaction_id, action=action)
            return
        now = self.node.wall.now()
        context = envelope.request_context(
            action=action,
            network=self.node.network,
            bap=Party(receiver_id, url),
            bpp=self.node.me,
            transaction_id=transaction_id,
            message_id=message_id,
            now=now,
        )
        await self.node.outbox.post(
            uow,
            action=action,
            receiver_id=receiver_id,
            url=url,
            body=envelope.build(context, message, error),
            transaction_id=transaction_id,
            message_id=message_id,
            now=now,
        )


def session_of(letter: Letter) -> Session:
    """Who asks, in which conversation."""
    return Session(buyer_id=letter.signer_id, transaction_id=letter.context.transaction_id)


def demand_of(selection: Selection) -> Demand:
    """What a select, init or confirm asks for."""
    return Demand(
        provider_id=selection.provider_id,
        offer_id=selection.offer_id,
        energy_wh=selection.energy_wh,
        requested_wh=selection.requested_wh,
        window_start=selection.window_start,
        window_end=selection.window_end,
        fulfillment_id=selection.fulfillment_id,
        customer=selection.customer,
        order_id=selection.order_id,
        quote_total=selection.quote_total,
        buyer_meter_id=selection.buyer_meter_id,
        policy=selection.policy,
        policy_digest=selection.policy_digest,
    )


def new_ids() -> NewIds:
    """Ids for one decision. The tracking token begins with the order's id, by which it is found; the rest is secret."""
    order_id = str(uuid.uuid4())
    return NewIds(
        order_id=order_id,
        quote_id=str(uuid.uuid4()),
        payment_id=str(uuid.uuid4()),
        tracking_token=f"{order_id}.{secrets.token_urlsafe(16)}",
    )
