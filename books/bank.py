"""Bank statements into the ledger: every entry once, matched by what its text says, the rest kept for a person.

Money that came in goes to the one account that the text names, by its payment reference or its whole id. Money that
went out is the one pending payout whose reference the text names, when amount and currency are the payout's. Whatever
names nothing, several things, or something else stays UNMATCHED with the reason, and the operator assigns it. The
bank's id of an entry names its transfer: neither a file imported twice nor an entry assigned twice moves money twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime

from books import bank_file, deposits, payouts, references
from books.bank_file import FileEntry
from store import bank, transfers
from store.bank import IGNORED, MATCHED, UNMATCHED, BankRefusal, Entry, Imported
from store.db import UnitOfWork
from trade import bank_transfers

_WORD = re.compile(r"[A-Za-z0-9._:-]{3,255}")


async def import_file(
    uow: UnitOfWork, raw: bytes, *, columns: Mapping[str, str] | None = None, now: datetime
) -> Imported:
    """Take a bank's file in, all of it in this unit of work. Raises BankRefusal for what is no bank statement."""
    try:
        read = await asyncio.to_thread(bank_file.read, raw, columns=columns)
    except bank_file.FileRefused as refusal:
        raise BankRefusal(str(refusal), field="body", status=422) from refusal
    new = matched = 0
    for each in read.entries:
        entry = _unmatched(each, now)
        if not await bank.insert_entry(uow, entry):
            continue
        new += 1
        matched += await _match(uow, entry, is_reversal=each.is_reversal, now=now)
    problems = tuple((problem.place, problem.sentence) for problem in read.problems)
    return Imported(len(read.entries), new, matched, new - matched, problems)


async def assign(uow: UnitOfWork, entry_id: str, *, account: str = "", payout_id: str = "", now: datetime) -> Entry:
    """The operator says whose an unmatched entry is: a wallet's, a provider's, or a payout's (money that went).

    Raises BankRefusal, and store.transfers.InsufficientFunds when money went that the account does not hold.
    """
    entry = await _waiting(uow, entry_id)
    if payout_id:
        if entry.is_credit:
            raise BankRefusal(
                "Money that came in is no payout; name the account it is for.", field="payout_id", status=422
            )
        payout = await bank.lock_payout(uow, payout_id)
        if payout is None or not payouts.matches(payout, amount_minor=entry.amount_minor, currency=entry.currency):
            raise BankRefusal(
                f"'{payout_id}' is no pending payout of {entry.amount_minor} minor units of {entry.currency}; GET"
                " /api/payouts lists them.",
                field="payout_id",
            )
        await _paid(uow, entry, payout_id, now=now)
    elif await bank.account_exists(uow, account):
        await _book(uow, entry, account, now=now)
    else:
        raise BankRefusal(
            f"'{account}' is no account of this node; write wallet:<account_id> or provider:<provider_id>.",
            field="account",
            status=422,
        )
    found = await bank.lock_entry(uow, entry_id)
    assert found is not None  # noqa: S101 - it is locked
    return found


async def ignore(uow: UnitOfWork, entry_id: str, *, reason: str) -> None:
    """The operator says that an unmatched entry is none of the ledger's affair (a bank fee, a transfer of our own)."""
    await _waiting(uow, entry_id)
    await bank.mark_entry(uow, entry_id, state=IGNORED, reason=reason)


def _unmatched(each: FileEntry, now: datetime) -> Entry:
    return Entry(
        entry_id=each.entry_id,
        is_credit=each.is_credit,
        amount_minor=each.amount_minor,
        currency=each.currency,
        booked_on=each.booked_on,
        text=each.text,
        counterparty=each.counterparty,
        state=UNMATCHED,
        reason="",
        account="",
        payout_id="",
        imported_at=now,
    )


async def _match(uow: UnitOfWork, entry: Entry, *, is_reversal: bool, now: datetime) -> bool:
    """Book an entry that names exactly one thing; else say why not."""
    bodies = references.bodies_in(entry.text)
    if is_reversal:
        reason = "the bank took an earlier entry back"
    elif entry.is_credit:
        named = await bank.accounts_named(uow, bodies=bodies, words=_WORD.findall(entry.text))
        if len(named) == 1:
            await _book(uow, entry, named[0], now=now)
            return True
        reason = f"the text names {len(named) or 'no'} account{'s' if len(named) > 1 else ''}"
    else:
        found = await bank.payouts_named(uow, bodies)
        payout = await bank.lock_payout(uow, found[0]) if len(found) == 1 else None
        if payout and payouts.matches(payout, amount_minor=entry.amount_minor, currency=entry.currency):
            await _paid(uow, entry, payout.payout_id, now=now)
            return True
        reason = "the text names no pending payout of this amount"
    await bank.mark_entry(uow, entry.entry_id, state=UNMATCHED, reason=reason)
    return False


async def _paid(uow: UnitOfWork, entry: Entry, payout_id: str, *, now: datetime) -> None:
    await payouts.confirm(uow, payout_id, entry_id=entry.entry_id, now=now)
    await bank.mark_entry(uow, entry.entry_id, state=MATCHED, payout_id=payout_id)


async def _book(uow: UnitOfWork, entry: Entry, account: str, *, now: datetime) -> None:
    """Money that came in to the account, money that went out of it; a wallet's debt is repaid first."""
    make = bank_transfers.paid_in if entry.is_credit else bank_transfers.paid_out
    moved = make(
        transfer_id=f"bank/{entry.entry_id}",
        account=account,
        amount_minor=entry.amount_minor,
        currency=entry.currency,
        memo=entry.text[:140],
        at=now,
    )
    if entry.is_credit:
        await deposits.post(uow, moved, account=account)
    else:
        await transfers.post(uow, [moved])
    await bank.mark_entry(uow, entry.entry_id, state=MATCHED, account=account)


async def _waiting(uow: UnitOfWork, entry_id: str) -> Entry:
    entry = await bank.lock_entry(uow, entry_id)
    if entry is None:
        raise BankRefusal(
            f"There is no bank entry '{entry_id}'; GET /api/bank/entries lists them.", field="entry_id", status=404
        )
    if entry.state != UNMATCHED:
        raise BankRefusal(f"Entry {entry_id} is {entry.state}; only an UNMATCHED one can be assigned.", field="state")
    return entry
