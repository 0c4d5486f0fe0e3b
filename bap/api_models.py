"""What consumer apps send and get: accounts, searches, offers, questions.

Money in thousandths of a minor unit (`_milli`), except what a bank moves (`_minor`); energy in Wh.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from api.paging import Id, Instant, Name, Strict
from api.series import CarbonOut, EnergySeriesOut, InstantOut, PriceSeriesOut
from energy_catalog.offers import FulfillmentType, Intent, OfferView, Source
from energy_catalog.quality import CARBON_G_MAX
from trade.money import DecimalRefused, utc, whole_units

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217; XWH energy credits, XCO carbon credits")]
Gps = Annotated[str, Field(pattern=r"^-?\d{1,2}(\.\d{1,6})?, ?-?\d{1,3}(\.\d{1,6})?$", description="lat, lon")]
#: An id that another node chose: only bounded, for its alphabet is its own affair.
WireId = Annotated[str, Field(min_length=1, max_length=255)]
#: What one payment may move: a thousandfold of it, and sums of those, stay far inside 64 bits.
AmountMinor = Annotated[int, Field(gt=0, le=10**12)]
Phone = Annotated[str, Field(pattern=r"^\+?[1-9]\d{1,14}$", description="E.164")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]


class AccountIn(Strict):
    """A consumer of this app, as sellers will see the bill."""

    name: Name
    email: Email
    phone: Phone
    currency: Currency


class WalletOut(BaseModel):
    """What an account holds in one currency: free, held for orders, owed, and how far it may be overdrawn."""

    currency: str
    balance_milli: int
    reserved_milli: int
    debt_milli: int = Field(description="Owed after a correction that the wallet could not pay; 0 or more")
    overdraft_milli: int | None = Field(description="Null is without limit")


class AccountOut(BaseModel):
    """A consumer's account and wallet: `balance_milli` is free, `reserved_milli` is held for orders.

    Both are of the account's own currency; `balances` lists every currency it has used.
    """

    account_id: str
    name: str
    email: str
    phone: str
    currency: str
    created_at: InstantOut
    meter_id: str = Field(description="Whose import counts for its orders; empty without one")
    balance_milli: int
    reserved_milli: int
    balances: list[WalletOut]
    payment_reference: str = Field(description="What a payer writes on a bank transfer to this account (ISO 11649)")


class AccountMeterIn(Strict):
    """The meter of an account: an mRID, der://meter/<id>, or the utility's own number."""

    meter_id: str = Field(min_length=1, max_length=200)
    code: str = Field(default="", max_length=1024, description="The utility's code that proves whose meter it is")


class DepositIn(Strict):
    """Money that came in from outside; `reference` makes a repeat the same deposit.

    In whole minor units, as a bank pays. Without a `currency` it is the account's own.
    """

    amount_minor: AmountMinor
    reference: Id
    currency: Currency | None = None


class LegOut(BaseModel):
    """What one account got (positive) or gave (negative) by a transfer."""

    account: str
    currency: str
    amount_milli: int


class TransferOut(BaseModel):
    """One transfer of the ledger; its legs sum to zero in every currency."""

    transfer_id: str
    order_id: str
    memo: str
    at: InstantOut
    legs: list[LegOut]


class Window(Strict):
    """A stretch of time in which energy is wanted."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _forward(self) -> Window:
        if self.end <= self.start:
            raise ValueError("'end' must lie after 'start'")
        return self


class Near(Strict):
    """A circle in which the energy should be made."""

    gps: Gps
    radius_m: int = Field(ge=1, le=20_000_000)


class SearchIn(Strict):
    """What is looked for; what is left out may be anything. `seller_id` asks one seller without the gateway."""

    account_id: Id | None = None
    seller_id: WireId | None = None
    window: Window | None = None
    energy_wh: int | None = Field(default=None, ge=1, le=10**12)
    price_per_kwh_max: str | None = Field(default=None, max_length=20, description="Decimal, such as 0.21")
    currency: Currency | None = None
    source: Source | None = None
    provider_id: WireId | None = None
    near: Near | None = None
    fulfillment_type: FulfillmentType | None = None
    renewable_per_mille_min: int | None = Field(default=None, ge=0, le=1000)
    carbon_g_per_kwh_max: int | None = Field(
        default=None, ge=0, le=CARBON_G_MAX, description="Energy of unknown carbon intensity never answers"
    )
    rating_min: str | None = Field(
        default=None, pattern=r"^[1-5](\.\d)?$", description="Mean rating, such as 4.5; nobody's rated never answers"
    )
    delivered_per_mille_min: int | None = Field(
        default=None, ge=0, le=1000, description="Delivered of what was contracted, in settled orders"
    )

    @model_validator(mode="after")
    def _price_has_a_currency(self) -> SearchIn:
        if self.price_per_kwh_max is not None:
            if self.currency is None:
                raise ValueError("'price_per_kwh_max' needs a 'currency'")
            self._price()
        return self

    def _price(self) -> int | None:
        if self.price_per_kwh_max is None:
            return None
        try:
            return whole_units(self.price_per_kwh_max, places=6)
        except DecimalRefused as refusal:
            raise ValueError(f"'price_per_kwh_max': {refusal}") from refusal

    def intent(self) -> Intent:
        """The same as the rules know it."""
        return Intent(
            window_start=utc(self.window.start) if self.window else None,
            window_end=utc(self.window.end) if self.window else None,
            energy_wh=self.energy_wh,
            price_micro_per_kwh_max=self._price(),
            currency=self.currency,
            source=self.source,
            provider_id=self.provider_id,
            near_gps=self.near.gps if self.near else None,
            radius_m=self.near.radius_m if self.near else None,
            fulfillment_type=self.fulfillment_type.value if self.fulfillment_type else None,
            renewable_per_mille_min=self.renewable_per_mille_min,
            carbon_g_per_kwh_max=self.carbon_g_per_kwh_max,
            rating_tenths_min=whole_units(self.rating_min, places=1) if self.rating_min else None,
            delivered_per_mille_min=self.delivered_per_mille_min,
        )


class ProviderOut(BaseModel):
    """Who sells: a prosumer as its node shows it; `gps` is the centre of a privacy cell, never a house."""

    provider_id: str
    name: str
    short_desc: str
    image_url: str
    gps: str
    rating: str
    rating_count: int = Field(description="How many ratings the rating is the mean of")
    delivered_per_mille: int | None = Field(description="Delivered of what was contracted; null: nothing settled yet")
    settled: int


class BlockOut(BaseModel):
    """One block of a block price: the energy of an order up to `up_to_wh` (null: without end) costs this."""

    up_to_wh: int | None
    price_micro_per_kwh: int


class OfferOut(BaseModel):
    """An offer that came back; without `has_series` the one slot is the seller's whole delivery window."""

    seller_id: str
    provider: ProviderOut
    offer_id: str
    source: str
    currency: str
    available: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_micro_per_kwh: int
    order_wh_min: int
    order_wh_max: int
    fulfillment_id: str
    fulfillment_type: str
    has_series: bool
    policy: str = Field(description="The rules a contract is settled by")
    policy_digest: str
    renewable_per_mille: int | None = Field(description="null: not known")
    carbon: CarbonOut | None = Field(description="null: not known")
    certificates: tuple[str, ...]
    blocks: list[BlockOut] = Field(description="Of a block price, whose first block `price` shows; else empty")

    @classmethod
    def of(cls, view: OfferView) -> OfferOut:
        """From the catalogue's view of it."""
        face = view.provider
        return cls(
            seller_id=view.seller_id,
            provider=ProviderOut(
                provider_id=face.provider_id,
                name=face.name,
                short_desc=face.short_desc,
                image_url=face.image_url,
                gps=face.gps,
                rating=face.rating,
                rating_count=face.rating_count,
                delivered_per_mille=face.delivered_per_mille,
                settled=face.settled,
            ),
            offer_id=view.offer_id,
            source=view.source.value,
            currency=view.currency,
            available=EnergySeriesOut.of(view.available_wh),
            price=PriceSeriesOut.of(view.price_micro_per_kwh),
            wheeling_micro_per_kwh=view.wheeling_micro_per_kwh,
            order_wh_min=view.order_wh_min,
            order_wh_max=view.order_wh_max,
            fulfillment_id=view.fulfillment_id,
            fulfillment_type=view.fulfillment_type,
            has_series=view.has_series,
            policy=view.policy,
            policy_digest=view.policy_digest,
            renewable_per_mille=view.renewable_per_mille,
            carbon=CarbonOut.of(view.carbon_g_per_kwh) if view.carbon_g_per_kwh else None,
            certificates=view.certificates,
            blocks=[
                BlockOut(up_to_wh=tier.up_to_wh, price_micro_per_kwh=tier.price_micro_per_kwh) for tier in view.tiers
            ],
        )


class SearchOut(BaseModel):
    """A search and the offers that came back so far."""

    transaction_id: str
    created_at: InstantOut
    sellers: int = Field(description="Sellers that have answered with an offer")
    offers: list[OfferOut]


class RefusalOut(BaseModel):
    """The seller's no."""

    code: str
    sentence: str


class AskIn(Strict):
    """A question to a seller that belongs to no order; `transaction_id` when it belongs to a search."""

    transaction_id: Id | None = None


class Choice(BaseModel):
    """One entry of a seller's list."""

    id: str
    name: str


class AskOut(BaseModel):
    """A question to a seller and, once it came, the answer; `items` is null before."""

    message_id: str
    transaction_id: str
    seller_id: str
    items: list[Choice] | None
    refusal: RefusalOut | None = None
    asked_at: datetime
