"""The shelf: offers and providers as the catalogue's rules know them, fetched from and put back into the store.

The store hands out plain fields, because it may not know the catalogue; here they become `Offer` and `Provider`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any, cast

from energy_catalog.offers import Intent, Offer, OfferState, Provider, Source
from store import offers, providers
from store.offers import StoredOffer

#: How long a provider's face (name, picture, rating) may be shown as it was read, seconds.
FACE_S_MAX = 5.0
#: Faces remembered at most.
FACES_MAX = 10_000

_NAMES = [field.name for field in fields(Offer)]


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


async def find_open(uow: Any, intent: Intent, *, now: datetime, limit: int) -> list[Offer]:
    """Offers on sale at `now` (trading clock) that may answer the intent; `matching.match` decides."""
    found = await offers.find_open(
        uow,
        now=now,
        limit=limit,
        window_start=intent.window_start,
        window_end=intent.window_end,
        currency=intent.currency,
        source=intent.source,
        provider_ids=None if intent.provider_id is None else [intent.provider_id],
        offer_id=intent.offer_id,
    )
    return [offer_of(stored) for stored in found]


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
