"""Who belongs: the registry's subscriptions and their changes, a gateway's searches, tokens, the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, sequence, text_column


class Subscription(SQLModel, table=True):
    """Registry: one key of one subscriber in one role and domain."""

    __tablename__ = "subscriptions"
    subscriber_id: str = Field(sa_column=text_column(primary_key=True))
    type: str = Field(sa_column=text_column(primary_key=True))
    domain: str = Field(sa_column=text_column(primary_key=True))
    key_id: str = Field(sa_column=text_column(primary_key=True))
    url: str = Field(sa_column=text_column())
    country: str = Field(sa_column=text_column(default=""))
    city: str = Field(sa_column=text_column(default=""))
    location: dict[str, Any] | None = Field(sa_column=document(nullable=True))
    signing_public_key: str = Field(sa_column=text_column())
    encr_public_key: str = Field(sa_column=text_column(default=""))
    valid_from: datetime = Field(sa_column=instant())
    valid_until: datetime = Field(sa_column=instant())
    status: str = Field(sa_column=text_column())
    challenge_passed: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    created: datetime = Field(sa_column=instant())
    updated: datetime = Field(sa_column=instant())


class RegistryChange(SQLModel, table=True):
    """Registry: the change feed, one row for every change of a subscription, in commit order."""

    __tablename__ = "registry_changes"
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    record: dict[str, Any] = Field(sa_column=document())
    at: datetime = Field(sa_column=instant())


class MeterSalt(SQLModel, table=True):
    """Registry: the one salt that meters are hashed with, published, made once."""

    __tablename__ = "meter_salt"
    __table_args__ = (CheckConstraint("one", name="meter_salt_one"),)
    one: bool = Field(sa_column=Column(Boolean, primary_key=True, autoincrement=False))
    salt: str = Field(sa_column=text_column())


class MeterClaim(SQLModel, table=True):
    """Registry: which node sells (EXPORT) or buys (IMPORT) for a meter; the key makes it one node at a time."""

    __tablename__ = "meter_claims"
    __table_args__ = (Index("meter_claims_holder", "subscriber_id", "meter_hash", "flow"),)
    meter_hash: str = Field(sa_column=text_column(primary_key=True))
    flow: str = Field(sa_column=text_column(primary_key=True))  # EXPORT or IMPORT
    subscriber_id: str = Field(sa_column=text_column())
    claimed_at: datetime = Field(sa_column=instant())


class MeterProof(SQLModel, table=True):
    """Registry: the code that proved a meter's ownership, by its digest, so that it proves it once."""

    __tablename__ = "meter_proofs"
    nonce_digest: str = Field(sa_column=text_column(primary_key=True))
    meter_hash: str = Field(sa_column=text_column())
    flow: str = Field(sa_column=text_column())
    subscriber_id: str = Field(sa_column=text_column())
    utility_id: str = Field(sa_column=text_column())
    used_at: datetime = Field(sa_column=instant())


class GatewaySearch(SQLModel, table=True):
    """Gateway: a search that was fanned out and to how many; the fate of each copy is its outbox row."""

    __tablename__ = "gateway_searches"
    letter_id: str = Field(sa_column=text_column(primary_key=True))
    transaction_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    message_id: str = Field(sa_column=text_column())
    bap_id: str = Field(sa_column=text_column())
    destinations: int = Field(sa_column=Column(Integer, nullable=False))
    received_at: datetime = Field(sa_column=instant())


class Token(SQLModel, table=True):
    """A bearer token of a JSON API: only its hash is kept."""

    __tablename__ = "tokens"
    token_id: str = Field(sa_column=text_column(primary_key=True))
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    role: str = Field(sa_column=text_column())  # operator, app, prosumer
    name: str = Field(sa_column=text_column())
    #: What the role is limited to: a prosumer's provider_id; empty for the others.
    scope: str = Field(sa_column=text_column(default=""))
    created_at: datetime = Field(sa_column=instant())
    revoked_at: datetime | None = Field(sa_column=instant(nullable=True))


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a request that carried an Idempotency-Key."""

    __tablename__ = "idempotency_keys"
    token_id: str = Field(sa_column=text_column(primary_key=True))
    key: str = Field(sa_column=text_column(primary_key=True))
    request_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int = Field(sa_column=Column(Integer, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=instant())


class Audit(SQLModel, table=True):
    """Who did what when; only ever added to."""

    __tablename__ = "audit"
    seq: int | None = Field(default=None, sa_column=sequence())
    at: datetime = Field(sa_column=instant())
    actor: str = Field(sa_column=text_column())
    act: str = Field(sa_column=text_column())
    subject: str = Field(sa_column=text_column())
    detail: dict[str, Any] = Field(sa_column=document())
