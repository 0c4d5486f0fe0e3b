"""Buyer's node: customers, their searches, and what their apps want to hear of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, integer, sequence, text_column


class CustomerAccount(SQLModel, table=True):
    """BAP: a consumer of one app."""

    __tablename__ = "customer_accounts"
    __table_args__ = (
        Index("customer_accounts_meter", "meter_id", unique=True, postgresql_where=text("meter_id <> ''")),
    )
    account_id: str = Field(sa_column=text_column(primary_key=True))
    token_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    name: str = Field(sa_column=text_column())
    email: str = Field(sa_column=text_column())
    phone: str = Field(sa_column=text_column())
    currency: str = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=instant())
    meter_id: str = Field(sa_column=text_column(default=""))


class Search(SQLModel, table=True):
    """BAP: a search and who asked for it."""

    __tablename__ = "searches"
    transaction_id: str = Field(sa_column=text_column(primary_key=True))
    token_id: str = Field(sa_column=text_column())
    account_id: str = Field(sa_column=text_column(default=""))
    message_id: str = Field(sa_column=text_column())
    intent: dict[str, Any] = Field(sa_column=document())
    created_at: datetime = Field(sa_column=instant())


class SearchOffer(SQLModel, table=True):
    """BAP: an offer that some on_search brought; the newest version of each."""

    __tablename__ = "search_offers"
    transaction_id: str = Field(sa_column=text_column(primary_key=True))
    seller_id: str = Field(sa_column=text_column(primary_key=True))
    provider_id: str = Field(sa_column=text_column(primary_key=True))
    offer_id: str = Field(sa_column=text_column(primary_key=True))
    document: dict[str, Any] = Field(sa_column=document())
    received_at: datetime = Field(sa_column=instant())


class Event(SQLModel, table=True):
    """What happened that an app may want to hear of: read by server-sent events and webhooks."""

    __tablename__ = "events"
    __table_args__ = (Index("events_subject", "subject", "seq"), Index("events_token", "token_id", "seq"))
    seq: int | None = Field(default=None, sa_column=sequence())
    token_id: str = Field(sa_column=text_column())
    subject: str = Field(sa_column=text_column())  # "search:<transaction_id>" or "order:<order_id>"
    kind: str = Field(sa_column=text_column())
    data: dict[str, Any] = Field(sa_column=document())
    at: datetime = Field(sa_column=instant())


class Webhook(SQLModel, table=True):
    """BAP: where an app wants its events posted."""

    __tablename__ = "webhooks"
    webhook_id: str = Field(sa_column=text_column(primary_key=True))
    token_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    url: str = Field(sa_column=text_column())
    secret: str = Field(sa_column=text_column())
    kinds: list[str] = Field(sa_column=document())
    created_at: datetime = Field(sa_column=instant())
    deleted_at: datetime | None = Field(sa_column=instant(nullable=True))


class WebhookDelivery(SQLModel, table=True):
    """BAP: one event to post to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("webhook_waiting", "next_at", postgresql_where=text("state = 'QUEUED'")),)
    delivery_id: int | None = Field(default=None, sa_column=sequence())
    webhook_id: str = Field(sa_column=text_column())
    event_seq: int = Field(sa_column=integer())
    state: str = Field(sa_column=text_column(default="QUEUED"))  # QUEUED, SENT, DEAD
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    next_at: datetime = Field(sa_column=instant())
    claimed_until: datetime | None = Field(sa_column=instant(nullable=True))
    last_error: str | None = Field(sa_column=text_column(nullable=True))
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))
