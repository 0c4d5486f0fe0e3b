"""What this seller does with the letters that lead to a contract: load, decide, save, reply.

Each handler is one unit of work with the letter's own row. `handlers` gives the table of all twelve: the letters about
a contract that exists, and the questions that concern none, are in `bpp.aftercare`. A refusal of `bpp.seller` or of the
translator becomes an error callback; anything else is a bug, is rolled back, and the inbox tries again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from beckn.envelope import Letter
from bpp import aftercare, cascade, cascade_desk, seller, shelf, translate, utility_desk
from bpp.refusals import UnableTo
from bpp.shop import Shop, demand_of, new_ids, session_of
from bpp.translate import WireRefusal
from energy_catalog.offers import Offer
from store import orders
from trade.order import Order, Side

Work = Callable[[Shop, Letter, Any], Awaitable[None]]


def handlers(shop: Shop) -> dict[str, Callable[[Letter, Any], Awaitable[None]]]:
    """The handler of every action, with its refusals answered."""

    def answered(work: Work) -> Callable[[Letter, Any], Awaitable[None]]:
        async def handle(letter: Letter, uow: Any) -> None:
            try:
                await work(shop, letter, uow)
            except (UnableTo, WireRefusal) as refusal:
                await shop.refuse(uow, letter, refusal)

        return handle

    table: dict[str, Work] = {"search": search, "select": select, "init": init, "confirm": confirm}
    table |= aftercare.HANDLERS
    if shop.settings.utility:
        table |= utility_desk.HANDLERS
    return {action: answered(work) for action, work in table.items()}


async def search(shop: Shop, letter: Letter, uow: Any) -> None:
    """search -> on_search: what is on sale that answers the intent; an empty catalog when nothing does."""
    intent, now = translate.intent_from_wire(letter.message), shop.node.trading.now()
    found = await shelf.search(
        uow,
        intent,
        now=now,
        limit=shop.settings.catalog_offers_max,
        considered_max=shop.settings.search_offers_max,
        faces=shop.faces,
    )
    faces = await shop.faces.of(uow, {offer.provider_id for offer in found})
    by_provider: dict[str, list[Offer]] = {}
    for offer in found:
        by_provider.setdefault(offer.provider_id, []).append(offer)
    pairs = [(faces[provider_id], chosen) for provider_id, chosen in by_provider.items()]
    await shop.reply(uow, letter, translate.catalog_to_wire(pairs, shop.settings.policies.digest))


async def select(shop: Shop, letter: Letter, uow: Any) -> None:
    """select -> on_select: a quote. Nothing is kept; what the same session holds already counts as free for it."""
    demand, session = demand_of(translate.selection_from_wire(letter.message)), session_of(letter)
    offer = await shelf.get(uow, demand.offer_id)
    provider = await shop.faces.get(uow, demand.provider_id)
    earlier = await _session_order(uow, letter, demand.provider_id)
    free = seller.without_hold(offer, earlier)
    order = seller.quote(
        demand,
        offer=free,
        provider=provider,
        session=session,
        at=shop.moment(),
        ids=new_ids(),
        policy=shop.policy_of(offer),
    )
    await shop.reply(uow, letter, _quoted(order, provider, free))


async def init(shop: Shop, letter: Letter, uow: Any) -> None:
    """init -> on_init: the quote anew, and its energy held until it expires. A repeat replaces the session's hold."""
    demand, session = demand_of(translate.selection_from_wire(letter.message)), session_of(letter)
    earlier = await _session_order(uow, letter, demand.provider_id)
    locked = await shelf.lock_all(uow, {demand.offer_id, *([earlier.offer_id] if earlier else [])})
    provider, offer = await shop.faces.get(uow, demand.provider_id), locked.get(demand.offer_id)
    decision = seller.hold(
        demand,
        offer=offer,
        provider=provider,
        earlier=earlier,
        session=session,
        at=shop.moment(),
        ids=new_ids(),
        policy=shop.policy_of(offer),
    )
    order = decision.order
    if shop.settings.utility_id:
        order = await cascade_desk.ask(shop, uow, letter, order)
    await (orders.save if earlier else orders.insert)(uow, order)
    await shelf.save_taken(uow, decision.offer)
    if earlier and earlier.offer_id != demand.offer_id:
        await shelf.save_taken(uow, seller.released(locked[earlier.offer_id], earlier))
    if not cascade.is_waiting(order):  # else the answer follows the utility's
        await shop.reply(uow, letter, _quoted(order, provider, decision.offer))


async def confirm(shop: Shop, letter: Letter, uow: Any) -> None:
    """confirm -> on_confirm: held energy is sold. Said again, it is answered again and nothing is sold twice."""
    demand = demand_of(translate.selection_from_wire(letter.message))
    order = await _session_order(uow, letter, demand.provider_id)
    if order is None or not seller.is_repeat(order, demand.order_id):
        order = seller.check_stands(order, now_wall=shop.node.wall.now())
        offer = await shelf.lock_known(uow, order.offer_id)
        wire_order_id = await _wire_order_id(uow, order, demand.order_id)
        decision = seller.confirm(order, offer=offer, demand=demand, wire_order_id=wire_order_id, at=shop.moment())
        if order.utility_id:
            await cascade_desk.commit(shop, uow, letter, order, decision.order)
            return
        order = decision.order
        await orders.save(uow, order)
        await shelf.save_taken(uow, decision.offer)
    elif cascade.is_waiting(order):
        await cascade_desk.confirmed_again(shop, uow, letter, order)
        return
    provider = await shop.faces.known(uow, order.provider_id)
    await shop.reply(uow, letter, translate.order_to_wire(order, provider))


async def _session_order(uow: Any, letter: Letter, provider_id: str) -> Order | None:
    return await orders.lock_session(
        uow,
        side=Side.SELLER,
        counterparty_id=letter.signer_id,
        transaction_id=letter.context.transaction_id,
        provider_id=provider_id,
    )


async def _wire_order_id(uow: Any, order: Order, proposed: str) -> str:
    """The id the contract gets: the buyer's proposal, unless it calls another order so; else our own."""
    taken = not proposed or await orders.is_wire_id_taken(
        uow,
        side=Side.SELLER,
        counterparty_id=order.counterparty_id,
        wire_order_id=proposed,
        by_other_than=order.order_id,
    )
    return order.order_id if taken else proposed


def _quoted(order: Order, provider: Any, offer: Offer | None) -> dict[str, Any]:
    assert offer is not None  # noqa: S101 - nothing is quoted without an offer
    return translate.quote_to_wire(order, provider, offer)
