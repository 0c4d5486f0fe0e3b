"""What is for sale, sold, metered, rated and paid."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Index,
    Integer,
    Numeric,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from store.tables.columns import Point, document, instant, integer, series, text_column


class ProviderRow(SQLModel, table=True):
    """BPP: a prosumer as buyers see it."""

    __tablename__ = "providers"
    provider_id: str = Field(sa_column=text_column(primary_key=True))
    name: str = Field(sa_column=text_column())
    short_desc: str = Field(sa_column=text_column())
    image_url: str = Field(sa_column=text_column())
    gps: str = Field(sa_column=text_column())
    meter_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    created_at: datetime = Field(sa_column=instant())
    rating_count: int = Field(sa_column=integer(default=0))
    rating_mean: Decimal | None = Field(sa_column=Column(Numeric))
    settled: int = Field(sa_column=integer(default=0))
    contracted_wh: int = Field(sa_column=integer(default=0))
    delivered_wh: int = Field(sa_column=integer(default=0))
    delivered_per_mille: int | None = Field(
        sa_column=Column(
            Integer,
            Computed(
                "CASE WHEN contracted_wh > 0"
                " THEN div(delivered_wh * 1000::numeric, contracted_wh::numeric)::integer END",
                persisted=True,
            ),
        )
    )
    position: Any = Field(
        sa_column=Column(
            Point,
            Computed(
                "CASE WHEN gps ~ '^-?[0-9]{1,2}([.][0-9]+)?, ?-?[0-9]{1,3}([.][0-9]+)?$'"
                " THEN point(split_part(gps, ',', 2)::float8, split_part(gps, ',', 1)::float8) END",
                persisted=True,
            ),
        )
    )


class AssetRow(SQLModel, table=True):
    """BPP: a thing that makes, stores or uses energy behind a provider's meter."""

    __tablename__ = "assets"
    __table_args__ = (
        Index(
            "assets_one_connection",
            "meter_id",
            unique=True,
            postgresql_where=text("kind = 'GRID_CONNECTION' AND retired_at IS NULL"),
        ),
    )
    asset_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    kind: str = Field(sa_column=text_column())
    name: str = Field(sa_column=text_column())
    rating_w: int = Field(sa_column=integer())
    created_at: datetime = Field(sa_column=instant())
    meter_id: str = Field(sa_column=text_column(default=""))
    gps: str = Field(sa_column=text_column(default=""))
    sanctioned_load_w: int | None = Field(sa_column=integer(nullable=True))
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default=text("'{}'")))
    retired_at: datetime | None = Field(sa_column=instant(nullable=True))


class MeterLimit(SQLModel, table=True):
    """BPP: what a grid connection lets a meter export; triggers on offers keep the sum over all of them within it."""

    __tablename__ = "meter_limits"
    __table_args__ = (CheckConstraint("export_w >= 0", name="meter_limit_positive"),)
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    export_w: int = Field(sa_column=integer())
    changed_at: datetime = Field(sa_column=instant())


class IndexRow(SQLModel, table=True):
    """BPP: a series that offers refer to by name: day-ahead prices, or the carbon intensity of a grid."""

    __tablename__ = "indices"
    kind: str = Field(sa_column=text_column(primary_key=True))  # PRICE or CARBON
    name: str = Field(sa_column=text_column(primary_key=True))
    currency: str = Field(sa_column=text_column())
    note: str = Field(sa_column=text_column())
    updated_at: datetime = Field(sa_column=instant())


class IndexPoint(SQLModel, table=True):
    """BPP: one value of an index: micro-units of its currency per kWh, or mg CO2 per kWh."""

    __tablename__ = "index_points"
    kind: str = Field(sa_column=text_column(primary_key=True))
    name: str = Field(sa_column=text_column(primary_key=True))
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    value: int = Field(sa_column=integer())


_PRICE_LEAST = "LEAST(series_least(price_micro_per_kwh), (price_model ->> 'price_least')::bigint)"
_ON_SALE = text("state = 'PUBLISHED' AND is_listed AND has_free")


class OfferRow(SQLModel, table=True):
    """BPP: an offer; the CHECK makes selling the same Wh twice impossible in the database itself.

    The computed columns are what searches filter and order by; the database keeps them.
    """

    __tablename__ = "offers"
    __table_args__ = (
        CheckConstraint("series_within(held_wh, sold_wh, offered_wh)", name="offers_never_oversold"),
        Index(
            "offers_window",
            text("tstzrange(starts_at, ends_at)"),
            postgresql_using="gist",
            postgresql_where=_ON_SALE,
        ),
        Index("offers_cheapest", "price_least", "offer_id", postgresql_where=_ON_SALE),
        Index("offers_place", "position", postgresql_using="gist", postgresql_where=_ON_SALE),
        Index("offers_ended", "ends_at", postgresql_where=text("is_listed")),
        Index("offers_meter", "meter_id", "starts_at"),
        Index("offers_provider", "provider_id"),
    )
    offer_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=text_column())
    meter_id: str = Field(sa_column=text_column())
    source: str = Field(sa_column=text_column())
    currency: str = Field(sa_column=text_column())
    starts_at: datetime = Field(sa_column=instant())
    ends_at: datetime = Field(sa_column=instant())
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    offered_wh: list[int] = Field(sa_column=series())
    held_wh: list[int] = Field(sa_column=series())
    sold_wh: list[int] = Field(sa_column=series())
    price_micro_per_kwh: list[int] = Field(sa_column=series())
    wheeling_micro_per_kwh: int = Field(sa_column=integer())
    order_wh_min: int = Field(sa_column=integer())
    order_wh_max: int = Field(sa_column=integer())
    gate_closure_s: int = Field(sa_column=integer())
    quote_ttl_s: int = Field(sa_column=integer())
    cancellation_terms: list[dict[str, int]] = Field(sa_column=document())
    fulfillment_type: str = Field(sa_column=text_column())
    valid_from: datetime = Field(sa_column=instant())
    valid_until: datetime = Field(sa_column=instant())
    state: str = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=instant())
    updated_at: datetime = Field(sa_column=instant())
    policy: str = Field(sa_column=text_column(default="plain@1"))
    asset_id: str = Field(sa_column=text_column(default=""))
    price_model: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default=text("'{}'")))
    renewable_per_mille: int | None = Field(sa_column=Column(Integer))
    carbon_g_per_kwh: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger)))
    certificates: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))
    position: Any = Field(sa_column=Column(Point))
    is_listed: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))
    price_least: int | None = Field(sa_column=Column(BigInteger, Computed(_PRICE_LEAST, persisted=True)))
    carbon_least: int | None = Field(
        sa_column=Column(BigInteger, Computed("series_least(carbon_g_per_kwh)", persisted=True))
    )
    has_free: bool | None = Field(
        sa_column=Column(Boolean, Computed("series_leave(held_wh, sold_wh, offered_wh, order_wh_min)", persisted=True))
    )


class OrderRow(SQLModel, table=True):
    """Both sides: an order; the columns are what is looked for, `document` is the whole."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_wire", "counterparty_id", "wire_order_id"),
        Index("orders_state", "state", "delivery_end"),
        Index("orders_meter", "meter_id", "delivery_end", postgresql_where=text("meter_id <> ''")),
        Index("orders_account", "account_id", "created_at"),
        Index("orders_provider", "provider_id", "delivery_end"),
        Index("orders_due", "side", "next_due", postgresql_where=text("next_due IS NOT NULL")),
        Index("orders_buyer_meter", "buyer_meter_id", "delivery_start", postgresql_where=text("buyer_meter_id <> ''")),
        Index(
            "orders_dispute",
            text("(document -> 'dispute' ->> 'dispute_id')"),
            postgresql_where=text("jsonb_typeof(document -> 'dispute') = 'object'"),
        ),
        Index(
            "orders_session",
            "side",
            "counterparty_id",
            "transaction_id",
            "provider_id",
            unique=True,
        ),
    )
    order_id: str = Field(sa_column=text_column(primary_key=True))
    side: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column())
    transaction_id: str = Field(sa_column=text_column())
    counterparty_id: str = Field(sa_column=text_column())
    wire_order_id: str = Field(sa_column=text_column(default=""))
    provider_id: str = Field(sa_column=text_column())
    offer_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    meter_id: str = Field(sa_column=text_column(default=""))
    account_id: str = Field(sa_column=text_column(default=""))
    delivery_start: datetime = Field(sa_column=instant())
    delivery_end: datetime = Field(sa_column=instant())
    quote_expires_at: datetime | None = Field(sa_column=instant(nullable=True))
    awaiting_until: datetime | None = Field(sa_column=instant(nullable=True))
    document: dict[str, Any] = Field(sa_column=document())
    created_at: datetime = Field(sa_column=instant())
    updated_at: datetime = Field(sa_column=instant())
    buyer_meter_id: str = Field(sa_column=text_column(default=""))
    next_due: datetime | None = Field(sa_column=instant(nullable=True))


class Rating(SQLModel, table=True):
    """BPP: what a buyer thought of an order or a provider; a later rating of the same thing replaces the earlier."""

    __tablename__ = "ratings"
    rater_id: str = Field(sa_column=text_column(primary_key=True))
    category: str = Field(sa_column=text_column(primary_key=True))
    subject_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    value: str = Field(sa_column=text_column())
    at: datetime = Field(sa_column=instant())
