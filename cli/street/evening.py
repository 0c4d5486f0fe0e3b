"""The evening before: every home offers what it expects to have left, and buys what it expects to lack.

Nothing here knows tomorrow. Everything goes over the nodes' JSON APIs, and from there over the wire: one search per
home through the gateway, then select, init and confirm for every deal; a few buyers change their minds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from api.client import BuyerApi
from api.series import energy_json, rfc3339
from cli.street import cast, forecast, matching
from cli.street.calls import Node
from cli.street.cast import Member
from cli.street.stage import EVENING_BEFORE, Placed, Stage, TradingDay, in_parallel
from energy_catalog import fontana

#: The smallest order a home takes, Wh.
ORDER_WH_MIN = 100
#: The largest: more than any home has in a day.
ORDER_WH_MAX = 1_000_000
#: No order is taken or changed later than this before delivery, seconds (trading clock).
GATE_CLOSURE_S = 3600
#: How long a quote holds, seconds (wall clock).
QUOTE_TTL_S = 300
#: Cancelling is free until twelve hours before delivery, then costs a tenth, in the last two hours a half.
CANCELLATION_TERMS = (
    {"notice_s_min": 12 * 3600, "fee_percent": 0},
    {"notice_s_min": 2 * 3600, "fee_percent": 10},
    {"notice_s_min": 0, "fee_percent": 50},
)
#: How many sellers a home deals with in a day, at most: more spread the risk further, and each is an order.
PARTNERS = 8
#: How long the app waits for the far side's answer to one call, seconds.
PATIENCE_S = 20.0
#: One order in this many is changed after it was confirmed (at least one a day), down to this many per cent.
CHANGED_ONE_IN, CHANGED_TO_PERCENT = 20, 80
#: From this many orders on, one a day is cancelled: the smallest.
CANCELLED_FROM = 4


async def hold_market(stage: Stage, today: TradingDay) -> None:
    """Publish offers for the day, let every home search and buy, then change and cancel a few orders."""
    known_until = today.hours.start - EVENING_BEFORE // timedelta(hours=1)
    await in_parallel(lambda member: _publish(stage, today, member, known_until), stage.members)
    if not today.offered_wh:
        return
    needs = _needs(stage, today, known_until)
    found = await in_parallel(lambda member: _search(stage, today, member), _buyers(stage, needs))
    transactions = {member.number: transaction for member, transaction, _ in found}
    asks = {ask.offer_id: ask for _, _, offers in found for ask in offers}
    retail = [stage.street.price_micro_per_kwh[t] for t in today.hours]
    own = {member.number: member.provider_id for member in stage.members}
    deals = matching.share_out(needs, asks.values(), retail_micro_per_kwh=retail, partners=PARTNERS, own_provider=own)

    async def buy_all(member: Member) -> None:
        for deal in deals:
            if deal.buyer == member.number:
                await _buy(stage, today, member, deal, transactions[member.number])

    await in_parallel(buy_all, _buyers(stage, needs))
    await _change_minds(stage, today)


async def _publish(stage: Stage, today: TradingDay, member: Member, known_until: int) -> None:
    surplus = forecast.persistence(member.home.surplus_wh, today.hours, known_until=known_until)
    if sum(surplus) < ORDER_WH_MIN:
        return
    offer = {
        "offer_id": member.offer_id(today.day),
        "provider_id": member.provider_id,
        "source": "SOLAR",
        "policy": stage.policy,
        "currency": fontana.CURRENCY,
        "energy": energy_json(stage.street.series(today.hours, surplus)),
        "price": member.tariff.to_json(),
        "wheeling_per_kwh": f"0.{cast.WHEELING_MICRO_PER_KWH:06d}",
        "order_wh_min": ORDER_WH_MIN,
        "order_wh_max": ORDER_WH_MAX,
        "gate_closure_s": GATE_CLOSURE_S,
        "quote_ttl_s": QUOTE_TTL_S,
        "cancellation_terms": CANCELLATION_TERMS,
        "fulfillment_type": "GRID_INJECTION",
    }
    await stage.prosumers[member.number].post("/api/offers", offer)
    today.offered_wh[member.number] = surplus


def _needs(stage: Stage, today: TradingDay, known_until: int) -> dict[int, tuple[int, ...]]:
    """What every home expects to lack, in an order drawn anew for each day."""
    members = list(stage.members)
    _dice(stage, today, "order of buyers").shuffle(members)
    return {
        member.number: forecast.persistence(member.home.deficit_wh, today.hours, known_until=known_until)
        for member in members
    }


def _buyers(stage: Stage, needs: dict[int, tuple[int, ...]]) -> list[Member]:
    by_number = {member.number: member for member in stage.members}
    return [by_number[number] for number, wanted in needs.items() if any(wanted)]


def _dice(stage: Stage, today: TradingDay, purpose: str) -> random.Random:
    return random.Random(f"{purpose}-{stage.seed}-{today.day}")  # noqa: S311 - repeatable on purpose


async def _search(stage: Stage, today: TradingDay, member: Member) -> tuple[Member, str, list[matching.Ask]]:
    """One home's search through the gateway: its transaction and what the sellers offered.

    Every seller answers, also one that has nothing to offer for the day, so all of them are waited for.
    """
    sellers = {seller.seller for seller in stage.members}
    intent = {
        "account_id": stage.accounts[member.number],
        "window": {"start": rfc3339(today.starts_at), "end": rfc3339(today.ends_at)},
        "currency": fontana.CURRENCY,
    }
    answer = await BuyerApi(stage.app).search(intent, wait_s=PATIENCE_S, offers=len(sellers))
    asks = [ask for offer in answer["offers"] if (ask := _ask(offer, slots=len(today.hours)))]
    return member, str(answer["transaction_id"]), asks


def _ask(offer: dict[str, Any], *, slots: int) -> matching.Ask | None:
    """An offer as the rules of choosing need it; None for one that does not cover the day hour by hour."""
    available = offer["available"]["energy_wh"]
    if len(available) != slots:
        return None
    wheeling = offer["wheeling_micro_per_kwh"]
    return matching.Ask(
        seller_id=offer["seller_id"],
        provider_id=offer["provider"]["provider_id"],
        offer_id=offer["offer_id"],
        available_wh=tuple(available),
        price_micro_per_kwh=tuple(price + wheeling for price in offer["price"]["price_micro_per_kwh"]),
        order_wh_min=offer["order_wh_min"],
    )


async def _buy(stage: Stage, today: TradingDay, buyer: Member, deal: matching.Deal, transaction: str) -> None:
    """select, init, confirm; an order that is refused on the way is kept as it is and written down."""
    ask = deal.ask
    provider = next(member for member in stage.members if member.provider_id == ask.provider_id)
    wanted = {
        "account_id": stage.accounts[buyer.number],
        "transaction_id": transaction,
        "seller_id": ask.seller_id,
        "provider_id": ask.provider_id,
        "offer_id": ask.offer_id,
        "energy": energy_json(stage.street.series(today.hours, deal.energy_wh)),
    }
    placed = Placed(buyer, provider, deal, await stage.app.post("/api/orders", wanted, wait_s=PATIENCE_S))
    today.orders.append(placed)
    for step, before in (("init", "QUOTED"), ("confirm", "INITIALISED")):
        if placed.state == before:
            await tell(stage.app, placed, step)
    if not placed.is_contracted:
        today.failures.append(f"{today.day}: {_about(placed)} ended {placed.state}: {placed.order.get('refusal')}")


async def tell(app: Node, placed: Placed, step: str, body: dict[str, Any] | None = None) -> None:
    """Send one of an order's letters and wait for the answer; `placed` shows the order after it."""
    placed.order = await app.post(f"/api/orders/{placed.order_id}/{step}", body, wait_s=PATIENCE_S)


def _about(placed: Placed) -> str:
    return f"order {placed.order_id} of {placed.buyer.name} from {placed.provider.name}"


async def _change_minds(stage: Stage, today: TradingDay) -> None:
    """A few buyers take less, one cancels, one asks for help: never enough to change what the day delivers much."""
    orders = sorted((placed for placed in today.orders if placed.is_contracted), key=lambda p: p.deal.total_wh)
    if not orders:
        return
    dice = _dice(stage, today, "changes of mind")
    if len(orders) >= CANCELLED_FROM:
        await _cancel(stage, today, orders.pop(0))
    can_shrink = [p for p in orders if p.deal.total_wh * CHANGED_TO_PERCENT // 100 > ORDER_WH_MIN + len(today.hours)]
    changed = dice.sample(can_shrink, k=min(len(can_shrink), -(-len(orders) // CHANGED_ONE_IN)))
    await in_parallel(lambda placed: _take_less(stage, today, placed), changed)
    asking = dice.choice(orders)
    await tell(stage.app, asking, "support", {})


async def _take_less(stage: Stage, today: TradingDay, placed: Placed) -> None:
    less = tuple(wh * CHANGED_TO_PERCENT // 100 for wh in placed.deal.energy_wh)
    await tell(stage.app, placed, "update", {"energy": energy_json(stage.street.series(today.hours, less))})


async def _cancel(stage: Stage, today: TradingDay, placed: Placed) -> None:
    """Ask the seller which reasons it knows, then cancel for the first."""
    path = f"/api/sellers/{placed.deal.ask.seller_id}/cancellation_reasons"
    reasons: Sequence[dict[str, Any]] = (await stage.app.post(path, wait_s=PATIENCE_S))["items"] or []
    if not reasons:
        today.failures.append(f"{today.day}: {placed.provider.seller} gave no cancellation reasons")
        return
    await tell(stage.app, placed, "cancel", {"reason_id": reasons[0]["id"], "note": "no longer needed"})
    # An order for the small hours is cancelled at a fee; what it came to is in its statement.
    statement = await stage.app.get(f"/api/orders/{placed.order_id}/statement")
    placed.fee_milli = sum(
        order["cancellation"]["total_milli"] for order in statement["orders"] if order["cancellation"]
    )
