"""Offers -> the catalog of an on_search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from books.policies import PolicyBook
from energy_catalog.offers import Offer, Provider, Source
from schemas import catalog_tags, tags, values
from schemas.catalog_tags import ProviderScoreTag, SourceQualityTag
from trade.money import Series, divide_half_away
from trade.policy import PLAIN

#: Shown for a provider without a picture of its own: Layer 2 wants one. A sun, drawn in the URL itself.
PLAIN_IMAGE = (
    "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%209%209'%3E"
    "%3Ccircle%20cx='4.5'%20cy='4.5'%20r='3'%20fill='gold'/%3E%3C/svg%3E"
)

_ENERGY_NAMES = {
    Source.SOLAR: "Solar energy",
    Source.WIND: "Wind energy",
    Source.BATTERY: "Energy from a battery",
    Source.RENEWABLE: "Renewable energy",
    Source.GRID: "Energy from the grid",
    Source.HYBRID: "Energy from several sources",
    Source.OTHER: "Energy",
}


#: Gives the digest of a policy by its id.
Digest = Callable[[str], str]


def catalog_to_wire(pairs: Iterable[tuple[Provider, Sequence[Offer]]], digest: Digest | None = None) -> dict[str, Any]:
    """The message of an on_search: one provider each with the offers that match; `{"catalog": {}}` when none does.

    `digest` knows the policies that offers name; those built in when left out.
    """
    known = digest or PolicyBook().digest
    providers = [_provider_with_offers(provider, offers, known) for provider, offers in pairs if offers]
    return {"catalog": {"providers": providers} if providers else {}}


def _provider_with_offers(provider: Provider, offers: Sequence[Offer], digest: Digest) -> dict[str, Any]:
    fulfillments: dict[tuple[str, datetime, datetime], dict[str, Any]] = {}
    categories: dict[Source, dict[str, Any]] = {}
    items = []
    for offer in offers:
        series = offer.offered_wh
        delivery = (offer.fulfillment_type, series.start, series.end)
        if delivery not in fulfillments:
            fulfillments[delivery] = {
                "id": str(len(fulfillments) + 1),
                "type": offer.fulfillment_type,
                "stops": values.window_to_stops(series.start, series.end),
            }
        categories.setdefault(offer.source, category_to_wire(offer.source))
        item = _item(offer, fulfillment_id=fulfillments[delivery]["id"], has_place=bool(provider.gps))
        items.append({**item, "tags": _item_tags(offer, digest)})
    wire = provider_to_wire(provider)
    if provider.rating:
        wire["rating"] = provider.rating
    wire["categories"] = list(categories.values())
    if provider.gps:
        wire["locations"] = [{"id": "1", "gps": provider.gps}]
    wire["fulfillments"] = list(fulfillments.values())
    wire["items"] = items
    if provider.rating_count or provider.settled:
        score = ProviderScoreTag(provider.delivered_per_mille, provider.settled, provider.rating_count)
        wire["tags"] = [catalog_tags.provider_score_to_wire(score)]
    return wire


def provider_to_wire(provider: Provider) -> dict[str, Any]:
    """A provider's public face."""
    return {
        "id": provider.provider_id,
        "descriptor": {
            "name": provider.name,
            "short_desc": provider.short_desc or provider.name,
            "images": [{"url": provider.image_url or PLAIN_IMAGE}],
        },
    }


def category_to_wire(source: Source) -> dict[str, Any]:
    """A kind of energy; a source that Layer 2 has no code for is named in the tag group ENERGY_SOURCE."""
    category: dict[str, Any] = {"id": source.value, "descriptor": {"name": _ENERGY_NAMES[source]}}
    code = catalog_tags.SOURCE_CODES.get(source)
    if code:
        category["descriptor"]["code"] = code
    else:
        category["tags"] = [tags.group_to_wire(tags.ENERGY_SOURCE, {"source": source.value})]
    return category


def _item(offer: Offer, *, fulfillment_id: str, has_place: bool) -> dict[str, Any]:
    available = offer.available_wh
    item: dict[str, Any] = {
        "id": offer.offer_id,
        "descriptor": item_descriptor(offer.source),
        "price": price_to_wire(available, offer.price_micro_per_kwh, offer.currency),
        "quantity": {
            "available": values.energy_to_wire(available.total),
            "minimum": values.energy_to_wire(offer.order_wh_min),
            "maximum": values.energy_to_wire(offer.order_wh_max),
        },
        "category_ids": [offer.source.value],
        "fulfillment_ids": [fulfillment_id],
    }
    if has_place:
        item["location_ids"] = ["1"]
    return item


def _item_tags(offer: Offer, digest: Digest) -> list[dict[str, Any]]:
    """Series, terms, blocks and quality of an offer. plain@1 is what an offer is under that names no policy."""
    named = offer.policy != PLAIN.id
    terms = tags.OfferTermsTag(
        wheeling_micro_per_kwh=offer.wheeling_micro_per_kwh,
        gate_closure_s=offer.gate_closure_s,
        policy=offer.policy if named else "",
        policy_digest=digest(offer.policy) if named else "",
    )
    groups = [*series_to_wire(offer.available_wh, offer.price_micro_per_kwh), tags.offer_terms_to_wire(terms)]
    if offer.price_model.tiers:
        blocks = [(tier.up_to_wh, tier.price_micro_per_kwh) for tier in offer.price_model.tiers]
        groups.append(catalog_tags.block_prices_to_wire(blocks))
    if offer.renewable_per_mille is not None or offer.certificates:
        quality = SourceQualityTag(offer.renewable_per_mille, offer.certificates)
        groups.append(catalog_tags.source_quality_to_wire(quality))
    if offer.carbon_g_per_kwh is not None:
        carbon = offer.carbon_g_per_kwh
        groups.append(tags.series_to_wire(tags.CARBON_SERIES, carbon.start, carbon.slot_s, carbon.values))
    return groups


def item_descriptor(source: str) -> dict[str, str]:
    """What a lot of energy of this source is called."""
    name = _ENERGY_NAMES.get(Source(source), "Energy") if source in Source.__members__ else "Energy"
    return {"name": name, "short_desc": f"{name}, metered in every slot"}


def price_to_wire(energy_wh: Series, price_micro_per_kwh: Series, currency: str) -> dict[str, str]:
    """The price per kWh of a whole series: its mean by energy, rounded half away; lowest and highest when it varies.

    Only a projection for peers that know one price, over the slots that have energy: the PRICE_SERIES tag says what
    each slot costs.
    """
    priced = [(e, p) for e, p in zip(energy_wh.values, price_micro_per_kwh.values, strict=True) if e]
    prices = [p for _, p in priced] or price_micro_per_kwh.values
    lowest, highest = min(prices), max(prices)
    mean = divide_half_away(sum(e * p for e, p in priced), energy_wh.total) if priced else prices[0]
    wire = {"currency": currency, "value": values.price_to_wire(mean)}
    if lowest != highest:
        wire["minimum_value"] = values.price_to_wire(lowest)
        wire["maximum_value"] = values.price_to_wire(highest)
    return wire


def series_to_wire(energy_wh: Series, price_micro_per_kwh: Series | None) -> list[dict[str, Any]]:
    """The series of an item as tag groups; a price that is the same in all slots needs none."""
    groups = [tags.series_to_wire(tags.ENERGY_SERIES, energy_wh.start, energy_wh.slot_s, energy_wh.values)]
    if price_micro_per_kwh is not None and len(set(price_micro_per_kwh.values)) > 1:
        price = price_micro_per_kwh
        groups.append(tags.series_to_wire(tags.PRICE_SERIES, price.start, price.slot_s, price.values))
    return groups
