"""Money that comes into a wallet, from whatever door: an operator, a bank file, a payment provider.

A deposit is one transfer named by its reference, so a repeat moves nothing. What the account owes after a correction
is repaid from it at once, by a transfer of its own.
"""

from __future__ import annotations

from datetime import datetime

from store import transfers
from store.db import UnitOfWork
from trade import bank_transfers, ledger
from trade.ledger import Transfer


async def credit(
    uow: UnitOfWork, *, account_id: str, amount_minor: int, currency: str, reference: str, now: datetime
) -> bool:
    """Pay whole minor units into a wallet (`now`: trading clock); False when this reference was paid in before.

    Raises store.transfers.TransferConflict when it was paid in with another amount or currency.
    """
    paid_in = ledger.deposit(
        account_id=account_id, amount_minor=amount_minor, currency=currency, reference=reference, at=now
    )
    return await post(uow, paid_in, account=ledger.wallet(account_id))


async def post(uow: UnitOfWork, paid_in: Transfer, *, account: str) -> bool:
    """Post a transfer that brings money to `account`, then repay what the account owes; False when it was known.

    Raises store.transfers.TransferConflict when a transfer of this id was posted with other content.
    """
    if not await transfers.post(uow, [paid_in]):
        return False
    kind, _, account_id = account.partition(":")
    if kind == "wallet":
        currency = paid_in.legs[0].currency
        owed = await transfers.balance(uow, ledger.debt(account_id), currency)
        repaid = bank_transfers.repay(paid_in, account_id=account_id, debt_milli=owed, currency=currency)
        await transfers.post(uow, repaid)
    return True
