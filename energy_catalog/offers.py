"""What a provider sells: who owns which meter, how much energy in which slot, at what price, on what terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from trade.money import Series
from trade.order import CancellationTerm


class Source(StrEnum):
    """How the energy is made. Layer 2 has category codes for the first two only; the others travel in a tag."""

    SOLAR = "SOLAR"
    WIND = "WIND"
    BATTERY = "BATTERY"
    OTHER = "OTHER"


class OfferState(StrEnum):
    """Whether an offer answers searches."""

    PUBLISHED = "PUBLISHED"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, slots=True)
class Provider:
    """A prosumer (or an aggregator's member) as buyers see it. `gps` is a privacy cell's centre "lat, lon", never the house."""

    provider_id: str
    name: str
    short_desc: str
    image_url: str
    gps: str
    meter_id: str
    rating: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """Energy for sale over a series of slots.

    `offered_wh` is what was published; `held_wh` and `sold_wh` are what unexpired quotes and contracts have taken
    of it. All four series are aligned. `gate_closure_s`: no order is taken or changed later than this long before
    the first slot ordered (trading clock).
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

    @property
    def available_wh(self) -> Series:
        """What is still free, per slot."""
        return self.offered_wh.with_values(
            tuple(
                o - h - s
                for o, h, s in zip(
                    self.offered_wh.values, self.held_wh.values, self.sold_wh.values, strict=True
                )
            )
        )

    def is_open(self, now: datetime) -> bool:
        """True while at least one slot can still be ordered (trading clock)."""
        return (
            self.state is OfferState.PUBLISHED
            and self.valid_from <= now < self.valid_until
            and now + timedelta(seconds=self.gate_closure_s) <= self.offered_wh.end
        )


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
    #: False when a stranger sent one quantity without a series; available_wh is then one slot over the window.
    has_series: bool = True
