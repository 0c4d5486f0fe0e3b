"""The shelf: offers and providers as the catalogue's rules know them, fetched from and put back into the store.

The store hands out plain fields, because it may not know the catalogue; here they become `Offer` and `Provider`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any, cast

from energy_catalog import matching
from energy_catalog.assets import Asset, AssetKind
from energy_catalog.offers import Intent, Offer, OfferState, Provider, Source
from store import offer_search, offers, providers
from store.assets import StoredAsset
from store.offer_search import Wish
from store.offers import StoredOffer

#: How long a provider's face (name, picture, rating) may be shown as it was read, seconds.
FACE_S_MAX = 5.0
#: Faces remembered at most.
FACES_MAX = 10_000

_ASSET_NAMES = [field.name for field in fields(Asset)]
_NAMES = [field.name for field in fields(Offer)]
_WISHES = [field.name for field in fields(Wish) if field.name != "boxes"]


async def get(uow: Any, offer_id: str) -> Offer | None:
    """The offer with this id, unlocked: to quote from."""
    stored = await offers.get(uow, offer_id)
    return None if stored is None else offer_of(stored)


async def lock(uow: Any, offer_id: str) -> Offer | None:
    """The offer with this id, locked until the unit of work ends."""
    stored = await offers.lock(uow, offer_id)
    return None if stored is None else offer_of(stored)


async def lock_known(uow: Any, offer_id: str) -> Offer:
    """The offer that an order draws on, locked; offers are withdrawn but never removed."""
    offer = await lock(uow, offer_id)
    if offer is None:
        raise LookupError(f"an order draws on offer {offer_id}, which is not there")
    return offer


async def lock_all(uow: Any, offer_ids: Iterable[str]) -> dict[str, Offer]:
    """The offers with these ids, locked in one order everywhere."""
    stored = await offers.lock_all(uow, offer_ids)
    return {offer_id: offer_of(fields_) for offer_id, fields_ in stored.items()}


async def search(
    uow: Any, intent: Intent, *, now: datetime, limit: int, considered_max: int, faces: Faces
) -> list[Offer]:
    """The cheapest `limit` offers that answer at `now` (trading clock), cheapest first.

    Candidates come in batches, by their lowest price, until none that follows can be among the cheapest, or
    `considered_max` were looked at. Raises GpsInvalid for a place that is no position.
    """
    cheapest = matching.Cheapest(intent, now=now, limit=limit)
    wish = _wish(intent)
    by = await offer_search.narrowest(uow, wish)
    considered, after = 0, None
    while considered < considered_max:
        size = min(limit + limit // 4 + 1 if not considered else 2 * considered, considered_max - considered)
        batch = await offer_search.candidates(uow, wish, now=now, by=by, after=after, limit=size)
        found = [offer_of(stored) for stored in batch.offers]
        cheapest.consider(found, await faces.of(uow, {offer.provider_id for offer in found}))
        considered, after = considered + size, batch.after
        if after is None or cheapest.is_complete(price_least=after[0], offer_id=after[1]):
            break
    return cheapest.offers


def _wish(intent: Intent) -> Wish:
    """What the database can filter by; a place becomes boxes that hold its circle."""
    plain = {name: getattr(intent, name) for name in _WISHES}
    boxes = None
    if intent.near_gps is not None and intent.radius_m is not None:
        boxes = matching.boxes_around(matching.position(intent.near_gps), intent.radius_m)
    return Wish(**plain, boxes=boxes)


async def publish(uow: Any, offer: Offer, *, now: datetime) -> None:
    """Put a new offer on the shelf; raises offers.OfferExists. `now` is the wall clock."""
    await offers.publish(uow, _stored(offer), now=now)


async def save(uow: Any, offer: Offer, *, now: datetime) -> None:
    """Write a locked offer whole. `now` is the wall clock."""
    await offers.save(uow, _stored(offer), now=now)


async def save_taken(uow: Any, offer: Offer) -> None:
    """Write what is offered, held and sold of a locked offer."""
    await offers.save_taken(
        uow,
        offer_id=offer.offer_id,
        offered_wh=offer.offered_wh,
        held_wh=offer.held_wh,
        sold_wh=offer.sold_wh,
    )


def offer_of(stored: StoredOffer) -> Offer:
    """An offer as the rules know it."""
    plain: dict[str, Any] = dict(stored)
    plain["source"] = Source(stored["source"])
    plain["state"] = OfferState(stored["state"])
    return Offer(**plain)


def _stored(offer: Offer) -> StoredOffer:
    return cast(StoredOffer, {name: getattr(offer, name) for name in _NAMES})


def asset_of(stored: StoredAsset) -> Asset:
    """An asset as the rules know it."""
    plain = {name: getattr(stored, name) for name in _ASSET_NAMES}
    return Asset(**(plain | {"kind": AssetKind(stored.kind)}))


def stored_asset(asset: Asset) -> StoredAsset:
    """An asset as the store keeps it."""
    plain = {name: getattr(asset, name) for name in _ASSET_NAMES}
    return StoredAsset(**(plain | {"kind": asset.kind.value, "details": dict(asset.details)}))


class Faces:
    """Providers as buyers see them, remembered for a few seconds: every answer shows one, and they hardly change."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Provider]] = {}

    async def get(self, uow: Any, provider_id: str) -> Provider | None:
        """One provider; None when there is none."""
        return (await self.of(uow, [provider_id])).get(provider_id)

    async def known(self, uow: Any, provider_id: str) -> Provider:
        """The provider of an order; providers are never removed."""
        provider = await self.get(uow, provider_id)
        if provider is None:
            raise LookupError(f"an order is with provider {provider_id}, which is not there")
        return provider

    async def of(self, uow: Any, provider_ids: Iterable[str]) -> dict[str, Provider]:
        """Several providers by id, those that there are."""
        wanted, now = set(provider_ids), self._monotonic()
        fresh = {
            provider_id: entry[1]
            for provider_id in wanted
            if (entry := self._known.get(provider_id)) and now - entry[0] < FACE_S_MAX
        }
        missing = wanted - fresh.keys()
        if missing:
            if len(self._known) + len(missing) > FACES_MAX:
                self._known.clear()
            for stored in await providers.of_ids(uow, missing):
                provider = fresh[stored["provider_id"]] = Provider(**stored)
                self._known[provider.provider_id] = (now, provider)
        return fresh
