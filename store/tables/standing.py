"""Buyer's node: standing orders and their runs, and the invoices that were issued."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, text_column


class StandingOrder(SQLModel, table=True):
    """BAP: what a consumer wants bought every day; `next_run_at` (trading clock) is empty while it does not run."""

    __tablename__ = "standing_orders"
    __table_args__ = (Index("standing_due", "next_run_at", postgresql_where=text("next_run_at IS NOT NULL")),)
    standing_order_id: str = Field(sa_column=text_column(primary_key=True))
    account_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    terms: dict[str, Any] = Field(sa_column=document())
    active: bool = Field(sa_column=Column(Boolean, nullable=False))
    next_run_date: date | None = Field(sa_column=Column(Date))
    next_run_at: datetime | None = Field(sa_column=instant(nullable=True))
    created_at: datetime = Field(sa_column=instant())
    updated_at: datetime = Field(sa_column=instant())
    ended_at: datetime | None = Field(sa_column=instant(nullable=True))


class StandingRun(SQLModel, table=True):
    """BAP: one day's run of a standing order; `wake_at` (wall clock) is empty once it is done."""

    __tablename__ = "standing_runs"
    __table_args__ = (Index("standing_runs_wake", "wake_at", postgresql_where=text("wake_at IS NOT NULL")),)
    standing_order_id: str = Field(sa_column=text_column(primary_key=True))
    run_date: date = Field(sa_column=Column(Date, primary_key=True))
    account_id: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column())
    wake_at: datetime | None = Field(sa_column=instant(nullable=True))
    document: dict[str, Any] = Field(sa_column=document())
    created_at: datetime = Field(sa_column=instant())
    updated_at: datetime = Field(sa_column=instant())


class Invoice(SQLModel, table=True):
    """BAP: a month's invoice as it was issued, byte for byte; a trigger refuses UPDATE and DELETE."""

    __tablename__ = "invoices"
    __table_args__ = (UniqueConstraint("account_id", "month", name="invoices_month"),)
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    account_id: str = Field(sa_column=text_column())
    month: str = Field(sa_column=text_column())
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    issued_at: datetime = Field(sa_column=instant())
