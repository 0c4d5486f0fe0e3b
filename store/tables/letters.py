"""Letters in and out, what a node remembers of its peers and of the time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from store.tables.columns import document, instant, integer, sequence, text_column


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
    letter_id: str = Field(sa_column=text_column(primary_key=True))
    signer_id: str = Field(sa_column=text_column())
    action: str = Field(sa_column=text_column())
    message_id: str = Field(sa_column=text_column())
    variant: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    transaction_id: str = Field(sa_column=text_column())
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    headers: dict[str, str] = Field(sa_column=document())
    received_at: datetime = Field(sa_column=instant())
    state: str = Field(sa_column=text_column(default="NEW"))  # NEW, DONE, PARKED
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    claimed_by: str | None = Field(sa_column=text_column(nullable=True))
    claimed_until: datetime | None = Field(sa_column=instant(nullable=True))
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))
    error: str | None = Field(sa_column=text_column(nullable=True))


class Outbox(SQLModel, table=True):
    """Letters to send: written with the decision that made them, deleted never before their fate is known."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_waiting", "next_at", postgresql_where=text("state = 'QUEUED'")),
        Index("outbox_transaction", "transaction_id"),
        Index("outbox_dead", "created_at", postgresql_where=text("state = 'DEAD'")),
    )
    seq: int | None = Field(default=None, sa_column=sequence())
    letter_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    destination_url: str = Field(sa_column=text_column())
    receiver_id: str = Field(sa_column=text_column())
    action: str = Field(sa_column=text_column())
    message_id: str = Field(sa_column=text_column())
    transaction_id: str = Field(sa_column=text_column())
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    #: The first sender's Authorization, kept untouched by a gateway; null for letters of our own.
    authorization: str | None = Field(sa_column=text_column(nullable=True))
    created_at: datetime = Field(sa_column=instant())
    give_up_at: datetime = Field(sa_column=instant())
    next_at: datetime = Field(sa_column=instant())
    state: str = Field(sa_column=text_column(default="QUEUED"))  # QUEUED, SENT, DEAD
    attempts: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    claimed_by: str | None = Field(sa_column=text_column(nullable=True))
    claimed_until: datetime | None = Field(sa_column=instant(nullable=True))
    #: True once an attempt may have reached the peer without our knowing (time-out, cut connection).
    uncertain: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))
    outcome: dict[str, Any] | None = Field(sa_column=document(nullable=True))


class DirectoryRecord(SQLModel, table=True):
    """A registry record this node uses, kept for a restart and for when the registry is silent."""

    __tablename__ = "directory_records"
    subscriber_id: str = Field(sa_column=text_column(primary_key=True))
    type: str = Field(sa_column=text_column(primary_key=True))
    domain: str = Field(sa_column=text_column(primary_key=True))
    key_id: str = Field(sa_column=text_column(primary_key=True))
    record: dict[str, Any] = Field(sa_column=document())
    good_until: datetime = Field(sa_column=instant())


class DirectoryState(SQLModel, table=True):
    """How far this node has read the registry's change feed."""

    __tablename__ = "directory_state"
    registry_url: str = Field(sa_column=text_column(primary_key=True))
    last_seq: int = Field(sa_column=integer())
    read_at: datetime = Field(sa_column=instant())


class ClockState(SQLModel, table=True):
    """Where a driven trading clock stands, so that a restart does not move it back."""

    __tablename__ = "clock_state"
    name: str = Field(sa_column=text_column(primary_key=True))
    trading_time: datetime = Field(sa_column=instant())
