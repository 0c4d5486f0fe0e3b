"""Money: transfers and their legs, only ever added to, and the balances that follow from them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Integer, Text, text
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
