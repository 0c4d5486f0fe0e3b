"""Consumers' money and the bank: statements, payouts of wallets, overdrafts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api import bank as desk_bank
from api.bank import PayoutIn, PayoutOut, refusals
from api.desk import Call, Desk
from api.paging import Strict
from api.problems import not_found
from bap.api_models import Currency
from books import bank, payouts
from store import customers
from store.db import UnitOfWork
from trade import ledger

_TAGS = ["accounts"]


class OverdraftIn(Strict):
    """How far a wallet may go below zero, thousandths of a minor unit; null is without limit."""

    overdraft_milli: Annotated[int, Field(ge=0, le=10**15)] | None
    currency: Currency | None = None


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about banks and overdrafts."""
    desk_bank.add_routes(desk, rules=bank, payouts=payouts)

    @desk.route(
        "POST",
        "/api/accounts/{account_id}/payouts",
        role="operator",
        body=PayoutIn,
        answer=PayoutOut,
        status=201,
        tags=_TAGS,
    )
    async def pay_out(call: Call[PayoutIn]) -> PayoutOut:
        """Pay money from a wallet to its owner's bank account.

        Whole minor units leave the wallet at once and are PENDING until the bank's file, or the operator, says that
        they arrived; a payout that is void returns them. An overdraft is not paid out.
        """
        async with refusals(call) as uow:
            own = await _currency_of(call, uow)
            account = ledger.wallet(call.path["account_id"])
            return await desk_bank.start(call, payouts, uow, account=account, currency=call.body.currency or own)

    @desk.route(
        "PUT", "/api/accounts/{account_id}/overdraft", role="operator", body=OverdraftIn, status=204, tags=_TAGS
    )
    async def grant_overdraft(call: Call[OverdraftIn]) -> None:
        """Let a wallet be overdrawn so far and no further; refused below what it is overdrawn by already."""
        async with refusals(call) as uow:
            own = await _currency_of(call, uow)
            await desk_bank.allow_overdraft(
                call,
                uow,
                account=ledger.wallet(call.path["account_id"]),
                currency=call.body.currency or own,
                overdraft_milli=call.body.overdraft_milli,
            )


async def _currency_of(call: Call[PayoutIn] | Call[OverdraftIn], uow: UnitOfWork) -> str:
    """The account's own currency; raises ApiError 404."""
    account_id = call.path["account_id"]
    account = await customers.get(uow, account_id, token_id=None)
    if account is None:
        raise not_found("account", account_id)
    currency: str = account["currency"]
    return currency
