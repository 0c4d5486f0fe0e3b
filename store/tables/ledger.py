"""Money: transfers and their legs, only ever added to, the balances that follow, and what banks said."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, Identity, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from store.tables.columns import instant, integer, text_column


class LedgerAccount(SQLModel, table=True):
    """A running balance, derived from the legs and proven against them by `ledger check`; NULL is no limit."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        CheckConstraint("overdraft_milli IS NULL OR balance_milli >= -overdraft_milli", name="ledger_no_overdraft"),
        CheckConstraint("overdraft_milli >= 0", name="ledger_overdraft_positive"),
    )
    account: str = Field(sa_column=text_column(primary_key=True))
    currency: str = Field(sa_column=text_column(primary_key=True))
    balance_milli: int = Field(sa_column=integer(default=0))
    overdraft_milli: int | None = Field(sa_column=integer(default=0, nullable=True))


class LedgerTransfer(SQLModel, table=True):
    """Money that changed accounts at once; a trigger refuses UPDATE and DELETE."""

    __tablename__ = "ledger_transfers"
    transfer_id: str = Field(sa_column=text_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    order_id: str = Field(sa_column=Column(Text, nullable=False, index=True, server_default=text("''")))
    memo: str = Field(sa_column=text_column(default=""))
    at: datetime = Field(sa_column=instant())


class LedgerLeg(SQLModel, table=True):
    """What one account got or gave; a trigger refuses legs of a transfer that do not sum to zero per currency."""

    __tablename__ = "ledger_legs"
    __table_args__ = (
        CheckConstraint("amount_milli <> 0", name="ledger_leg_moves"),
        Index("ledger_legs_account", "account", "seq"),
    )
    transfer_id: str = Field(sa_column=text_column(primary_key=True))
    leg: int = Field(sa_column=Column(Integer, primary_key=True))
    #: The transfer's, so that an account's statement is read from one index.
    seq: int = Field(sa_column=integer())
    account: str = Field(sa_column=text_column())
    currency: str = Field(sa_column=text_column())
    amount_milli: int = Field(sa_column=integer())


class BankEntry(SQLModel, table=True):
    """One line of a bank's statement, once: matched to an account or a payout, or waiting for the operator."""

    __tablename__ = "bank_entries"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="bank_entry_moves"),
        Index("bank_entries_state", "state", "seq"),
    )
    entry_id: str = Field(sa_column=text_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    is_credit: bool = Field(sa_column=Column(Boolean, nullable=False))
    amount_minor: int = Field(sa_column=integer())
    currency: str = Field(sa_column=text_column())
    booked_on: date = Field(sa_column=Column(Date, nullable=False))
    text: str = Field(sa_column=text_column())
    counterparty: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column())
    reason: str = Field(sa_column=text_column())
    account: str = Field(sa_column=text_column())
    payout_id: str = Field(sa_column=text_column())
    imported_at: datetime = Field(sa_column=instant())


class Payout(SQLModel, table=True):
    """Money on its way from an account to a bank."""

    __tablename__ = "payouts"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="payout_moves"), Index("payouts_state", "state", "seq"))
    payout_id: str = Field(sa_column=text_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    account: str = Field(sa_column=text_column())
    currency: str = Field(sa_column=text_column())
    amount_minor: int = Field(sa_column=integer())
    reference: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    state: str = Field(sa_column=text_column())
    entry_id: str = Field(sa_column=text_column())
    requested_at: datetime = Field(sa_column=instant())
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))


class PaymentSession(SQLModel, table=True):
    """A payment that a consumer was sent to a payment provider for."""

    __tablename__ = "payment_sessions"
    session_id: str = Field(sa_column=text_column(primary_key=True))
    account_id: str = Field(sa_column=text_column())
    amount_minor: int = Field(sa_column=integer())
    currency: str = Field(sa_column=text_column())
    url: str = Field(sa_column=text_column())
    state: str = Field(sa_column=text_column())
    created_at: datetime = Field(sa_column=instant())
    finished_at: datetime | None = Field(sa_column=instant(nullable=True))


class PaymentEvent(SQLModel, table=True):
    """What a payment provider told, each event once."""

    __tablename__ = "payment_events"
    event_id: str = Field(sa_column=text_column(primary_key=True))
    kind: str = Field(sa_column=text_column())
    outcome: str = Field(sa_column=text_column())
    received_at: datetime = Field(sa_column=instant())
