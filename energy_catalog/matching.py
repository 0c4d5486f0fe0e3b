"""Which offers answer an intent.

A search asks for energy in a window, at most at a price, of a kind, near a place; every wish may be absent. An offer
answers when one order could satisfy all of them now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from math import asin, cos, radians, sin, sqrt

from energy_catalog.offers import Intent, Offer, Provider

#: Mean radius of the earth in metres (IUGG R1).
EARTH_RADIUS_M = 6_371_008.8


class GpsInvalid(ValueError):
    """Text that is not "latitude, longitude" in degrees."""


def position(gps: str) -> tuple[float, float]:
    """Latitude and longitude in degrees from "lat, lon"; raises GpsInvalid."""
    try:
        latitude, longitude = (float(part) for part in gps.split(","))
    except ValueError:
        raise GpsInvalid(f"{gps[:60]!r} is not a latitude and a longitude") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise GpsInvalid(f"{gps[:60]!r} lies outside -90..90, -180..180")
    return latitude, longitude


def distance_m(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Great-circle distance in metres (haversine formula on a sphere; good to 0.5 %)."""
    lat_a, lon_a, lat_b, lon_b = (radians(degrees) for degrees in (*here, *there))
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def match(
    intent: Intent, offers: Iterable[Offer], *, now: datetime, providers: Mapping[str, Provider] | None = None
) -> list[Offer]:
    """The offers that answer, cheapest first, equal prices by offer id (`now`: trading clock).

    `providers` by id are needed only for an intent with a place. Raises GpsInvalid when that place is no position.
    """
    found: list[tuple[Fraction, str, Offer]] = []
    near = None if intent.near_gps is None else position(intent.near_gps)
    for offer in offers:
        if not offer.is_open(now) or not _is_wanted(intent, offer):
            continue
        price = _price_if_served(intent, offer, now)
        if price is None:
            continue
        if near and not _is_near(near, intent.radius_m, (providers or {}).get(offer.provider_id)):
            continue
        found.append((price, offer.offer_id, offer))
    return [offer for _, _, offer in sorted(found, key=lambda entry: entry[:2])]


def _is_wanted(intent: Intent, offer: Offer) -> bool:
    wishes = (
        (intent.currency, offer.currency),
        (intent.source, offer.source),
        (intent.provider_id, offer.provider_id),
        (intent.offer_id, offer.offer_id),
    )
    return all(wish is None or wish == has for wish, has in wishes)


def _price_if_served(intent: Intent, offer: Offer, now: datetime) -> Fraction | None:
    """Average price of the free energy in the window, micro-units per kWh; None when the offer cannot serve.

    Only slots that lie wholly inside the window count, weighted by the energy free in them.
    """
    free, prices = offer.open_wh(now), offer.price_micro_per_kwh.values
    inside = free.within(intent.window_start, intent.window_end)
    free_wh = sum(free.values[index] for index in inside)
    wanted_wh = offer.order_wh_min if intent.energy_wh is None else intent.energy_wh
    if not max(1, offer.order_wh_min) <= wanted_wh <= min(free_wh, offer.order_wh_max):
        return None
    average = Fraction(sum(free.values[index] * prices[index] for index in inside), free_wh)
    cap = intent.price_micro_per_kwh_max
    return average if cap is None or average <= cap else None


def _is_near(near: tuple[float, float], radius_m: int | None, provider: Provider | None) -> bool:
    """Unknown whereabouts are not near; a place without a radius excludes nobody whose whereabouts are known."""
    if provider is None:
        return False
    try:
        there = position(provider.gps)
    except GpsInvalid:
        return False
    return radius_m is None or distance_m(near, there) <= radius_m
