"""What a provider sells: who owns which meter, how much energy in which slot, at what price, on what terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from energy_catalog import quality
from trade.money import Series
from trade.policy import PLAIN
from trade.price_rules import PER_SLOT, PriceInvalid, PriceModel, Tier, check_tiers
from trade.pricing import TermsInvalid, check_terms
from trade.quote import CancellationTerm


class Source(StrEnum):
    """How the energy is made. Layer 2 has category codes for the first two only; the others travel in a tag."""

    SOLAR = "SOLAR"
    WIND = "WIND"
    BATTERY = "BATTERY"
    GRID = "GRID"
    HYBRID = "HYBRID"
    RENEWABLE = "RENEWABLE"
    OTHER = "OTHER"


class FulfillmentType(StrEnum):
    """How the energy reaches the buyer."""

    GRID_INJECTION = "GRID_INJECTION"
    EV_CHARGING = "EV_CHARGING"
    BATTERY_SWAP = "BATTERY_SWAP"
    V2G = "V2G"  # a vehicle gives it back to the grid
    VIRTUAL = "VIRTUAL"  # settled in books only: nobody carries anything


class OfferState(StrEnum):
    """Whether an offer answers searches."""

    PUBLISHED = "PUBLISHED"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, slots=True)
class Provider:
    """A prosumer (or an aggregator's member) as buyers see it.

    `gps` is the centre of a privacy cell, "lat, lon", never the house. `rating` is a mean of `rating_count` ratings;
    `delivered_per_mille` is how much of what it sold in `settled` orders it delivered (None: nothing settled yet).
    """

    provider_id: str
    name: str
    short_desc: str
    image_url: str
    gps: str
    meter_id: str
    rating: str = ""
    rating_count: int = 0
    delivered_per_mille: int | None = None
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """Energy for sale over a series of slots.

    `offered_wh` is what was published; `held_wh` and `sold_wh` are what unexpired quotes and contracts have taken
    of it. All four series are aligned. `gate_closure_s`: no slot is ordered or changed later than this long before
    it begins (trading clock). One order is `order_wh_min` to `order_wh_max` in all. `policy` names the rules it is
    settled by. Of the quality, None is "not known", which is never taken for 0. `meter_free_wh` is what the limit of
    the meter's grid connection leaves to all its offers together; None without a limit.
    """

    offer_id: str
    provider_id: str
    meter_id: str
    source: Source
    currency: str
    offered_wh: Series
    held_wh: Series
    sold_wh: Series
    price_micro_per_kwh: Series
    wheeling_micro_per_kwh: int
    order_wh_min: int
    order_wh_max: int
    gate_closure_s: int
    quote_ttl_s: int
    cancellation_terms: tuple[CancellationTerm, ...]
    fulfillment_type: str
    valid_from: datetime
    valid_until: datetime
    state: OfferState = OfferState.PUBLISHED
    policy: str = PLAIN.id
    asset_id: str = ""
    price_model: PriceModel = PER_SLOT
    renewable_per_mille: int | None = None
    carbon_g_per_kwh: Series | None = None
    certificates: tuple[str, ...] = ()
    meter_free_wh: Series | None = None

    @property
    def available_wh(self) -> Series:
        """What can still be sold, per slot: neither held nor sold, and within what the meter's limit leaves."""
        taken = zip(self.offered_wh.values, self.held_wh.values, self.sold_wh.values, strict=True)
        free = tuple(offered - held - sold for offered, held, sold in taken)
        if self.meter_free_wh is not None:
            free = tuple(map(min, free, self.meter_free_wh.values))
        return self.offered_wh.with_values(free)

    def open_wh(self, now: datetime) -> Series:
        """What can still be ordered, per slot: free, and the slot's gate is not closed (trading clock).

        A slot can be ordered until exactly `gate_closure_s` before it begins.
        """
        free = self.available_wh
        ordered = free.within(now + timedelta(seconds=self.gate_closure_s), None)
        return free.with_values((0,) * (len(free.values) - len(ordered)) + free.values[ordered.start :])

    def is_open(self, now: datetime) -> bool:
        """True while the offer is published and valid and the gate of its last slot is not closed (trading clock)."""
        last_start = self.offered_wh.end - timedelta(seconds=self.offered_wh.slot_s)
        return (
            self.state is OfferState.PUBLISHED
            and self.valid_from <= now < self.valid_until
            and now + timedelta(seconds=self.gate_closure_s) <= last_start
        )


class OfferInvalid(ValueError):
    """An offer that could not be sold as it says; names the field."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field, self.sentence = field, sentence


def check_offer(offer: Offer) -> None:
    """Refuse an offer before it is published or changed; raises OfferInvalid naming the first field that is wrong.

    Prices are zero or more: this network does not pay people to take energy.
    """
    energy, price = offer.offered_wh, offer.price_micro_per_kwh
    if min(energy.values) < 0 or not energy.total:
        raise OfferInvalid("energy", "every slot offers 0 Wh or more, and one of them more than 0")
    if not all(energy.is_aligned(other) for other in (price, offer.held_wh, offer.sold_wh)):
        raise OfferInvalid("price", "energy and price cover the same slots")
    if min(price.values) < 0 or offer.wheeling_micro_per_kwh < 0:
        raise OfferInvalid("price", "prices and wheeling are 0 or more")
    if min(replace(offer, meter_free_wh=None).available_wh.values) < 0:
        raise OfferInvalid("energy", "less is offered than is already held or sold")
    if not 0 < offer.order_wh_min <= offer.order_wh_max:
        raise OfferInvalid("order_wh_min", "an order is at least 1 Wh, and the least not above the most")
    if offer.gate_closure_s < 0 or offer.quote_ttl_s <= 0:
        raise OfferInvalid("quote_ttl_s", "the gate closes 0 s or more before delivery, a quote stands at least 1 s")
    if not offer.valid_from < offer.valid_until:
        raise OfferInvalid("valid_until", "an offer ends after it begins")
    _check_quality(offer)
    try:
        check_terms(offer.cancellation_terms)
    except TermsInvalid as refusal:
        raise OfferInvalid("cancellation_terms", str(refusal)) from refusal


def _check_quality(offer: Offer) -> None:
    try:
        quality.check(
            renewable_per_mille=offer.renewable_per_mille,
            carbon_g_per_kwh=offer.carbon_g_per_kwh,
            certificates=offer.certificates,
            like=offer.offered_wh,
        )
    except quality.QualityInvalid as refusal:
        raise OfferInvalid(refusal.field, refusal.sentence) from refusal
    try:
        if offer.price_model.tiers:
            check_tiers(offer.price_model.tiers)
    except PriceInvalid as refusal:
        raise OfferInvalid("price.blocks", str(refusal)) from refusal
    if offer.fulfillment_type == FulfillmentType.VIRTUAL and offer.wheeling_micro_per_kwh:
        raise OfferInvalid(
            "wheeling_per_kwh", "a VIRTUAL offer is settled in books only and nothing is carried; leave wheeling out"
        )


class UnableToTake(Exception):
    """The energy asked for cannot be had from this offer."""


def hold(offer: Offer, energy_wh: Series) -> Offer:
    """The offer with this energy held for an unexpired quote; raises UnableToTake when it is not free."""
    return _taken(offer, held=_plus(offer.held_wh, energy_wh))


def unhold(offer: Offer, energy_wh: Series) -> Offer:
    """The offer with a lapsed quote's energy free again."""
    return _taken(offer, held=_plus(offer.held_wh, energy_wh, sign=-1))


def sell(offer: Offer, energy_wh: Series) -> Offer:
    """The offer with held energy sold: a confirm."""
    return _taken(offer, held=_plus(offer.held_wh, energy_wh, sign=-1), sold=_plus(offer.sold_wh, energy_wh))


def exchange(offer: Offer, *, old_wh: Series, new_wh: Series) -> Offer:
    """The offer with a contract changed from `old_wh` to `new_wh` (all zero for a cancellation)."""
    return _taken(offer, sold=_plus(_plus(offer.sold_wh, old_wh, sign=-1), new_wh))


def _plus(left: Series, right: Series, *, sign: int = 1) -> Series:
    if not left.is_aligned(right):
        raise UnableToTake("the order's slots are not the offer's slots")
    return left.with_values(tuple(a + sign * b for a, b in zip(left.values, right.values, strict=True)))


def _taken(offer: Offer, *, held: Series | None = None, sold: Series | None = None) -> Offer:
    """The offer with other takings, none negative and no slot oversold: the rule the database enforces too.

    What it takes of its meter's limit counts; energy given back frees as much of it.
    """
    after = replace(offer, held_wh=held or offer.held_wh, sold_wh=sold or offer.sold_wh)
    if offer.meter_free_wh is not None:
        before = zip(offer.held_wh.values, offer.sold_wh.values, strict=True)
        taken = zip(after.held_wh.values, after.sold_wh.values, strict=True)
        left = (free + sum(b) - sum(a) for free, b, a in zip(offer.meter_free_wh.values, before, taken, strict=True))
        after = replace(after, meter_free_wh=offer.meter_free_wh.with_values(tuple(left)))
    if min(min(series.values) for series in (after.held_wh, after.sold_wh, after.available_wh)) < 0:
        raise UnableToTake("a slot is sold out, or less was taken than is given back")
    return after


@dataclass(frozen=True, slots=True)
class Intent:
    """What a buyer looks for; None means "any"."""

    window_start: datetime | None = None
    window_end: datetime | None = None
    energy_wh: int | None = None
    price_micro_per_kwh_max: int | None = None
    currency: str | None = None
    source: Source | None = None
    provider_id: str | None = None
    offer_id: str | None = None
    near_gps: str | None = None
    radius_m: int | None = None
    fulfillment_type: str | None = None
    renewable_per_mille_min: int | None = None
    #: Highest mean over the free energy in the window; energy of unknown carbon intensity never answers.
    carbon_g_per_kwh_max: int | None = None
    #: Tenths, 10 to 50; a provider nobody rated never answers, nor one without a settled order.
    rating_tenths_min: int | None = None
    delivered_per_mille_min: int | None = None


@dataclass(frozen=True, slots=True)
class OfferView:
    """An offer as a buyer's node knows it from on_search: the provider's public face and what was free."""

    seller_id: str
    provider: Provider
    offer_id: str
    source: Source
    currency: str
    available_wh: Series
    price_micro_per_kwh: Series
    wheeling_micro_per_kwh: int
    order_wh_min: int
    order_wh_max: int
    fulfillment_id: str
    fulfillment_type: str
    policy: str = PLAIN.id
    policy_digest: str = ""
    renewable_per_mille: int | None = None
    carbon_g_per_kwh: Series | None = None
    certificates: tuple[str, ...] = ()
    #: Tiers of a block price: `price_micro_per_kwh` then shows those of the first.
    tiers: tuple[Tier, ...] = ()
    #: False when a stranger sent one quantity without a series; available_wh is then one slot over the window.
    has_series: bool = True
