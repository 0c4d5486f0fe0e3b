"""Prosumer's desk, offers: publish, change, withdraw, list."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, model_validator

from api.desk import Call, Desk
from api.paging import Id, Instant, ListOf, Page, Strict
from api.problems import ApiError, conflict, not_found
from api.series import EnergySeriesIn, EnergySeriesOut, InstantOut, PriceSeriesIn, PriceSeriesOut
from bpp import listing, shelf
from bpp.scope import PROSUMER, check_held, check_own, find_provider, own_provider
from energy_catalog import tariffs
from energy_catalog.offers import Offer, OfferInvalid, Source
from energy_catalog.tariffs import Flat, TimeOfUse
from store import offers
from trade.money import micro_from_price, price_from_micro, utc
from trade.pricing import TariffInvalid
from trade.quote import CancellationTerm

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


#: A price per kWh as a decimal string, such as "0.21", with at most six decimals.
Price = Annotated[str, Field(max_length=20), AfterValidator(_price)]
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


class PriceIn(Strict):
    """A price: exactly one of the three."""

    flat_price_per_kwh: Price | None = None
    time_of_use: TimeOfUseIn | None = None
    series: PriceSeriesIn | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> PriceIn:
        if sum(said is not None for said in (self.flat_price_per_kwh, self.time_of_use, self.series)) != 1:
            raise ValueError("send exactly one of flat_price_per_kwh, time_of_use and series")
        return self

    def pricing(self) -> listing.Pricing:
        """The same as the rules know it; raises TariffInvalid."""
        if self.series is not None:
            return self.series.series()
        if self.flat_price_per_kwh is not None:
            return Flat(micro_from_price(self.flat_price_per_kwh))
        tariff = self.time_of_use
        assert tariff is not None  # noqa: S101 - one of the three was said
        bands = tuple(
            (
                tariffs.minute_of_day(band.start),
                tariffs.minute_of_day(band.end),
                micro_from_price(band.price_per_kwh),
            )
            for band in tariff.bands
        )
        return TimeOfUse(tariffs.zone_named(tariff.zone), bands)


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
    wheeling_per_kwh: Price = "0"
    order_wh_min: OrderWh = 1
    order_wh_max: OrderWh = ORDER_WH_MAX
    gate_closure_s: int = Field(
        default=0, ge=0, le=GATE_CLOSURE_S_MAX, description="Orders end so long before delivery (trading clock)"
    )
    quote_ttl_s: int = Field(
        default=300, ge=QUOTE_TTL_S_MIN, le=QUOTE_TTL_S_MAX, description="How long a quote stands (wall clock)"
    )
    cancellation_terms: tuple[CancellationTermModel, ...] = Field(default=(), max_length=TERMS_MAX)
    fulfillment_type: str = Field(default="GRID_INJECTION", min_length=1, max_length=100)
    valid_from: Instant | None = Field(default=None, description="Default: now (trading clock)")
    valid_until: Instant | None = Field(default=None, description="Default: the end of the last slot")


class OfferChange(Strict):
    """What shall be different about an offer; what is left out stays."""

    energy: EnergySeriesIn | None = None
    price: PriceIn | None = None
    order_wh_min: OrderWh | None = None
    order_wh_max: OrderWh | None = None
    valid_until: Instant | None = None


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

    @classmethod
    def of(cls, offer: Offer) -> OfferOut:
        """From the rules' offer."""
        plain = {name: getattr(offer, name) for name in _PLAIN}
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
)


class OffersOf(Page):
    """Query of the list of offers."""

    provider_id: Id | None = None


async def publish_offer(call: Call[OfferIn]) -> OfferOut:
    """Publish an offer; searches find it at once.

    409 when the id is taken, or when the meter already sells part of this time in other slots.
    """
    body = call.body
    async with call.node.database.unit_of_work() as uow:
        provider = await find_provider(call, uow, body.provider_id)
        await check_held(uow, provider)
        try:
            offer = listing.publish(
                provider,
                body.energy.series(),
                body.price.pricing(),
                _terms(body),
                now_trading=call.node.trading.now(),
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
        try:
            changed = listing.change(
                offer,
                energy_wh=body.energy.series() if body.energy else None,
                pricing=body.price.pricing() if body.price else None,
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


def _terms(body: OfferIn) -> listing.Terms:
    return listing.Terms(
        offer_id=body.offer_id or str(uuid.uuid4()),
        source=body.source,
        currency=body.currency,
        wheeling_micro_per_kwh=micro_from_price(body.wheeling_per_kwh),
        order_wh_min=body.order_wh_min,
        order_wh_max=body.order_wh_max,
        gate_closure_s=body.gate_closure_s,
        quote_ttl_s=body.quote_ttl_s,
        cancellation_terms=tuple(CancellationTerm(t.notice_s_min, t.fee_percent) for t in body.cancellation_terms),
        fulfillment_type=body.fulfillment_type,
        valid_from=utc(body.valid_from) if body.valid_from else None,
        valid_until=utc(body.valid_until) if body.valid_until else None,
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
