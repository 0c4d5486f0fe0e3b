"""The bank's desk of both nodes: statements in, entries that nobody could match, payouts on their way.

The rules are `books.bank` and `books.payouts`; a shop gives them to `add_routes` (rooms of one floor never import each
other). Amounts are whole minor units here, for these are a bank's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, Field, model_validator

from api.desk import Call, Desk
from api.paging import Id, ListOf, Page, Strict, cursor, read_cursor
from api.problems import ApiError, conflict
from api.series import InstantOut
from store import audit, bank, transfers
from store.db import UnitOfWork
from trade.money import amount_from_milli

#: Largest bank file, bytes: some 50,000 entries of XML.
FILE_BYTES_MAX = 16 * 1_048_576
_TAGS = ["bank"]


class BankRules(Protocol):
    """What `books.bank` does: book a file's entries, assign one by hand."""

    async def import_file(
        self, uow: UnitOfWork, raw: bytes, *, columns: Mapping[str, str] | None = None, now: datetime
    ) -> bank.Imported:
        """Take a file in."""
        ...

    async def assign(
        self, uow: UnitOfWork, entry_id: str, *, account: str = "", payout_id: str = "", now: datetime
    ) -> bank.Entry:
        """Say whose an entry is."""
        ...

    async def ignore(self, uow: UnitOfWork, entry_id: str, *, reason: str) -> None:
        """Say that an entry is nobody's."""
        ...


class PayoutRules(Protocol):
    """What `books.payouts` does: money asked for, gone, or returned."""

    async def request(
        self, uow: UnitOfWork, *, account: str, currency: str, amount_minor: int | None, now: datetime
    ) -> bank.Payout:
        """Take money towards a bank."""
        ...

    async def confirm(self, uow: UnitOfWork, payout_id: str, *, entry_id: str = "", now: datetime) -> bank.Payout:
        """The bank has it."""
        ...

    async def void(self, uow: UnitOfWork, payout_id: str, *, now: datetime) -> bank.Payout:
        """The bank has it not."""
        ...


class StatementFile(Strict):
    """A bank's file, sent as it is: text/csv or application/xml."""


class StatementQuery(Strict):
    """Which column of a CSV file is what, where its header does not say it in words that are known."""

    columns: Annotated[str, Field(max_length=1000)] = Field(
        default="", description='Such as "id=Umsatz-ID,text=Verwendungszweck"'
    )

    @model_validator(mode="after")
    def _pairs(self) -> StatementQuery:
        if self.columns and any(not all(pair.partition("=")[::2]) for pair in self.columns.split(",")):
            raise ValueError("'columns' is written as name=header,name=header")
        return self

    def named(self) -> dict[str, str]:
        """Header by name."""
        return dict(pair.split("=", 1) for pair in self.columns.split(",")) if self.columns else {}


class FileProblemOut(BaseModel):
    """Why one row or entry of the file was not read."""

    place: int = Field(description="The line of a CSV file, the entry of an XML file; counted from 1")
    sentence: str


class ImportedOut(BaseModel):
    """What became of a bank's file; entries that were known from an earlier file are neither matched nor unmatched."""

    entries: int
    new: int
    matched: int
    unmatched: int
    problems: list[FileProblemOut]


class EntryOut(BaseModel):
    """One line of a bank's statement: booked on `account` or a payout, or waiting for the operator."""

    entry_id: str
    is_credit: bool = Field(description="True when money came in")
    amount_minor: int
    currency: str
    booked_on: date
    text: str
    counterparty: str
    state: str
    reason: str = Field(description="Why it is not booked")
    account: str
    payout_id: str
    imported_at: InstantOut


class EntriesOf(Page):
    """Query of the list of bank entries."""

    state: Literal["MATCHED", "UNMATCHED", "IGNORED"] | None = None


class AssignIn(Strict):
    """Whose an entry is: an account of the ledger, or the payout that it carried out."""

    account: Annotated[str, Field(max_length=300, pattern=r"^(wallet|provider):.+$")] | None = None
    payout_id: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> AssignIn:
        if (self.account is None) == (self.payout_id is None):
            raise ValueError("name either 'account' or 'payout_id'")
        return self


class IgnoreIn(Strict):
    """Why an entry is none of the ledger's affair."""

    reason: str = Field(min_length=1, max_length=500)


class PayoutIn(Strict):
    """Money to be paid out: whole minor units; without an amount all that the account holds."""

    amount_minor: Annotated[int, Field(gt=0, le=10**12)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None


class PayoutOut(BaseModel):
    """A payout. Whoever makes the bank transfer writes `reference` on it, so that the bank's file confirms it."""

    payout_id: str
    account: str
    currency: str
    amount_minor: int
    reference: str
    state: str
    entry_id: str = Field(description="The bank's entry that confirmed it; empty for the operator's word")
    requested_at: InstantOut
    finished_at: InstantOut | None


class PayoutsOf(Page):
    """Query of the list of payouts."""

    state: Literal["PENDING", "PAID", "VOID"] | None = None


def add_routes(desk: Desk, *, rules: BankRules, payouts: PayoutRules) -> None:
    """Give the desk the calls about banks."""
    _add_statements(desk, rules)
    _add_entries(desk, rules)
    _add_payouts(desk, payouts)


@asynccontextmanager
async def refusals(call: Call[Any]) -> AsyncIterator[UnitOfWork]:
    """A unit of work whose foreseen refusals become HTTP answers."""
    try:
        async with call.node.database.unit_of_work() as uow:
            yield uow
    except bank.BankRefusal as refusal:
        raise ApiError(refusal.status, refusal.sentence, field=refusal.field) from refusal
    except transfers.TransferConflict as known:
        raise conflict(f"{known}; it was booked before.", field="entry_id") from known
    except transfers.InsufficientFunds as short:
        raise conflict(f"Account {short.account} does not hold that much.", field="account") from short


async def start(call: Call[PayoutIn], rules: PayoutRules, uow: UnitOfWork, *, account: str, currency: str) -> PayoutOut:
    """Ask for a payout from an account that the shop has looked up, and write down who did."""
    payout = await rules.request(
        uow, account=account, currency=currency, amount_minor=call.body.amount_minor, now=call.node.trading.now()
    )
    detail = {"account": account, "amount_minor": payout.amount_minor, "currency": currency}
    await _audit(uow, call, "payout.request", payout.payout_id, detail)
    return PayoutOut.model_validate(payout, from_attributes=True)


async def allow_overdraft(
    call: Call[Any], uow: UnitOfWork, *, account: str, currency: str, overdraft_milli: int | None
) -> None:
    """Let an account go so far below zero (None: without limit), and write down who did; raises ApiError 409."""
    try:
        await transfers.allow_overdraft(uow, account, currency, overdraft_milli=overdraft_milli)
    except transfers.InsufficientFunds as used:
        shown = amount_from_milli(overdraft_milli or 0, currency)
        raise conflict(
            f"The account is overdrawn by more than {shown} {currency} already; pay it in first.",
            field="overdraft_milli",
        ) from used
    await _audit(uow, call, "account.overdraft", account, {"currency": currency, "overdraft_milli": overdraft_milli})


def _add_statements(desk: Desk, rules: BankRules) -> None:
    media = ("text/csv", "application/xml", "text/xml", "application/octet-stream")

    @desk.route(
        "POST",
        "/api/bank/statements",
        role="operator",
        body=StatementFile,
        query=StatementQuery,
        answer=ImportedOut,
        status=201,
        tags=_TAGS,
        body_bytes_max=FILE_BYTES_MAX,
        readers=dict.fromkeys(media, lambda _: StatementFile()),
    )
    async def import_statement(call: Call[StatementFile]) -> ImportedOut:
        """Take in a bank's statement: CSV with a header, or CAMT.053 XML.

        Money that came in is booked on the account whose payment reference or id its text names; money that went is
        the pending payout whose reference it names. Entries are known by the bank's id and booked once, however
        often a file is sent; what cannot be matched waits under /api/bank/entries.
        """
        async with refusals(call) as uow:
            done = await rules.import_file(uow, call.raw, columns=call.query.named(), now=call.node.trading.now())
            await _audit(uow, call, "bank.import", "bank", {"entries": done.entries, "new": done.new})
        return ImportedOut(
            entries=done.entries,
            new=done.new,
            matched=done.matched,
            unmatched=done.unmatched,
            problems=[FileProblemOut(place=place, sentence=sentence) for place, sentence in done.problems],
        )


def _add_entries(desk: Desk, rules: BankRules) -> None:
    @desk.route("GET", "/api/bank/entries", role="operator", query=EntriesOf, answer=ListOf[EntryOut], tags=_TAGS)
    async def list_entries(call: Call[None]) -> ListOf[EntryOut]:
        """List what banks said, newest first; `state=UNMATCHED` is what waits for you."""
        after = read_cursor(call.query.after, count=1)
        async with refusals(call) as uow:
            rows = await bank.entries(
                uow, state=call.query.state, after=int(after[0]) if after else None, limit=call.query.limit
            )
        more = cursor(rows[-1].seq) if len(rows) == call.query.limit else None
        return ListOf[EntryOut](items=[EntryOut.model_validate(row, from_attributes=True) for row in rows], next=more)

    @desk.route(
        "POST", "/api/bank/entries/{entry_id}/assign", role="operator", body=AssignIn, answer=EntryOut, tags=_TAGS
    )
    async def assign_entry(call: Call[AssignIn]) -> EntryOut:
        """Say whose an unmatched entry is; its money is booked at once."""
        account, payout_id = call.body.account or "", call.body.payout_id or ""
        async with refusals(call) as uow:
            entry = await rules.assign(
                uow, call.path["entry_id"], account=account, payout_id=payout_id, now=call.node.trading.now()
            )
            await _audit(uow, call, "bank.assign", entry.entry_id, {"account": account, "payout_id": payout_id})
        return EntryOut.model_validate(entry, from_attributes=True)

    @desk.route(
        "POST",
        "/api/bank/entries/{entry_id}/ignore",
        role="operator",
        body=IgnoreIn,
        answer=None,
        status=204,
        tags=_TAGS,
    )
    async def ignore_entry(call: Call[IgnoreIn]) -> None:
        """Say that an unmatched entry is none of the ledger's affair, and why."""
        async with refusals(call) as uow:
            await rules.ignore(uow, call.path["entry_id"], reason=call.body.reason)
            await _audit(uow, call, "bank.ignore", call.path["entry_id"], {"reason": call.body.reason})


def _add_payouts(desk: Desk, rules: PayoutRules) -> None:
    @desk.route("GET", "/api/payouts", role="operator", query=PayoutsOf, answer=ListOf[PayoutOut], tags=_TAGS)
    async def list_payouts(call: Call[None]) -> ListOf[PayoutOut]:
        """List payouts, newest first; `state=PENDING` is what the bank has not confirmed."""
        after = read_cursor(call.query.after, count=1)
        async with refusals(call) as uow:
            rows = await bank.payouts(
                uow, state=call.query.state, after=int(after[0]) if after else None, limit=call.query.limit
            )
        more = cursor(rows[-1].seq) if len(rows) == call.query.limit else None
        return ListOf[PayoutOut](items=[PayoutOut.model_validate(row, from_attributes=True) for row in rows], next=more)

    @desk.route("POST", "/api/payouts/{payout_id}/paid", role="operator", answer=PayoutOut, tags=_TAGS)
    async def mark_paid(call: Call[None]) -> PayoutOut:
        """Say that a payout has left by the bank, when no bank file will."""
        async with refusals(call) as uow:
            payout = await rules.confirm(uow, call.path["payout_id"], now=call.node.trading.now())
            await _audit(uow, call, "payout.paid", payout.payout_id, {})
        return PayoutOut.model_validate(payout, from_attributes=True)

    @desk.route("POST", "/api/payouts/{payout_id}/void", role="operator", answer=PayoutOut, tags=_TAGS)
    async def void_payout(call: Call[None]) -> PayoutOut:
        """Give a pending payout back to its account."""
        async with refusals(call) as uow:
            payout = await rules.void(uow, call.path["payout_id"], now=call.node.trading.now())
            await _audit(uow, call, "payout.void", payout.payout_id, {})
        return PayoutOut.model_validate(payout, from_attributes=True)


async def _audit(uow: UnitOfWork, call: Call[Any], act: str, subject: str, detail: dict[str, Any]) -> None:
    await audit.add(uow, actor=call.token.actor, act=act, subject=subject, detail=detail, now=call.now)
