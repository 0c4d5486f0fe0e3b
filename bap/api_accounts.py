"""Accounts of consumers and the money in their wallets."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api import meter_claims
from api.desk import Call, Desk
from api.paging import ListOf, Page, cursor, read_cursor
from api.problems import ApiError, conflict
from bap.api_calls import READERS, find_account, reading, visible_to
from bap.api_models import AccountIn, AccountMeterIn, AccountOut, DepositIn, TransferOut, WalletOut
from beckn.claims import IMPORT
from books import deposits, references
from store import buyer_settling, customers, transfers
from store.db import UnitOfWork
from trade import ledger
from trade.meter_ids import MeterIdRefused, bare_meter_id

_TAGS = ["accounts"]


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about accounts and money."""
    _add_accounts(desk)
    _add_meter(desk)
    _add_money(desk)


def _add_accounts(desk: Desk) -> None:
    @desk.route("POST", "/api/accounts", role="app", body=AccountIn, answer=AccountOut, status=201, tags=_TAGS)
    async def create_account(call: Call[AccountIn]) -> AccountOut:
        """Open an account, with an empty wallet, for a consumer of this app."""
        account_id, given = str(uuid.uuid4()), call.body.model_dump()
        async with call.node.database.unit_of_work() as uow:
            await customers.insert(uow, account_id=account_id, token_id=call.token.token_id, now=call.now, **given)
        nothing = {"meter_id": "", "balance_milli": 0, "reserved_milli": 0, "balances": []}
        reference = references.reference_of(ledger.wallet(account_id))
        return AccountOut(account_id=account_id, created_at=call.now, payment_reference=reference, **nothing, **given)

    @desk.route("GET", "/api/accounts", role=READERS, query=Page, answer=ListOf[AccountOut], tags=_TAGS)
    async def list_accounts(call: Call[None]) -> ListOf[AccountOut]:
        """List this app's accounts, newest first."""
        after = read_cursor(call.query.after, count=2)
        async with reading(call) as uow:
            rows = await customers.page(
                uow,
                token_id=visible_to(call),
                after=(datetime.fromisoformat(after[0]), after[1]) if after else None,
                limit=call.query.limit,
            )
            items = [await _with_money(uow, row) for row in rows]
        more = len(rows) == call.query.limit
        last = cursor(rows[-1]["created_at"].isoformat(), rows[-1]["account_id"]) if more else None
        return ListOf[AccountOut](items=items, next=last)

    @desk.route("GET", "/api/accounts/{account_id}", role=READERS, answer=AccountOut, tags=_TAGS)
    async def get_account(call: Call[None]) -> AccountOut:
        """Show an account, what its wallet holds and what is reserved for orders."""
        async with reading(call) as uow:
            return await _with_money(uow, await find_account(call, uow))


def _add_meter(desk: Desk) -> None:
    @desk.route(
        "PUT", "/api/accounts/{account_id}/meter", role=READERS, body=AccountMeterIn, answer=AccountOut, tags=_TAGS
    )
    async def put_meter(call: Call[AccountMeterIn]) -> AccountOut:
        """Say which meter measures what the account's consumer takes from the grid.

        Needed for orders under policies that count both meters. The meter is claimed at the network's registry. 409
        when another account or another node has it, or while orders of the account's present meter are open; 503 when
        the registry is silent; 422 for a code of ownership that is missing where one is needed, or proves nothing.
        """
        try:
            meter_id = bare_meter_id(call.body.meter_id)
        except MeterIdRefused as refusal:
            raise ApiError(422, f"{refusal}.", field="meter_id") from refusal
        async with call.node.database.unit_of_work() as uow:
            account = await find_account(call, uow)
            earlier = account["meter_id"]
            if earlier and earlier != meter_id and await buyer_settling.is_meter_in_use(uow, earlier):
                raise conflict(
                    f"Orders of meter '{earlier}' are not settled yet; change it when they are.",
                    field="meter_id",
                )
            try:
                await customers.set_meter(uow, account["account_id"], meter_id)
            except customers.MeterTaken as taken:
                raise conflict("Another account has this meter; a meter belongs to one.", field="meter_id") from taken
            shown = await _with_money(uow, await find_account(call, uow))
            # Last before the commit: what is refused here is kept nowhere, and what is kept here is held there.
            await meter_claims.register(call, meter_id, IMPORT, code=call.body.code)
        if earlier and earlier != meter_id:
            await meter_claims.let_go(call.node.claims, earlier, IMPORT)
        return shown


def _add_money(desk: Desk) -> None:
    @desk.route(
        "POST",
        "/api/accounts/{account_id}/deposits",
        role="operator",
        body=DepositIn,
        answer=AccountOut,
        status=201,
        tags=_TAGS,
    )
    async def deposit(call: Call[DepositIn]) -> AccountOut:
        """Pay money into a wallet; what the account owes is repaid from it first.

        A repeat with the same reference changes nothing; with the same reference and another amount it is refused.
        """
        async with call.node.database.unit_of_work() as uow:
            account = await find_account(call, uow)
            try:
                await deposits.credit(
                    uow,
                    account_id=account["account_id"],
                    amount_minor=call.body.amount_minor,
                    currency=call.body.currency or account["currency"],
                    reference=call.body.reference,
                    now=call.node.trading.now(),
                )
            except transfers.TransferConflict as known:
                raise conflict(
                    "This reference was used for another amount; use a new reference for another deposit.",
                    field="reference",
                ) from known
            return await _with_money(uow, account)

    @desk.route(
        "GET",
        "/api/accounts/{account_id}/transfers",
        role=READERS,
        query=Page,
        answer=ListOf[TransferOut],
        tags=_TAGS,
    )
    async def list_transfers(call: Call[None]) -> ListOf[TransferOut]:
        """List what moved into and out of a wallet, newest first."""
        after = read_cursor(call.query.after, count=1)
        async with reading(call) as uow:
            account = await find_account(call, uow)
            moved = await transfers.statement(
                uow,
                ledger.wallet(account["account_id"]),
                after=str(after[0]) if after else None,
                limit=call.query.limit,
            )
        items = [TransferOut.model_validate(transfer, from_attributes=True) for transfer in moved]
        return ListOf[TransferOut](
            items=items, next=cursor(moved[-1].transfer_id) if len(moved) == call.query.limit else None
        )


async def _with_money(uow: UnitOfWork, account: Mapping[str, Any]) -> AccountOut:
    account_id, currency = account["account_id"], account["currency"]
    shown = {name: account[name] for name in AccountIn.model_fields}
    purse = ledger.wallet(account_id)
    held, overdrafts = await transfers.balances(uow, purse), await transfers.overdrafts(uow, purse)
    owed, reserved = await transfers.balances(uow, ledger.debt(account_id)), await customers.reserved(uow, account_id)
    return AccountOut(
        account_id=account_id,
        created_at=account["created_at"],
        meter_id=account["meter_id"],
        balance_milli=held.get(currency, 0),
        reserved_milli=reserved.get(currency, 0),
        balances=[
            WalletOut(
                currency=each,
                balance_milli=held.get(each, 0),
                reserved_milli=reserved.get(each, 0),
                debt_milli=-owed.get(each, 0),
                overdraft_milli=overdrafts.get(each, 0),
            )
            for each in sorted(held.keys() | reserved.keys() | owed.keys())
        ],
        payment_reference=references.reference_of(purse),
        **shown,
    )
