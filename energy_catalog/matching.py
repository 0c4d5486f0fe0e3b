"""Which offers answer an intent.

A search asks for energy in a window, at most at a price, of a kind, near a place, clean enough, from somebody who keeps
promises; every wish may be absent. An offer answers when one order could satisfy all of them now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import asin, cos, degrees, radians, sin, sqrt
from operator import itemgetter, mul

from energy_catalog.offers import Intent, Offer, OfferState, Provider
from trade.money import Series
from trade.price_rules import block_cost_nano

#: Average prices are compared in millionths of a micro-unit, rounded down; closer ones are equal.
PRICE_PARTS = 1_000_000

#: South, west, north, east in degrees.
Box = tuple[float, float, float, float]

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
    lat_a, lon_a, lat_b, lon_b = (radians(angle) for angle in (*here, *there))
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def boxes_around(here: tuple[float, float], radius_m: float) -> tuple[Box, ...]:
    """Boxes of latitude and longitude that hold the circle: one, or two where it crosses the 180th meridian.

    The circle reaches asin(sin(r / R) / cos(latitude)) east and west (a spherical right triangle at the point where a
    meridian touches it), and all round where it holds a pole. A little is added for what rounding takes away.
    """
    latitude, longitude = here
    reach = degrees(radius_m / EARTH_RADIUS_M) * (1 + 1e-9) + 1e-9
    south, north = latitude - reach, latitude + reach
    if south <= -90 or north >= 90:
        return ((max(south, -90.0), -180.0, min(north, 90.0), 180.0),)
    wide = degrees(asin(min(1.0, sin(radians(reach)) / cos(radians(latitude)))))
    west, east = longitude - wide, longitude + wide
    if west < -180:
        return ((south, -180.0, north, east), (south, west + 360, north, 180.0))
    if east > 180:
        return ((south, west, north, 180.0), (south, -180.0, north, east - 360))
    return ((south, west, north, east),)


class Cheapest:
    """The cheapest offers that answer an intent, out of candidates that come in order of their lowest price.

    An offer costs at least its lowest price. So once `limit` answers are no dearer than what the next candidate costs
    at least, nothing that follows can be among them, and the search may stop (Fagin's threshold algorithm).
    Equal prices go by offer id. `now` is the trading clock. Raises GpsInvalid for a place that is no position.
    """

    def __init__(self, intent: Intent, *, now: datetime, limit: int) -> None:
        self._intent, self._now, self._limit = intent, now, limit
        self._near = None if intent.near_gps is None else position(intent.near_gps)
        self._found: list[tuple[int, str, Offer]] = []

    def consider(self, offers: Iterable[Offer], providers: Mapping[str, Provider]) -> None:
        """Look at some candidates; `providers` by id are needed where the intent asks something of them."""
        for offer in offers:
            price = _price_if_answering(self._intent, offer, self._now)
            if price is not None and _is_provider_wanted(self._intent, self._near, providers.get(offer.provider_id)):
                self._found.append((price, offer.offer_id, offer))
        self._found.sort(key=itemgetter(0, 1))
        del self._found[self._limit :]

    def is_complete(self, *, price_least: int, offer_id: str) -> bool:
        """True when no candidate after one of this lowest price and id can be among the cheapest."""
        if len(self._found) < self._limit:
            return False
        dearest, its_id, _ = self._found[-1]
        return (dearest, its_id) <= (price_least * PRICE_PARTS, offer_id)

    @property
    def offers(self) -> list[Offer]:
        """What was found, cheapest first."""
        return [offer for _, _, offer in self._found]


def match(
    intent: Intent, offers: Iterable[Offer], *, now: datetime, providers: Mapping[str, Provider] | None = None
) -> list[Offer]:
    """All of these offers that answer, cheapest first, equal prices by offer id (`now`: trading clock).

    `providers` by id are needed only for an intent with a place or a wish about them. Raises GpsInvalid when the place
    is no position.
    """
    offers = list(offers)
    cheapest = Cheapest(intent, now=now, limit=len(offers))
    cheapest.consider(offers, providers or {})
    return cheapest.offers


def _is_wanted(intent: Intent, offer: Offer) -> bool:
    wishes = (
        (intent.currency, offer.currency),
        (intent.source, offer.source),
        (intent.provider_id, offer.provider_id),
        (intent.offer_id, offer.offer_id),
        (intent.fulfillment_type, offer.fulfillment_type),
    )
    renewable = intent.renewable_per_mille_min
    return all(wish is None or wish == has for wish, has in wishes) and (
        renewable is None or (offer.renewable_per_mille is not None and offer.renewable_per_mille >= renewable)
    )


def _price_if_answering(intent: Intent, offer: Offer, now: datetime) -> int | None:
    """Average price of the free energy in the window, in parts of a micro-unit; None when the offer does not answer.

    Only slots that lie wholly inside the window and whose gate is not closed count, weighted by the energy free in
    them. So does carbon. Of a block price, what the whole demand costs counts.
    """
    is_on_sale = offer.state is OfferState.PUBLISHED and offer.valid_from <= now < offer.valid_until
    if not is_on_sale or not _is_wanted(intent, offer):
        return None
    gate = now + timedelta(seconds=offer.gate_closure_s)
    start = gate if intent.window_start is None else max(gate, intent.window_start)
    inside = offer.offered_wh.within(start, intent.window_end)
    free = _free_within(offer, inside)
    free_wh = sum(free)
    wanted_wh = offer.order_wh_min if intent.energy_wh is None else intent.energy_wh
    if not max(1, offer.order_wh_min) <= wanted_wh <= min(free_wh, offer.order_wh_max):
        return None
    if not _is_clean_enough(intent.carbon_g_per_kwh_max, offer.carbon_g_per_kwh, inside, free):
        return None
    prices = offer.price_micro_per_kwh.values[inside.start : inside.stop]
    cost, of_wh = sum(map(mul, free, prices)), free_wh
    if offer.price_model.tiers:
        cost, of_wh = block_cost_nano(offer.price_model.tiers, wanted_wh), wanted_wh
    cap = intent.price_micro_per_kwh_max
    return cost * PRICE_PARTS // of_wh if cap is None or cost <= cap * of_wh else None


def _free_within(offer: Offer, inside: range) -> Sequence[int]:
    """`available_wh` of some of the slots only: a search looks at a few slots of very many offers."""
    part = slice(inside.start, inside.stop)
    taken = zip(offer.offered_wh.values[part], offer.held_wh.values[part], offer.sold_wh.values[part], strict=True)
    free = [offered - held - sold for offered, held, sold in taken]
    if offer.meter_free_wh is None:
        return free
    return list(map(min, free, offer.meter_free_wh.values[part]))


def _is_clean_enough(cap_g: int | None, carbon: Series | None, inside: range, free: Sequence[int]) -> bool:
    """Mean carbon intensity by free energy within the cap; what is unknown is not clean (Scope 2 Guidance, 2015)."""
    if cap_g is None:
        return True
    if carbon is None:
        return False
    return bool(sum(map(mul, free, carbon.values[inside.start : inside.stop])) <= cap_g * sum(free))


def _is_provider_wanted(intent: Intent, near: tuple[float, float] | None, provider: Provider | None) -> bool:
    """Place, rating and score; a provider of whom nothing is known does not answer a wish about it."""
    rating, score = intent.rating_tenths_min, intent.delivered_per_mille_min
    if near is None and rating is None and score is None:
        return True
    if provider is None:
        return False
    if rating is not None and not (provider.rating and Fraction(provider.rating) * 10 >= rating):
        return False
    if score is not None and (provider.delivered_per_mille is None or provider.delivered_per_mille < score):
        return False
    return near is None or _is_near(near, intent.radius_m, provider)


def _is_near(near: tuple[float, float], radius_m: int | None, provider: Provider) -> bool:
    """Unknown whereabouts are not near; a place without a radius excludes nobody whose whereabouts are known."""
    try:
        there = position(provider.gps)
    except GpsInvalid:
        return False
    return radius_m is None or distance_m(near, there) <= radius_m
