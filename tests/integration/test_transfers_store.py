"""The ledger in a real database: repeats move nothing, overdrafts and changes of history are refused, proof holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from store import transfers
from store.db import Database
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE
from trade import ledger
from trade.ledger import Transfer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=4)
    yield opened
    await opened.close()


def deposit(amount_minor: int, reference: str = "1", account_id: str = "anna", currency: str = DOLLAR) -> Transfer:
    return ledger.deposit(
        account_id=account_id, amount_minor=amount_minor, currency=currency, reference=reference, at=EVENING_BEFORE
    )


def move(transfer_id: str, debit: str, credit: str, amount_milli: int) -> Transfer:
    return Transfer(transfer_id, debit, credit, amount_milli, DOLLAR, "order-1", "", EVENING_BEFORE)


async def post(database: Database, *posted: Transfer) -> list[str]:
    async with database.unit_of_work() as uow:
        return await transfers.post(uow, posted)


async def held(database: Database, account: str) -> int:
    async with database.unit_of_work() as uow:
        return await transfers.balance(uow, account, DOLLAR)


async def test_an_account_is_never_overdrawn_and_the_refusal_names_it(database: Database) -> None:
    await post(database, deposit(100))
    with pytest.raises(transfers.InsufficientFunds) as refusal:
        await post(database, move("order-1/reserve", ledger.wallet("anna"), ledger.escrow("order-1"), 101))
    assert refusal.value.account == "wallet:anna"
    with pytest.raises(transfers.InsufficientFunds) as refusal:
        await post(database, move("order-1/reserve", ledger.wallet("nobody"), ledger.escrow("order-1"), 1))
    assert refusal.value.account == "wallet:nobody"
    assert await held(database, "wallet:anna") == 100


async def test_an_id_used_before_with_other_content_is_refused(database: Database) -> None:
    await post(database, deposit(100))
    with pytest.raises(transfers.TransferConflict):
        await post(database, deposit(200))
    assert await held(database, "wallet:anna") == 100


@pytest.mark.parametrize("statement", ["UPDATE ledger_transfers SET amount_milli = 1", "DELETE FROM ledger_transfers"])
async def test_history_cannot_be_changed(database: Database, statement: str) -> None:
    await post(database, deposit(100))
    with pytest.raises(asyncpg.PostgresError):
        async with database.unit_of_work() as uow:
            await uow.connection.execute(statement)
    assert await held(database, "wallet:anna") == 100


async def test_a_repeated_transfer_moves_nothing(database: Database) -> None:
    assert await post(database, deposit(100)) == ["deposit/anna/1"]
    again = replace(deposit(100), memo="said again")
    assert await post(database, again, deposit(5, "2")) == ["deposit/anna/2"]
    assert await held(database, "wallet:anna") == 105
    assert await held(database, "external") == -105


async def test_a_chain_of_transfers_is_posted_in_one_statement(database: Database) -> None:
    chain = [
        deposit(100),
        move("order-1/reserve", ledger.wallet("anna"), ledger.escrow("order-1"), 60),
        move("order-1/settle", ledger.escrow("order-1"), ledger.payable("bpp"), 50),
        move("order-1/settle-rest", ledger.escrow("order-1"), ledger.wallet("anna"), 10),
    ]
    assert len(await post(database, *chain)) == 4
    assert await post(database) == []
    assert [await held(database, a) for a in ("wallet:anna", "escrow:order-1", "payable:bpp")] == [50, 0, 50]


async def test_a_refused_posting_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(transfers.InsufficientFunds):
        await post(database, deposit(100), move("x", ledger.escrow("order-1"), ledger.wallet("anna"), 1))
    assert await held(database, "wallet:anna") == 0


async def test_crossing_transfers_of_many_workers_all_arrive(database: Database) -> None:
    """Two accounts pay each other at once, from both ends: no deadlock, no lost cent."""
    await post(database, deposit(1000), deposit(1000, account_id="ben"))
    there = [move(f"a/{n}", "wallet:anna", "wallet:ben", 1) for n in range(40)]
    back = [move(f"b/{n}", "wallet:ben", "wallet:anna", 2) for n in range(40)]
    await asyncio.gather(*(post(database, one, two) for one, two in zip(there, back, strict=True)))
    assert (await held(database, "wallet:anna"), await held(database, "wallet:ben")) == (1040, 960)
    async with database.unit_of_work() as uow:
        assert (await transfers.proof(uow)).balanced


async def test_statements_are_pages_newest_first(database: Database) -> None:
    await post(database, *(deposit(10 + n, str(n)) for n in range(3)))
    async with database.unit_of_work() as uow:
        first = await transfers.statement(uow, "wallet:anna", limit=2)
        assert [t.amount_milli for t in first] == [12, 11]
        rest = await transfers.statement(uow, "wallet:anna", after=first[-1].transfer_id, limit=2)
        assert rest == [deposit(10, "0")]
        assert await transfers.balances(uow, "wallet:anna") == {DOLLAR: 33}


async def test_the_proof_shows_balanced_books_by_currency(database: Database) -> None:
    await post(database, deposit(100), deposit(7, "2", currency="INR"))
    async with database.unit_of_work() as uow:
        proof = await transfers.proof(uow)
    assert (proof.balanced, proof.problems, proof.transfers) == (True, (), 2)
    assert proof.moved_milli == {"INR": 7, DOLLAR: 100}


async def test_the_proof_names_a_balance_that_was_tampered_with(database: Database) -> None:
    await post(database, deposit(100))
    async with database.unit_of_work() as uow:
        await uow.connection.execute("UPDATE ledger_accounts SET balance_milli = 90 WHERE account = 'wallet:anna'")
    async with database.unit_of_work() as uow:
        proof = await transfers.proof(uow)
    assert not proof.balanced
    assert proof.problems == (
        "wallet:anna in USD holds 90 but its transfers sum to 100",
        "balances in USD sum to -10, not to zero",
    )
