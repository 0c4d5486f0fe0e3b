"""What is for sale, sold, metered, rated and paid."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, Identity, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, integer, series, text_column


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


class AssetRow(SQLModel, table=True):
    """BPP: a thing that makes, stores or uses energy behind a provider's meter."""

    __tablename__ = "assets"
    asset_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    kind: str = Field(sa_column=text_column())
    name: str = Field(sa_column=text_column())
    rating_w: int = Field(sa_column=integer())
    created_at: datetime = Field(sa_column=instant())


class OfferRow(SQLModel, table=True):
    """BPP: an offer; the CHECK makes selling the same Wh twice impossible in the database itself."""

    __tablename__ = "offers"
    __table_args__ = (
        CheckConstraint("series_within(held_wh, sold_wh, offered_wh)", name="offers_never_oversold"),
        Index("offers_window", "starts_at", "ends_at", postgresql_where=text("state = 'PUBLISHED'")),
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


class OrderRow(SQLModel, table=True):
    """Both sides: an order; the columns are what is looked for, `document` is the whole."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_wire", "counterparty_id", "wire_order_id"),
        Index("orders_state", "state", "delivery_end"),
        Index("orders_meter", "meter_id", "delivery_start"),
        Index("orders_account", "account_id", "created_at"),
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


class Reading(SQLModel, table=True):
    """What a meter measured in one slot; a correction is a new version, the old one stays."""

    __tablename__ = "readings"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    flow: str = Field(sa_column=text_column(primary_key=True))  # EXPORT or IMPORT
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True))
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    energy_wh: int = Field(sa_column=integer())
    quality: str = Field(sa_column=text_column(default="MEASURED"))
    received_at: datetime = Field(sa_column=instant())


class Rating(SQLModel, table=True):
    """BPP: what a buyer thought of an order or a provider; a later rating of the same thing replaces the earlier."""

    __tablename__ = "ratings"
    rater_id: str = Field(sa_column=text_column(primary_key=True))
    category: str = Field(sa_column=text_column(primary_key=True))
    subject_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    value: str = Field(sa_column=text_column())
    at: datetime = Field(sa_column=instant())


class LedgerAccount(SQLModel, table=True):
    """A running balance, derived from the transfers and proven against them by `ledger check`."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (CheckConstraint("may_overdraw OR balance_milli >= 0", name="ledger_no_overdraft"),)
    account: str = Field(sa_column=text_column(primary_key=True))
    currency: str = Field(sa_column=text_column(primary_key=True))
    may_overdraw: bool = Field(sa_column=Column(Boolean, nullable=False))
    balance_milli: int = Field(sa_column=integer(default=0))


class LedgerTransfer(SQLModel, table=True):
    """Money moved from one account to another; a trigger refuses UPDATE and DELETE."""

    __tablename__ = "ledger_transfers"
    __table_args__ = (CheckConstraint("amount_milli > 0", name="ledger_amount_positive"),)
    transfer_id: str = Field(sa_column=text_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    order_id: str = Field(sa_column=Column(Text, nullable=False, index=True, server_default=text("''")))
    debit: str = Field(sa_column=text_column())
    credit: str = Field(sa_column=text_column())
    amount_milli: int = Field(sa_column=integer())
    currency: str = Field(sa_column=text_column())
    memo: str = Field(sa_column=text_column(default=""))
    at: datetime = Field(sa_column=instant())
