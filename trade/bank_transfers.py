"""Money that comes from a bank or goes to one, as transfers: whole minor units, each named by the bank's or our own id.

paid in     external -> account
paid out    account  -> external                 (an entry of the bank that no payout announced)
payout      account  -> payout -> external       (announced, then done)
            payout   -> account                  (announced, then void)
repay       wallet   -> debt                     (what a correction left owing, from the next deposit)
"""

from __future__ import annotations

from datetime import datetime

from trade.ledger import Transfer, between, debt, external, payout, wallet
from trade.money import milli_from_minor


def paid_in(*, transfer_id: str, account: str, amount_minor: int, currency: str, memo: str, at: datetime) -> Transfer:
    """Money that came from outside."""
    return _moved(transfer_id, external(), account, amount_minor=amount_minor, currency=currency, memo=memo, at=at)


def paid_out(*, transfer_id: str, account: str, amount_minor: int, currency: str, memo: str, at: datetime) -> Transfer:
    """Money that went outside."""
    return _moved(transfer_id, account, external(), amount_minor=amount_minor, currency=currency, memo=memo, at=at)


def start_payout(*, payout_id: str, account: str, amount_minor: int, currency: str, at: datetime) -> Transfer:
    """Money from an account towards a bank: held until the bank has it or the payout is void."""
    return _moved(
        f"payout/{payout_id}",
        account,
        payout(payout_id),
        amount_minor=amount_minor,
        currency=currency,
        memo="payout",
        at=at,
    )


def finish_payout(*, payout_id: str, amount_minor: int, currency: str, at: datetime) -> Transfer:
    """What a payout held has left by the bank."""
    return _moved(
        f"payout/{payout_id}/paid",
        payout(payout_id),
        external(),
        amount_minor=amount_minor,
        currency=currency,
        memo="payout paid",
        at=at,
    )


def void_payout(*, payout_id: str, account: str, amount_minor: int, currency: str, at: datetime) -> Transfer:
    """What a payout held, back to its account."""
    return _moved(
        f"payout/{payout_id}/void",
        payout(payout_id),
        account,
        amount_minor=amount_minor,
        currency=currency,
        memo="payout void",
        at=at,
    )


def repay(credited: Transfer, *, account_id: str, debt_milli: int, currency: str) -> list[Transfer]:
    """From money that `credited` brought to a wallet, what the account owes first; nothing when it owes nothing.

    `debt_milli` is the balance of the debt account, negative by what is owed.
    """
    arrived = sum(
        leg.amount_milli for leg in credited.legs if (leg.account, leg.currency) == (wallet(account_id), currency)
    )
    amount_milli = min(-debt_milli, arrived)
    if amount_milli <= 0:
        return []
    return [
        between(
            transfer_id=f"{credited.transfer_id}/repay",
            source=wallet(account_id),
            target=debt(account_id),
            amount_milli=amount_milli,
            currency=currency,
            memo="debt repaid",
            at=credited.at,
        )
    ]


def _moved(
    transfer_id: str, source: str, target: str, *, amount_minor: int, currency: str, memo: str, at: datetime
) -> Transfer:
    return between(
        transfer_id=transfer_id,
        source=source,
        target=target,
        amount_milli=milli_from_minor(amount_minor),
        currency=currency,
        memo=memo,
        at=at,
    )
