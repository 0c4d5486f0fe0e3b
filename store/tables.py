"""Every table of every node, as SQLModel classes: the one declaration the migrations are proven against.

Each node has its own database; one history serves all, and tables a node does not use stay empty. Tables never check
input (a `table=True` model does not validate). The nodes' hot paths speak asyncpg and never import this module.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


def _text(*, primary_key: bool = False, default: str | None = None, nullable: bool = False) -> Any:
    server_default = None if default is None else text(f"'{default}'")
    return Column(Text, primary_key=primary_key, nullable=nullable, server_default=server_default)


def _instant(*, nullable: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


def _integer(*, default: int | None = None, nullable: bool = False) -> Any:
    return Column(BigInteger, nullable=nullable, server_default=None if default is None else text(str(default)))


def _sequence() -> Any:
    return Column(BigInteger, Identity(always=True), primary_key=True)


def _series() -> Any:
    return Column(ARRAY(BigInteger), nullable=False)


def _document(*, nullable: bool = False) -> Any:
    return Column(JSONB, nullable=nullable)


class Inbox(SQLModel, table=True):
    """Letters received: the raw bytes, who signed, and whether they have been processed.

    `variant` is empty for requests (one body per message_id) and the body's digest for callbacks (several allowed).
    """

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("signer_id", "action", "message_id", "variant", name="inbox_once"),
        Index("inbox_waiting", "received_at", postgresql_where=text("state = 'NEW'")),
        Index("inbox_transaction", "transaction_id"),
    )
    letter_id: str = Field(sa_column=_text(primary_key=True))
    signer_id: str = Field(sa_column=_text())
    action: str = Field(sa_column=_text())
    message_id: str = Field(sa_column=_text())
    variant: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    transaction_id: str = Field(sa_column=_text())
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    headers: dict[str, str] = Field(sa_column=_document())
    received_at: datetime = Field(sa_column=_instant())
    state: str = Field(sa_column=_text(default="NEW"))  # NEW, DONE, PARKED
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    claimed_by: str | None = Field(sa_column=_text(nullable=True))
    claimed_until: datetime | None = Field(sa_column=_instant(nullable=True))
    finished_at: datetime | None = Field(sa_column=_instant(nullable=True))
    error: str | None = Field(sa_column=_text(nullable=True))


class Outbox(SQLModel, table=True):
    """Letters to send: written with the decision that made them, deleted never before their fate is known."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_waiting", "next_at", postgresql_where=text("state = 'QUEUED'")),
        Index("outbox_transaction", "transaction_id"),
        Index("outbox_dead", "created_at", postgresql_where=text("state = 'DEAD'")),
    )
    seq: int | None = Field(default=None, sa_column=_sequence())
    letter_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    destination_url: str = Field(sa_column=_text())
    receiver_id: str = Field(sa_column=_text())
    action: str = Field(sa_column=_text())
    message_id: str = Field(sa_column=_text())
    transaction_id: str = Field(sa_column=_text())
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    #: The first sender's Authorization, kept untouched by a gateway; null for letters of our own.
    authorization: str | None = Field(sa_column=_text(nullable=True))
    created_at: datetime = Field(sa_column=_instant())
    give_up_at: datetime = Field(sa_column=_instant())
    next_at: datetime = Field(sa_column=_instant())
    state: str = Field(sa_column=_text(default="QUEUED"))  # QUEUED, SENT, DEAD
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    claimed_by: str | None = Field(sa_column=_text(nullable=True))
    claimed_until: datetime | None = Field(sa_column=_instant(nullable=True))
    #: True once an attempt may have reached the peer without our knowing (time-out, cut connection).
    uncertain: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    finished_at: datetime | None = Field(sa_column=_instant(nullable=True))
    outcome: dict[str, Any] | None = Field(sa_column=_document(nullable=True))


class DirectoryRecord(SQLModel, table=True):
    """A registry record this node uses, kept so that a restart or a silent registry does not make it forget its peers."""

    __tablename__ = "directory_records"
    subscriber_id: str = Field(sa_column=_text(primary_key=True))
    type: str = Field(sa_column=_text(primary_key=True))
    domain: str = Field(sa_column=_text(primary_key=True))
    key_id: str = Field(sa_column=_text(primary_key=True))
    record: dict[str, Any] = Field(sa_column=_document())
    good_until: datetime = Field(sa_column=_instant())


class DirectoryState(SQLModel, table=True):
    """How far this node has read the registry's change feed."""

    __tablename__ = "directory_state"
    registry_url: str = Field(sa_column=_text(primary_key=True))
    last_seq: int = Field(sa_column=_integer())
    read_at: datetime = Field(sa_column=_instant())


class Subscription(SQLModel, table=True):
    """Registry: one key of one subscriber in one role and domain."""

    __tablename__ = "subscriptions"
    subscriber_id: str = Field(sa_column=_text(primary_key=True))
    type: str = Field(sa_column=_text(primary_key=True))
    domain: str = Field(sa_column=_text(primary_key=True))
    key_id: str = Field(sa_column=_text(primary_key=True))
    url: str = Field(sa_column=_text())
    country: str = Field(sa_column=_text(default=""))
    city: str = Field(sa_column=_text(default=""))
    location: dict[str, Any] | None = Field(sa_column=_document(nullable=True))
    signing_public_key: str = Field(sa_column=_text())
    encr_public_key: str = Field(sa_column=_text(default=""))
    valid_from: datetime = Field(sa_column=_instant())
    valid_until: datetime = Field(sa_column=_instant())
    status: str = Field(sa_column=_text())
    challenge_passed: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    created: datetime = Field(sa_column=_instant())
    updated: datetime = Field(sa_column=_instant())


class RegistryChange(SQLModel, table=True):
    """Registry: the change feed, one row for every change of a subscription, in commit order."""

    __tablename__ = "registry_changes"
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    record: dict[str, Any] = Field(sa_column=_document())
    at: datetime = Field(sa_column=_instant())


class Audit(SQLModel, table=True):
    """Who did what when; only ever added to."""

    __tablename__ = "audit"
    seq: int | None = Field(default=None, sa_column=_sequence())
    at: datetime = Field(sa_column=_instant())
    actor: str = Field(sa_column=_text())
    act: str = Field(sa_column=_text())
    subject: str = Field(sa_column=_text())
    detail: dict[str, Any] = Field(sa_column=_document())


class Token(SQLModel, table=True):
    """A bearer token of a JSON API: only its hash is kept."""

    __tablename__ = "tokens"
    token_id: str = Field(sa_column=_text(primary_key=True))
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    role: str = Field(sa_column=_text())  # operator, app, prosumer
    name: str = Field(sa_column=_text())
    #: What the role is limited to: a prosumer's provider_id; empty for the others.
    scope: str = Field(sa_column=_text(default=""))
    created_at: datetime = Field(sa_column=_instant())
    revoked_at: datetime | None = Field(sa_column=_instant(nullable=True))


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a request that carried an Idempotency-Key."""

    __tablename__ = "idempotency_keys"
    token_id: str = Field(sa_column=_text(primary_key=True))
    key: str = Field(sa_column=_text(primary_key=True))
    request_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int = Field(sa_column=Column(Integer, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=_instant())


class ProviderRow(SQLModel, table=True):
    """BPP: a prosumer as buyers see it."""

    __tablename__ = "providers"
    provider_id: str = Field(sa_column=_text(primary_key=True))
    name: str = Field(sa_column=_text())
    short_desc: str = Field(sa_column=_text())
    image_url: str = Field(sa_column=_text())
    gps: str = Field(sa_column=_text())
    meter_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    created_at: datetime = Field(sa_column=_instant())


class AssetRow(SQLModel, table=True):
    """BPP: a thing that makes, stores or uses energy behind a provider's meter."""

    __tablename__ = "assets"
    asset_id: str = Field(sa_column=_text(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    kind: str = Field(sa_column=_text())
    name: str = Field(sa_column=_text())
    rating_w: int = Field(sa_column=_integer())
    created_at: datetime = Field(sa_column=_instant())


class OfferRow(SQLModel, table=True):
    """BPP: an offer; the CHECK makes selling the same Wh twice impossible in the database itself."""

    __tablename__ = "offers"
    __table_args__ = (
        CheckConstraint("series_within(held_wh, sold_wh, offered_wh)", name="offers_never_oversold"),
        Index("offers_window", "starts_at", "ends_at", postgresql_where=text("state = 'PUBLISHED'")),
        Index("offers_provider", "provider_id"),
    )
    offer_id: str = Field(sa_column=_text(primary_key=True))
    provider_id: str = Field(sa_column=_text())
    meter_id: str = Field(sa_column=_text())
    source: str = Field(sa_column=_text())
    currency: str = Field(sa_column=_text())
    starts_at: datetime = Field(sa_column=_instant())
    ends_at: datetime = Field(sa_column=_instant())
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    offered_wh: list[int] = Field(sa_column=_series())
    held_wh: list[int] = Field(sa_column=_series())
    sold_wh: list[int] = Field(sa_column=_series())
    price_micro_per_kwh: list[int] = Field(sa_column=_series())
    wheeling_micro_per_kwh: int = Field(sa_column=_integer())
    order_wh_min: int = Field(sa_column=_integer())
    order_wh_max: int = Field(sa_column=_integer())
    gate_closure_s: int = Field(sa_column=_integer())
    quote_ttl_s: int = Field(sa_column=_integer())
    cancellation_terms: list[dict[str, int]] = Field(sa_column=_document())
    fulfillment_type: str = Field(sa_column=_text())
    valid_from: datetime = Field(sa_column=_instant())
    valid_until: datetime = Field(sa_column=_instant())
    state: str = Field(sa_column=_text())
    created_at: datetime = Field(sa_column=_instant())
    updated_at: datetime = Field(sa_column=_instant())


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
    order_id: str = Field(sa_column=_text(primary_key=True))
    side: str = Field(sa_column=_text())
    state: str = Field(sa_column=_text())
    transaction_id: str = Field(sa_column=_text())
    counterparty_id: str = Field(sa_column=_text())
    wire_order_id: str = Field(sa_column=_text(default=""))
    provider_id: str = Field(sa_column=_text())
    offer_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    meter_id: str = Field(sa_column=_text(default=""))
    account_id: str = Field(sa_column=_text(default=""))
    delivery_start: datetime = Field(sa_column=_instant())
    delivery_end: datetime = Field(sa_column=_instant())
    quote_expires_at: datetime | None = Field(sa_column=_instant(nullable=True))
    awaiting_until: datetime | None = Field(sa_column=_instant(nullable=True))
    document: dict[str, Any] = Field(sa_column=_document())
    created_at: datetime = Field(sa_column=_instant())
    updated_at: datetime = Field(sa_column=_instant())


class Reading(SQLModel, table=True):
    """What a meter measured in one slot; a correction is a new version, the old one stays."""

    __tablename__ = "readings"
    meter_id: str = Field(sa_column=_text(primary_key=True))
    flow: str = Field(sa_column=_text(primary_key=True))  # EXPORT or IMPORT
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True))
    slot_s: int = Field(sa_column=Column(Integer, nullable=False))
    energy_wh: int = Field(sa_column=_integer())
    quality: str = Field(sa_column=_text(default="MEASURED"))
    received_at: datetime = Field(sa_column=_instant())


class LedgerAccount(SQLModel, table=True):
    """A running balance, derived from the transfers and proven against them by `ledger check`."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (CheckConstraint("may_overdraw OR balance_minor >= 0", name="ledger_no_overdraft"),)
    account: str = Field(sa_column=_text(primary_key=True))
    currency: str = Field(sa_column=_text(primary_key=True))
    may_overdraw: bool = Field(sa_column=Column(Boolean, nullable=False))
    balance_minor: int = Field(sa_column=_integer(default=0))


class LedgerTransfer(SQLModel, table=True):
    """Money moved from one account to another; a trigger refuses UPDATE and DELETE."""

    __tablename__ = "ledger_transfers"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="ledger_amount_positive"),)
    transfer_id: str = Field(sa_column=_text(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    order_id: str = Field(sa_column=Column(Text, nullable=False, index=True, server_default=text("''")))
    debit: str = Field(sa_column=_text())
    credit: str = Field(sa_column=_text())
    amount_minor: int = Field(sa_column=_integer())
    currency: str = Field(sa_column=_text())
    memo: str = Field(sa_column=_text(default=""))
    at: datetime = Field(sa_column=_instant())


class CustomerAccount(SQLModel, table=True):
    """BAP: a consumer of one app."""

    __tablename__ = "customer_accounts"
    account_id: str = Field(sa_column=_text(primary_key=True))
    token_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    name: str = Field(sa_column=_text())
    email: str = Field(sa_column=_text())
    phone: str = Field(sa_column=_text())
    currency: str = Field(sa_column=_text())
    created_at: datetime = Field(sa_column=_instant())


class Search(SQLModel, table=True):
    """BAP: a search and who asked for it."""

    __tablename__ = "searches"
    transaction_id: str = Field(sa_column=_text(primary_key=True))
    token_id: str = Field(sa_column=_text())
    account_id: str = Field(sa_column=_text(default=""))
    message_id: str = Field(sa_column=_text())
    intent: dict[str, Any] = Field(sa_column=_document())
    created_at: datetime = Field(sa_column=_instant())


class SearchOffer(SQLModel, table=True):
    """BAP: an offer that some on_search brought; the newest version of each."""

    __tablename__ = "search_offers"
    transaction_id: str = Field(sa_column=_text(primary_key=True))
    seller_id: str = Field(sa_column=_text(primary_key=True))
    provider_id: str = Field(sa_column=_text(primary_key=True))
    offer_id: str = Field(sa_column=_text(primary_key=True))
    document: dict[str, Any] = Field(sa_column=_document())
    received_at: datetime = Field(sa_column=_instant())


class Event(SQLModel, table=True):
    """What happened that an app may want to hear of: read by server-sent events and webhooks."""

    __tablename__ = "events"
    __table_args__ = (Index("events_subject", "subject", "seq"), Index("events_token", "token_id", "seq"))
    seq: int | None = Field(default=None, sa_column=_sequence())
    token_id: str = Field(sa_column=_text())
    subject: str = Field(sa_column=_text())  # "search:<transaction_id>" or "order:<order_id>"
    kind: str = Field(sa_column=_text())
    data: dict[str, Any] = Field(sa_column=_document())
    at: datetime = Field(sa_column=_instant())


class Webhook(SQLModel, table=True):
    """BAP: where an app wants its events posted."""

    __tablename__ = "webhooks"
    webhook_id: str = Field(sa_column=_text(primary_key=True))
    token_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    url: str = Field(sa_column=_text())
    secret: str = Field(sa_column=_text())
    kinds: list[str] = Field(sa_column=_document())
    created_at: datetime = Field(sa_column=_instant())
    deleted_at: datetime | None = Field(sa_column=_instant(nullable=True))


class WebhookDelivery(SQLModel, table=True):
    """BAP: one event to post to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("webhook_waiting", "next_at", postgresql_where=text("state = 'QUEUED'")),)
    delivery_id: int | None = Field(default=None, sa_column=_sequence())
    webhook_id: str = Field(sa_column=_text())
    event_seq: int = Field(sa_column=_integer())
    state: str = Field(sa_column=_text(default="QUEUED"))  # QUEUED, SENT, DEAD
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    next_at: datetime = Field(sa_column=_instant())
    claimed_until: datetime | None = Field(sa_column=_instant(nullable=True))
    last_error: str | None = Field(sa_column=_text(nullable=True))
    finished_at: datetime | None = Field(sa_column=_instant(nullable=True))


class Rating(SQLModel, table=True):
    """BPP: what a buyer thought of an order or a provider; a later rating of the same thing replaces the earlier."""

    __tablename__ = "ratings"
    rater_id: str = Field(sa_column=_text(primary_key=True))
    category: str = Field(sa_column=_text(primary_key=True))
    subject_id: str = Field(sa_column=_text(primary_key=True))
    provider_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    value: str = Field(sa_column=_text())
    at: datetime = Field(sa_column=_instant())


class GatewaySearch(SQLModel, table=True):
    """Gateway: a search that was fanned out and to how many; the fate of each copy is its outbox row."""

    __tablename__ = "gateway_searches"
    letter_id: str = Field(sa_column=_text(primary_key=True))
    transaction_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    message_id: str = Field(sa_column=_text())
    bap_id: str = Field(sa_column=_text())
    destinations: int = Field(sa_column=Column(Integer, nullable=False))
    received_at: datetime = Field(sa_column=_instant())


class ClockState(SQLModel, table=True):
    """Where a driven trading clock stands, so that a restart does not move it back."""

    __tablename__ = "clock_state"
    name: str = Field(sa_column=_text(primary_key=True))
    trading_time: datetime = Field(sa_column=_instant())
