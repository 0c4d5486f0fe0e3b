"""Money that leaves by a bank: taken from the account when it is asked for, gone when the bank says so.

Only whole minor units leave; what an account holds beyond them stays there. A payout that comes to nothing is void and
its money returns. Each step is one transfer named by the payout, so a repeat moves nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime

from books import references
from store import bank, transfers
from store.bank import PAID, PENDING, VOID, BankRefusal, Payout
from store.db import UnitOfWork
from trade import bank_transfers
from trade.money import amount_from_milli, payable_minor


async def request(uow: UnitOfWork, *, account: str, currency: str, amount_minor: int | None, now: datetime) -> Payout:
    """Take an amount, or all whole minor units (None), from an account towards a bank.

    Raises BankRefusal when the account does not hold it: an overdraft is not paid out.
    """
    await transfers.available(uow, account, currency)  # locks the account, so that what is seen can be taken
    held_milli = await transfers.balance(uow, account, currency)
    amount = payable_minor(held_milli) if amount_minor is None else amount_minor
    if payable_minor(held_milli) <= 0:
        raise BankRefusal(
            f"The account holds {amount_from_milli(held_milli, currency)} {currency}, not one whole minor unit;"
            " there is nothing to pay out.",
            field="currency",
        )
    if not 0 < amount <= payable_minor(held_milli):
        raise BankRefusal(
            f"The account holds {amount_from_milli(held_milli, currency)} {currency}; ask for at least one and at most"
            f" {payable_minor(held_milli)} whole minor units.",
            field="amount_minor",
        )
    payout_id = str(uuid.uuid4())
    payout = Payout(
        payout_id=payout_id,
        account=account,
        currency=currency,
        amount_minor=amount,
        reference=references.reference_of(f"payout:{payout_id}"),
        state=PENDING,
        entry_id="",
        requested_at=now,
        finished_at=None,
    )
    await bank.insert_payout(uow, payout)
    taken = bank_transfers.start_payout(
        payout_id=payout_id, account=account, amount_minor=amount, currency=currency, at=now
    )
    await transfers.post(uow, [taken])
    return payout


async def confirm(uow: UnitOfWork, payout_id: str, *, entry_id: str = "", now: datetime) -> Payout:
    """The bank has the money: by its statement's entry, or on the operator's word. A repeat changes nothing."""
    payout = await _open(uow, payout_id, wanted=PAID)
    if payout.state == PAID:
        return payout
    gone = bank_transfers.finish_payout(
        payout_id=payout_id, amount_minor=payout.amount_minor, currency=payout.currency, at=now
    )
    await transfers.post(uow, [gone])
    await bank.finish_payout(uow, payout_id, state=PAID, entry_id=entry_id, now=now)
    return replace(payout, state=PAID, entry_id=entry_id, finished_at=now)


async def void(uow: UnitOfWork, payout_id: str, *, now: datetime) -> Payout:
    """The bank did not take it: the money returns to its account. A repeat changes nothing."""
    payout = await _open(uow, payout_id, wanted=VOID)
    if payout.state == VOID:
        return payout
    returned = bank_transfers.void_payout(
        payout_id=payout_id,
        account=payout.account,
        amount_minor=payout.amount_minor,
        currency=payout.currency,
        at=now,
    )
    await transfers.post(uow, [returned])
    await bank.finish_payout(uow, payout_id, state=VOID, entry_id="", now=now)
    return replace(payout, state=VOID, finished_at=now)


def matches(payout: Payout, *, amount_minor: int, currency: str) -> bool:
    """True when money of this amount that left the bank can be this payout."""
    return payout.state == PENDING and (payout.amount_minor, payout.currency) == (amount_minor, currency)


async def _open(uow: UnitOfWork, payout_id: str, *, wanted: str) -> Payout:
    payout = await bank.lock_payout(uow, payout_id)
    if payout is None:
        raise BankRefusal(
            f"There is no payout '{payout_id}'; GET /api/payouts lists them.", field="payout_id", status=404
        )
    if payout.state not in (PENDING, wanted):
        raise BankRefusal(
            f"Payout {payout_id} is {payout.state}; only a PENDING one can become {wanted}.", field="state"
        )
    return payout
