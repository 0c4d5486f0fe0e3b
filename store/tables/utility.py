"""A utility's meters, trades and what they use of its limits; what sellers ask it, and meters they let go of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from store.tables.columns import instant, integer, series, text_column


class ReleasedMeter(SQLModel, table=True):
    """BPP: a provider whose meter this node no longer holds at the registry; nothing is sold from it here."""

    __tablename__ = "released_meters"
    provider_id: str = Field(sa_column=text_column(primary_key=True))
    released_at: datetime = Field(sa_column=instant())


class UtilityMeter(SQLModel, table=True):
    """Utility: a meter on its grid, how much it may trade and what carrying costs."""

    __tablename__ = "utility_meters"
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    sanctioned_load_w: int = Field(sa_column=integer())
    limit_percent: int = Field(sa_column=Column(Integer, nullable=False))
    export_limit_w: int | None = Field(sa_column=integer(nullable=True))
    import_limit_w: int | None = Field(sa_column=integer(nullable=True))
    wheeling_buyer_micro_per_kwh: int = Field(sa_column=integer())
    wheeling_seller_micro_per_kwh: int = Field(sa_column=integer())
    currency: str = Field(sa_column=text_column())
    updated_at: datetime = Field(sa_column=instant())


class UtilityTrade(SQLModel, table=True):
    """Utility: a trade it carries or carried, for one seller's node under that node's own order id."""

    __tablename__ = "utility_trades"
    __table_args__ = (
        UniqueConstraint("bpp_id", "order_id", name="utility_trades_once"),
        Index("utility_trades_listed", "created_at", "trade_id"),
    )
    trade_id: str = Field(sa_column=text_column(primary_key=True))
    bpp_id: str = Field(sa_column=text_column())
    order_id: str = Field(sa_column=text_column())
    transaction_id: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column())
    seller_meter_id: str = Field(sa_column=text_column())
    buyer_meter_id: str = Field(sa_column=text_column())
    currency: str = Field(sa_column=text_column())
    starts_at: datetime = Field(sa_column=instant())
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    energy_wh: list[int] = Field(sa_column=series())
    seller_alloc_wh: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger), nullable=True))
    buyer_alloc_wh: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger), nullable=True))
    wheeling_buyer_micro_per_kwh: int = Field(sa_column=integer())
    wheeling_seller_micro_per_kwh: int = Field(sa_column=integer())
    created_at: datetime = Field(sa_column=instant())
    updated_at: datetime = Field(sa_column=instant())


class UtilityUsage(SQLModel, table=True):
    """Utility: what trades use of a meter's limit in a quarter of an hour; the CHECK keeps it within."""

    __tablename__ = "utility_usage"
    __table_args__ = (CheckConstraint("used_j >= 0 AND used_j <= limit_j", name="utility_usage_within_limit"),)
    meter_id: str = Field(sa_column=text_column(primary_key=True))
    flow: str = Field(sa_column=text_column(primary_key=True))  # EXPORT or IMPORT
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    used_j: int = Field(sa_column=integer())
    limit_j: int = Field(sa_column=integer())


class UtilityCode(SQLModel, table=True):
    """Utility: a code of ownership that was given out, by its digest; whether it was used, the registry knows."""

    __tablename__ = "utility_codes"
    nonce_digest: str = Field(sa_column=text_column(primary_key=True))
    meter_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    issued_by: str = Field(sa_column=text_column())
    issued_at: datetime = Field(sa_column=instant())
    expires_at: datetime = Field(sa_column=instant())


class UtilityQuestion(SQLModel, table=True):
    """BPP: what was asked of the utility about an order, and which of the buyer's letters waits for the answer."""

    __tablename__ = "utility_questions"
    __table_args__ = (Index("utility_questions_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),)
    transaction_id: str = Field(sa_column=text_column(primary_key=True))
    order_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    utility_id: str = Field(sa_column=text_column())
    action: str = Field(sa_column=text_column())  # init or confirm
    #: The buyer's own letter that the answer goes to.
    buyer_message_id: str = Field(sa_column=text_column())
    asked_at: datetime = Field(sa_column=instant())
    #: When to stop waiting or to ask again (wall clock); NULL: answered.
    due_at: datetime | None = Field(sa_column=instant(nullable=True))
