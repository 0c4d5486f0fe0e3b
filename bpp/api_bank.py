"""Providers' earnings and the bank: statements, payouts."""

from __future__ import annotations

from api import bank as desk_bank
from api.bank import PayoutIn, PayoutOut, refusals
from api.desk import Call, Desk
from api.problems import ApiError
from books import bank, payouts
from bpp.scope import OPERATOR, find_provider
from store import transfers
from trade import ledger


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about banks."""
    desk_bank.add_routes(desk, rules=bank, payouts=payouts)
    desk.route(
        "POST",
        "/api/providers/{provider_id}/payouts",
        role=OPERATOR,
        body=PayoutIn,
        answer=PayoutOut,
        status=201,
        tags=["providers"],
    )(pay_out)


async def pay_out(call: Call[PayoutIn]) -> PayoutOut:
    """Pay what a provider has earned to its bank account.

    Whole minor units leave the account at once and are PENDING until the bank's file, or the operator, says that they
    arrived; a payout that is void returns them. A provider that earned in several currencies names the one meant.
    """
    async with refusals(call) as uow:
        provider = await find_provider(call, uow, call.path["provider_id"])
        account = ledger.provider_earnings(provider.provider_id)
        earned = [currency for currency, amount in (await transfers.balances(uow, account)).items() if amount > 0]
        currency = call.body.currency or (earned[0] if len(earned) == 1 else "")
        if not currency:
            raise ApiError(
                409,
                f"The provider holds {', '.join(earned) or 'nothing'}; name the 'currency' to pay out.",
                field="currency",
            )
        return await desk_bank.start(call, payouts, uow, account=account, currency=currency)
