"""Prosumer's desk, offers: publish, change, withdraw, list."""

from __future__ import annotations

import uuid
from typing import Any

from api.desk import Call, Desk
from api.paging import Id, ListOf, Page
from api.problems import ApiError, conflict, not_found
from bpp import listing, shelf
from bpp.api_assets import unfit
from bpp.offer_models import CarbonIn, OfferChange, OfferIn, OfferOut, PriceIn
from bpp.scope import PROSUMER, check_held, check_is_shop, check_own, find_provider, own_provider
from energy_catalog.assets import AssetInvalid, check_sells
from energy_catalog.offers import Offer, OfferInvalid, Provider
from energy_catalog.tariffs import Indexed
from store import assets, indices, meter_limits, offers
from trade import price_rules
from trade.money import Series, divide_half_away, micro_from_price, utc
from trade.policy import Policy
from trade.price_rules import PriceInvalid
from trade.pricing import TariffInvalid
from trade.quote import CancellationTerm


class OffersOf(Page):
    """Query of the list of offers."""

    provider_id: Id | None = None


async def publish_offer(call: Call[OfferIn]) -> OfferOut:
    """Publish an offer; searches find it at once.

    409 when the id is taken, when the meter already sells part of this time in other slots, or at a utility's node.
    """
    check_is_shop(call)
    body, energy_wh = call.body, call.body.energy.series()
    policy = call.node.settings.policies.get(body.policy)
    if policy is None:
        raise ApiError(
            422,
            f"'policy' is refused: {body.policy!r} is not known here; GET /api/policies lists what is.",
            field="policy",
        )
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, body.provider_id)
        await check_held(uow, provider)
        if body.asset_id is not None:
            await _check_asset(uow, body, provider)
        try:
            offer = listing.publish(
                provider,
                energy_wh,
                await _pricing(uow, body.price, energy_wh, body.currency),
                _terms(body, policy, carbon=await _carbon(uow, body.carbon, energy_wh)),
                now_trading=call.node.trading.now(),
                export_limit_w=await meter_limits.get(uow, provider.meter_id),
            )
        except (OfferInvalid, TariffInvalid) as refusal:
            raise _unfit(refusal) from refusal
        if await offers.has_other_slots(uow, meter_id=offer.meter_id, series=offer.offered_wh):
            raise conflict(
                f"Meter '{offer.meter_id}' already sells part of this time in slots that begin or end elsewhere; use"
                " the same slots.",
                field="energy",
            )
        try:
            await shelf.publish(uow, offer, now=call.now)
        except offers.OfferExists as taken:
            raise conflict("Another offer has this offer_id; choose another.", field="offer_id") from taken
    return OfferOut.of(offer)


async def change_offer(call: Call[OfferChange]) -> OfferOut:
    """Change an offer's energy, price, order limits or end.

    Energy may rise, or fall to what is held and sold. New prices bind new quotes only.
    """
    body = call.body
    async with call.node.database.unit_of_work() as uow:
        offer = await _lock_own(call, uow)
        slots = offer.offered_wh
        try:
            changed = listing.change(
                offer,
                energy_wh=body.energy.series() if body.energy else None,
                pricing=await _pricing(uow, body.price, slots, offer.currency) if body.price else None,
                carbon_g_per_kwh=await _carbon(uow, body.carbon, slots),
                export_limit_w=await meter_limits.get(uow, offer.meter_id) if body.energy else None,
                order_wh_min=body.order_wh_min,
                order_wh_max=body.order_wh_max,
                valid_until=utc(body.valid_until) if body.valid_until else None,
            )
        except (OfferInvalid, TariffInvalid) as refusal:
            raise _unfit(refusal) from refusal
        await shelf.save(uow, changed, now=call.now)
    return OfferOut.of(changed)


async def withdraw_offer(call: Call[None]) -> OfferOut:
    """Take an offer off the shelf.

    Quotes that were given and contracts that were made stand.
    """
    async with call.node.database.unit_of_work() as uow:
        offer = listing.withdraw(await _lock_own(call, uow))
        await shelf.save(uow, offer, now=call.now)
    return OfferOut.of(offer)


async def get_offer(call: Call[None]) -> OfferOut:
    """Show one offer and what has become of its energy."""
    async with call.node.database.unit_of_work() as uow:
        offer = await shelf.get(uow, call.path["offer_id"])
    if offer is None:
        raise not_found("offer", call.path["offer_id"])
    check_own(call, offer.provider_id)
    return OfferOut.of(offer)


async def list_offers(call: Call[None]) -> ListOf[OfferOut]:
    """List offers, newest first; a prosumer sees its own."""
    query = call.query
    if query.provider_id is not None:
        check_own(call, query.provider_id)
    async with call.node.database.unit_of_work() as uow:
        rows = await offers.list_for(
            uow, provider_id=query.provider_id or own_provider(call), after=query.after, limit=query.limit
        )
    following = rows[-1]["offer_id"] if len(rows) == query.limit else None
    return ListOf[OfferOut](items=[OfferOut.of(shelf.offer_of(row)) for row in rows], next=following)


async def _lock_own(call: Call[Any], uow: Any) -> Offer:
    offer = await shelf.lock(uow, call.path["offer_id"])
    if offer is None:
        raise not_found("offer", call.path["offer_id"])
    check_own(call, offer.provider_id)
    return offer


async def _check_asset(uow: Any, body: OfferIn, provider: Provider) -> None:
    """Refuse energy that the named asset of the provider cannot make or deliver so; raises ApiError."""
    stored = await assets.get(uow, body.asset_id or "")
    if stored is None or stored.provider_id != provider.provider_id:
        raise ApiError(
            422,
            f"'asset_id' is refused: provider '{provider.provider_id}' has no asset '{body.asset_id}'.",
            field="asset_id",
        )
    try:
        check_sells(shelf.asset_of(stored), source=body.source, fulfillment_type=body.fulfillment_type)
    except AssetInvalid as refusal:
        raise unfit(refusal) from refusal


async def _pricing(uow: Any, price: PriceIn, like: Series, currency: str) -> listing.Pricing:
    """The price as the rules know it, an index with its values over the slots; raises ApiError and TariffInvalid."""
    said = price.index
    if said is None:
        return price.pricing()
    index = await indices.get(uow, indices.PRICE, said.name)
    if index is None:
        raise ApiError(
            422, f"'price.index.name' is refused: there is no price index '{said.name}' here.", field="price.index.name"
        )
    if index.currency != currency:
        raise ApiError(
            422,
            f"'price.index.name' is refused: index '{said.name}' is in {index.currency} and the offer in {currency}.",
            field="price.index.name",
        )
    points = await indices.points(uow, indices.PRICE, said.name, start=like.start, end=like.end)
    margin, floor = micro_from_price(said.margin_per_kwh), micro_from_price(said.floor_per_kwh)
    return Indexed(said.name, tuple(points), margin, floor)


async def _carbon(uow: Any, carbon: CarbonIn | None, like: Series) -> Series | None:
    """The carbon intensity of every slot, g per kWh; raises ApiError where an index does not cover the slots.

    What an index lacks is an error and never 0.
    """
    if carbon is None or carbon.index is None:
        return None if carbon is None else carbon.series()
    if await indices.get(uow, indices.CARBON, carbon.index) is None:
        raise ApiError(
            422, f"'carbon.index' is refused: there is no carbon index '{carbon.index}' here.", field="carbon.index"
        )
    points = await indices.points(uow, indices.CARBON, carbon.index, start=like.start, end=like.end)
    try:
        mg = price_rules.over_slots(points, like)
    except PriceInvalid as refusal:
        raise ApiError(
            422,
            f"'carbon.index' is refused: of index '{carbon.index}', {refusal}; add the values, or leave carbon out as"
            " unknown.",
            field="carbon.index",
        ) from refusal
    return mg.with_values(tuple(divide_half_away(value, 1000) for value in mg.values))


def _terms(body: OfferIn, policy: Policy, *, carbon: Series | None) -> listing.Terms:
    # What the policy asks for carrying is shown and searched with the offer: a buyer compares what it will pay.
    wheeling_micro = micro_from_price(body.wheeling_per_kwh) or policy.wheeling_buyer_micro_per_kwh
    return listing.Terms(
        offer_id=body.offer_id or str(uuid.uuid4()),
        source=body.source,
        currency=body.currency,
        wheeling_micro_per_kwh=wheeling_micro,
        order_wh_min=body.order_wh_min,
        order_wh_max=body.order_wh_max,
        gate_closure_s=body.gate_closure_s,
        quote_ttl_s=body.quote_ttl_s,
        cancellation_terms=tuple(CancellationTerm(t.notice_s_min, t.fee_percent) for t in body.cancellation_terms),
        fulfillment_type=body.fulfillment_type.value,
        valid_from=utc(body.valid_from) if body.valid_from else None,
        valid_until=utc(body.valid_until) if body.valid_until else None,
        policy=body.policy,
        asset_id=body.asset_id or "",
        renewable_per_mille=body.renewable_per_mille,
        carbon_g_per_kwh=carbon,
        certificates=body.certificates,
    )


def _unfit(refusal: OfferInvalid | TariffInvalid) -> ApiError:
    if isinstance(refusal, OfferInvalid):
        return ApiError(422, f"'{refusal.field}' is refused: {refusal.sentence}.", field=refusal.field)
    return ApiError(422, f"'price.time_of_use' is refused: {refusal}.", field="price.time_of_use")


def add_routes(desk: Desk) -> None:
    """Add the calls of this module."""
    tags, one = ["offers"], "/api/offers/{offer_id}"
    desk.route("POST", "/api/offers", role=PROSUMER, body=OfferIn, answer=OfferOut, status=201, tags=tags)(
        publish_offer
    )
    desk.route("GET", "/api/offers", role=PROSUMER, query=OffersOf, answer=ListOf[OfferOut], tags=tags)(list_offers)
    desk.route("GET", one, role=PROSUMER, answer=OfferOut, tags=tags)(get_offer)
    desk.route("PATCH", one, role=PROSUMER, body=OfferChange, answer=OfferOut, tags=tags)(change_offer)
    desk.route("POST", f"{one}/withdraw", role=PROSUMER, answer=OfferOut, tags=tags)(withdraw_offer)
