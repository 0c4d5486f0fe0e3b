"""The catalog of an on_search -> offers as a buyer knows them."""

from __future__ import annotations

from typing import Any

from bap.translate.views import CatalogView
from energy_catalog.offers import OfferView, Provider, Source
from schemas import catalog_tags, tags, values
from schemas.values import WireRefusal
from trade.money import Series
from trade.policy import PLAIN
from trade.price_rules import Tier

#: Longest window of a stranger's offer without a series.
WINDOW_S_MAX = 366 * 86_400


def catalog_from_wire(message: dict[str, Any], seller_id: str) -> CatalogView:
    """Every offer of the catalog that can be read, and a WireRefusal for each that cannot."""
    catalog = message.get("catalog") or {}
    view = CatalogView([], [])
    for index, provider in enumerate(catalog.get("providers") or ()):
        path = f"message.catalog.providers[{index}]"
        shared = [*(provider.get("fulfillments") or ()), *(catalog.get("fulfillments") or ())]
        fulfillments = {entry["id"]: entry for entry in reversed(shared) if "id" in entry}
        try:
            face = _provider(provider, path)
        except WireRefusal as problem:
            view.problems.append(problem)
            continue
        for position, item in enumerate(provider.get("items") or ()):
            try:
                offer = _offer(
                    item,
                    provider,
                    face=face,
                    fulfillments=fulfillments,
                    seller_id=seller_id,
                    path=f"{path}.items[{position}]",
                )
            except WireRefusal as problem:
                view.problems.append(problem)
            else:
                view.offers.append(offer)
    return view


def offers_from_wire(message: dict[str, Any], seller_id: str) -> list[OfferView]:
    """Every offer of the catalog that can be read."""
    return catalog_from_wire(message, seller_id).offers


def _provider(provider: dict[str, Any], path: str) -> Provider:
    """Who sells; raises WireRefusal for a score that cannot be read."""
    descriptor = provider.get("descriptor") or {}
    images = descriptor.get("images") or [{}]
    places = provider.get("locations") or [{}]
    score = catalog_tags.provider_score_from_wire(provider.get("tags"), path=f"{path}.tags")
    return Provider(
        provider_id=provider["id"],
        name=descriptor.get("name") or provider["id"],
        short_desc=descriptor.get("short_desc", ""),
        image_url=images[0].get("url", ""),
        gps=places[0].get("gps", ""),
        meter_id="",
        rating=provider.get("rating", ""),
        **(score._asdict() if score else {}),
    )


def _offer(
    item: dict[str, Any],
    provider: dict[str, Any],
    *,
    face: Provider,
    fulfillments: dict[str, dict[str, Any]],
    seller_id: str,
    path: str,
) -> OfferView:
    price = item.get("price") or {}
    fulfillment_id, fulfillment = _fulfillment(item, fulfillments)
    series = tags.series_from_wire(item.get("tags"), tags.ENERGY_SERIES, path=f"{path}.tags")
    available_wh = _one_slot(item, fulfillment, path) if series is None else Series(*series)
    groups, where = item.get("tags"), f"{path}.tags"
    terms = tags.offer_terms_from_wire(groups, path=where)
    quality = catalog_tags.source_quality_from_wire(groups, path=where)
    blocks = catalog_tags.block_prices_from_wire(groups, path=where)
    return OfferView(
        seller_id=seller_id,
        provider=face,
        offer_id=item["id"],
        source=_source(item, provider),
        currency=values.currency_from_wire(price.get("currency"), path=f"{path}.price.currency"),
        available_wh=available_wh,
        price_micro_per_kwh=price_series_from_wire(item, available_wh, path=path),
        wheeling_micro_per_kwh=terms.wheeling_micro_per_kwh or 0,
        order_wh_min=_bound(item, "minimum", path, default=0),
        order_wh_max=_bound(item, "maximum", path, default=available_wh.total),
        fulfillment_id=fulfillment_id,
        fulfillment_type=fulfillment.get("type", ""),
        policy=terms.policy or PLAIN.id,
        policy_digest=terms.policy_digest,
        renewable_per_mille=quality.renewable_per_mille if quality else None,
        certificates=quality.certificates if quality else (),
        carbon_g_per_kwh=_carbon(item, available_wh, path=where),
        tiers=tuple(Tier(up_to_wh, price) for up_to_wh, price in blocks or ()),
        has_series=series is not None,
    )


def _carbon(item: dict[str, Any], like: Series, *, path: str) -> Series | None:
    """The carbon intensity of every slot; None when it is not said. Other slots than the energy's are refused."""
    series = tags.series_from_wire(item.get("tags"), tags.CARBON_SERIES, path=path)
    if series is None:
        return None
    carbon = Series(*series)
    if not carbon.is_aligned(like):
        raise values.refuse(f"{path}.CARBON_SERIES", "covers other slots than the ENERGY_SERIES; align them.")
    return carbon


def price_series_from_wire(item: dict[str, Any], like: Series, *, path: str) -> Series:
    """The price of each slot: the PRICE_SERIES tag, which must cover the slots of `like`, or one price for all."""
    series = tags.series_from_wire(item.get("tags"), tags.PRICE_SERIES, path=f"{path}.tags")
    if series is None:
        value = (item.get("price") or {}).get("value")
        return Series.flat(like, values.price_from_wire(value, path=f"{path}.price.value"))
    prices = Series(*series)
    if not prices.is_aligned(like):
        raise values.refuse(f"{path}.tags.PRICE_SERIES", "covers other slots than the ENERGY_SERIES; align them.")
    return prices


def _fulfillment(item: dict[str, Any], fulfillments: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The delivery an item refers to; a provider with a single one need not be referred to."""
    for fulfillment_id in item.get("fulfillment_ids") or ():
        if fulfillment_id in fulfillments:
            return fulfillment_id, fulfillments[fulfillment_id]
    if len(fulfillments) == 1:
        return next(iter(fulfillments.items()))
    return "", {}


def _one_slot(item: dict[str, Any], fulfillment: dict[str, Any], path: str) -> Series:
    """A stranger's single quantity as one slot over the delivery window."""
    start, end = values.window_from_stops(fulfillment.get("stops"), path=f"{path}.fulfillment.stops")
    if start is None or end is None:
        raise values.refuse(path, "does not say when it delivers: it has neither an ENERGY_SERIES nor a window.")
    seconds = int((end - start).total_seconds())
    if not 1 <= seconds <= WINDOW_S_MAX:
        raise values.refuse(path, f"delivers over {seconds} s; at most {WINDOW_S_MAX // 86_400} days are understood.")
    measure = ((item.get("quantity") or {}).get("available") or {}).get("measure")
    return Series(start, seconds, (values.energy_from_wire(measure, path=f"{path}.quantity.available.measure"),))


def _bound(item: dict[str, Any], name: str, path: str, *, default: int) -> int:
    quantity = (item.get("quantity") or {}).get(name) or {}
    if "measure" not in quantity:
        return default
    return values.energy_from_wire(quantity["measure"], path=f"{path}.quantity.{name}.measure")


def _source(item: dict[str, Any], provider: dict[str, Any]) -> Source:
    """How the energy is made: the tag ENERGY_SOURCE or the code of one of the item's categories; else OTHER."""
    wanted = item.get("category_ids") or ()
    for category in provider.get("categories") or ():
        if wanted and category.get("id") not in wanted:
            continue
        named = (tags.group_from_wire(category.get("tags"), tags.ENERGY_SOURCE) or {}).get("source", "")
        code = (category.get("descriptor") or {}).get("code", "")
        if named in Source.__members__:
            return Source[named]
        if code in catalog_tags.SOURCES_BY_CODE:
            return Source(catalog_tags.SOURCES_BY_CODE[code])
    return Source.OTHER
