"""What prosumers send and get about offers: prices in every form, quality, terms. Energy in Wh, prices per kWh."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, model_validator

from api.paging import Id, Instant, Strict
from api.series import CarbonOut, EnergySeriesIn, EnergySeriesOut, InstantOut, PriceSeriesIn, PriceSeriesOut
from energy_catalog import tariffs
from energy_catalog.offers import FulfillmentType, Offer, Source
from energy_catalog.quality import CARBON_G_MAX, CERTIFICATES_MAX
from energy_catalog.tariffs import Block, Flat, SupplyDemand, Tariff, TimeOfUse
from trade.money import Series, micro_from_price, price_from_micro, utc
from trade.policy import PLAIN
from trade.price_rules import TIERS_MAX, PriceModel, Tier

#: Bounds of what a prosumer may write into an offer.
ORDER_WH_MAX = 1_000_000_000_000
GATE_CLOSURE_S_MAX = 7 * 86_400
QUOTE_TTL_S_MIN, QUOTE_TTL_S_MAX = 5, 86_400
BANDS_MAX = 24
TERMS_MAX = 10


def _price(text: str) -> str:
    if micro_from_price(text) < 0:
        raise ValueError("must be 0 or more")
    return text


def _signed(text: str) -> str:
    micro_from_price(text)
    return text


#: A price per kWh as a decimal string, such as "0.21", with at most six decimals.
Price = Annotated[str, Field(max_length=20), AfterValidator(_price)]
#: The same, which may be negative.
SignedPrice = Annotated[str, Field(max_length=21), AfterValidator(_signed)]
ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-4]):[0-5]\d$", description="HH:MM, 00:00 to 24:00")]
OrderWh = Annotated[int, Field(ge=1, le=ORDER_WH_MAX)]


class BandIn(Strict):
    """One stretch of the local day at one price; it may run past midnight."""

    start: ClockTime = Field(alias="from")
    end: ClockTime = Field(alias="to")
    price_per_kwh: Price


class TimeOfUseIn(Strict):
    """Prices by the time of the local day: a slot has the price of the band it begins in."""

    zone: str = Field(min_length=1, max_length=60, description='IANA name such as "Asia/Kolkata"')
    bands: tuple[BandIn, ...] = Field(min_length=1, max_length=BANDS_MAX)

    def tariff(self) -> TimeOfUse:
        """The same as the rules know it; raises TariffInvalid."""
        bands = tuple(
            (
                tariffs.minute_of_day(band.start),
                tariffs.minute_of_day(band.end),
                micro_from_price(band.price_per_kwh),
            )
            for band in self.bands
        )
        return TimeOfUse(tariffs.zone_named(self.zone), bands)


class TierIn(Strict):
    """One block: the energy of an order up to `up_to_wh` costs this; the last block has no end."""

    up_to_wh: OrderWh | None = None
    price_per_kwh: Price


class IndexedIn(Strict):
    """A published series plus a margin, never below the floor."""

    name: Id = Field(description="A price index of this node, in the offer's currency")
    margin_per_kwh: SignedPrice = "0"
    floor_per_kwh: Price = "0"


class SupplyDemandIn(Strict):
    """A local price between two tariffs of the retailer, by how much is to be had and wanted in every slot."""

    supply: EnergySeriesIn
    demand: EnergySeriesIn
    export_price_per_kwh: Price = Field(description="What the retailer pays for export")
    import_price_per_kwh: Price = Field(description="What the retailer asks for import; not below the other")

    def tariff(self) -> SupplyDemand:
        """The same as the rules know it."""
        return SupplyDemand(
            self.supply.series(),
            self.demand.series(),
            micro_from_price(self.export_price_per_kwh),
            micro_from_price(self.import_price_per_kwh),
        )


class PriceIn(Strict):
    """A price, said in exactly one way."""

    flat_price_per_kwh: Price | None = None
    time_of_use: TimeOfUseIn | None = None
    series: PriceSeriesIn | None = None
    blocks: tuple[TierIn, ...] | None = Field(default=None, min_length=1, max_length=TIERS_MAX)
    index: IndexedIn | None = None
    supply_demand: SupplyDemandIn | None = None

    @model_validator(mode="after")
    def _one_way(self) -> PriceIn:
        said = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError(f"send exactly one of {', '.join(type(self).model_fields)}")
        return self

    def pricing(self) -> Tariff | Series:
        """The same as the rules know it, unless it is an index, whose values the store has; raises TariffInvalid."""
        if self.series is not None:
            return self.series.series()
        if self.flat_price_per_kwh is not None:
            return Flat(micro_from_price(self.flat_price_per_kwh))
        if self.blocks is not None:
            return Block(tuple(Tier(tier.up_to_wh, micro_from_price(tier.price_per_kwh)) for tier in self.blocks))
        said = self.time_of_use or self.supply_demand
        assert said is not None  # noqa: S101 - one of them was said, and an index is not asked here
        return said.tariff()


class CarbonIn(Strict):
    """g CO2 per kWh of every slot: said, or the mean of a carbon index of this node."""

    index: Id | None = None
    start: Instant | None = None
    slot_s: int | None = None
    g_per_kwh: tuple[Annotated[int, Field(ge=0, le=CARBON_G_MAX)], ...] = Field(default=(), max_length=2016)

    @model_validator(mode="after")
    def _one_way(self) -> CarbonIn:
        is_series = self.start is not None and self.slot_s is not None and bool(self.g_per_kwh)
        if is_series == (self.index is not None):
            raise ValueError("send either index, or start, slot_s and g_per_kwh")
        return self

    def series(self) -> Series | None:
        """The series that was said; None where an index is named."""
        if self.start is None or self.slot_s is None:
            return None
        return Series(utc(self.start), max(self.slot_s, 1), self.g_per_kwh)


class CancellationTermModel(Strict):
    """Cancelling at least `notice_s_min` before delivery costs `fee_percent` of the energy."""

    notice_s_min: int = Field(ge=0, le=366 * 86_400)
    fee_percent: int = Field(ge=0, le=100)


class OfferIn(Strict):
    """An offer to be published."""

    offer_id: Id | None = Field(default=None, description="Chosen by us when left out")
    provider_id: Id
    source: Source
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")
    energy: EnergySeriesIn
    price: PriceIn
    wheeling_per_kwh: Price = Field(default="0", description="What the buyer pays for carrying; 0: as the policy says")
    order_wh_min: OrderWh = 1
    order_wh_max: OrderWh = ORDER_WH_MAX
    gate_closure_s: int = Field(
        default=0, ge=0, le=GATE_CLOSURE_S_MAX, description="Orders end so long before delivery (trading clock)"
    )
    quote_ttl_s: int = Field(
        default=300, ge=QUOTE_TTL_S_MIN, le=QUOTE_TTL_S_MAX, description="How long a quote stands (wall clock)"
    )
    cancellation_terms: tuple[CancellationTermModel, ...] = Field(default=(), max_length=TERMS_MAX)
    fulfillment_type: FulfillmentType = FulfillmentType.GRID_INJECTION
    policy: str = Field(default=PLAIN.id, min_length=1, max_length=120, description="GET /api/policies lists them")
    asset_id: Id | None = Field(default=None, description="The asset that makes the energy")
    renewable_per_mille: Annotated[int, Field(ge=0, le=1000)] | None = None
    carbon: CarbonIn | None = Field(default=None, description="Left out: not known, which is not the same as none")
    certificates: tuple[str, ...] = Field(default=(), max_length=CERTIFICATES_MAX, description="Their references")
    valid_from: Instant | None = Field(default=None, description="Default: now (trading clock)")
    valid_until: Instant | None = Field(default=None, description="Default: the end of the last slot")


class OfferChange(Strict):
    """What shall be different about an offer; what is left out stays."""

    energy: EnergySeriesIn | None = None
    price: PriceIn | None = None
    carbon: CarbonIn | None = None
    order_wh_min: OrderWh | None = None
    order_wh_max: OrderWh | None = None
    valid_until: Instant | None = None


class TierOut(BaseModel):
    """One block of a block price."""

    up_to_wh: int | None
    price_per_kwh: str


class PriceModelOut(BaseModel):
    """How the prices of an offer came about."""

    kind: str
    tiers: list[TierOut]
    index: str
    margin_per_kwh: str

    @classmethod
    def of(cls, model: PriceModel) -> PriceModelOut:
        """From the rules' model."""
        tiers = [
            TierOut(up_to_wh=tier.up_to_wh, price_per_kwh=price_from_micro(tier.price_micro_per_kwh))
            for tier in model.tiers
        ]
        margin = price_from_micro(model.margin_micro_per_kwh)
        return cls(kind=model.kind.value, tiers=tiers, index=model.index, margin_per_kwh=margin)


class OfferOut(BaseModel):
    """An offer and what has become of its energy."""

    offer_id: str
    provider_id: str
    meter_id: str
    source: str
    currency: str
    energy: EnergySeriesOut
    held: EnergySeriesOut
    sold: EnergySeriesOut
    available: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_per_kwh: str
    order_wh_min: int
    order_wh_max: int
    gate_closure_s: int
    quote_ttl_s: int
    cancellation_terms: tuple[CancellationTermModel, ...]
    fulfillment_type: str
    valid_from: InstantOut
    valid_until: InstantOut
    state: str
    policy: str
    asset_id: str
    price_model: PriceModelOut
    renewable_per_mille: int | None
    carbon: CarbonOut | None = Field(description="null: not known")
    certificates: tuple[str, ...]

    @classmethod
    def of(cls, offer: Offer) -> OfferOut:
        """From the rules' offer."""
        plain = {name: getattr(offer, name) for name in _PLAIN}
        carbon = offer.carbon_g_per_kwh
        terms = [
            CancellationTermModel(notice_s_min=t.notice_s_min, fee_percent=t.fee_percent)
            for t in offer.cancellation_terms
        ]
        return cls.model_construct(
            **plain,
            source=offer.source.value,
            state=offer.state.value,
            energy=EnergySeriesOut.of(offer.offered_wh),
            held=EnergySeriesOut.of(offer.held_wh),
            sold=EnergySeriesOut.of(offer.sold_wh),
            available=EnergySeriesOut.of(offer.available_wh),
            price=PriceSeriesOut.of(offer.price_micro_per_kwh),
            wheeling_per_kwh=price_from_micro(offer.wheeling_micro_per_kwh),
            cancellation_terms=tuple(terms),
            price_model=PriceModelOut.of(offer.price_model),
            carbon=None if carbon is None else CarbonOut.of(carbon),
        )


_PLAIN = (
    "offer_id",
    "provider_id",
    "meter_id",
    "currency",
    "order_wh_min",
    "order_wh_max",
    "gate_closure_s",
    "quote_ttl_s",
    "fulfillment_type",
    "valid_from",
    "valid_until",
    "policy",
    "asset_id",
    "renewable_per_mille",
    "certificates",
)
