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
from trade.ledger import Leg, Transfer


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
    legs = (Leg(debit, DOLLAR, -amount_milli), Leg(credit, DOLLAR, amount_milli))
    return Transfer(transfer_id, "order-1", "", EVENING_BEFORE, legs)


async def post(database: Database, *posted: Transfer) -> list[str]:
    async with database.unit_of_work() as uow:
        return await transfers.post(uow, posted)


async def held(database: Database, account: str) -> int:
    async with database.unit_of_work() as uow:
        return await transfers.balance(uow, account, DOLLAR)


async def test_an_account_is_never_overdrawn_and_the_refusal_names_it(database: Database) -> None:
    await post(database, deposit(100))
    with pytest.raises(transfers.InsufficientFunds) as refusal:
        await post(database, move("order-1/reserve", ledger.wallet("anna"), ledger.escrow("order-1"), 100_001))
    assert refusal.value.account == "wallet:anna"
    with pytest.raises(transfers.InsufficientFunds) as refusal:
        await post(database, move("order-1/reserve", ledger.wallet("nobody"), ledger.escrow("order-1"), 1))
    assert refusal.value.account == "wallet:nobody"
    assert await held(database, "wallet:anna") == 100_000


async def test_an_id_used_before_with_other_content_is_refused(database: Database) -> None:
    await post(database, deposit(100))
    with pytest.raises(transfers.TransferConflict):
        await post(database, deposit(200))
    assert await held(database, "wallet:anna") == 100_000


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger_transfers SET memo = ''", "UPDATE ledger_legs SET amount_milli = 1", "DELETE FROM ledger_legs"],
)
async def test_history_cannot_be_changed(database: Database, statement: str) -> None:
    await post(database, deposit(100))
    with pytest.raises(asyncpg.PostgresError):
        async with database.unit_of_work() as uow:
            await uow.connection.execute(statement)
    assert await held(database, "wallet:anna") == 100_000


async def test_a_repeated_transfer_moves_nothing(database: Database) -> None:
    assert await post(database, deposit(100)) == ["deposit/anna/1"]
    again = replace(deposit(100), memo="said again")
    assert await post(database, again, deposit(5, "2")) == ["deposit/anna/2"]
    assert await held(database, "wallet:anna") == 105_000
    assert await held(database, "external") == -105_000


async def test_a_chain_of_transfers_is_posted_in_one_statement(database: Database) -> None:
    chain = [
        deposit(100),
        move("order-1/reserve", ledger.wallet("anna"), ledger.escrow("order-1"), 60),
        move("order-1/settle", ledger.escrow("order-1"), ledger.payable("bpp"), 50),
        move("order-1/settle-rest", ledger.escrow("order-1"), ledger.wallet("anna"), 10),
    ]
    assert len(await post(database, *chain)) == 4
    assert await post(database) == []
    assert [await held(database, a) for a in ("wallet:anna", "escrow:order-1", "payable:bpp")] == [99_950, 0, 50]


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
    assert (await held(database, "wallet:anna"), await held(database, "wallet:ben")) == (1_000_040, 999_960)
    async with database.unit_of_work() as uow:
        assert (await transfers.proof(uow)).balanced


async def test_statements_are_pages_newest_first(database: Database) -> None:
    await post(database, *(deposit(10 + n, str(n)) for n in range(3)))
    async with database.unit_of_work() as uow:
        first = await transfers.statement(uow, "wallet:anna", limit=2)
        assert [t.moved_milli("wallet:anna") for t in first] == [12_000, 11_000]
        rest = await transfers.statement(uow, "wallet:anna", after=first[-1].transfer_id, limit=2)
        assert rest == [deposit(10, "0")]
        assert await transfers.balances(uow, "wallet:anna") == {DOLLAR: 33_000}


async def test_the_proof_shows_balanced_books_by_currency(database: Database) -> None:
    await post(database, deposit(100), deposit(7, "2", currency="INR"))
    async with database.unit_of_work() as uow:
        proof = await transfers.proof(uow)
    assert (proof.balanced, proof.problems, proof.transfers) == (True, (), 2)
    assert proof.moved_milli == {"INR": 7_000, DOLLAR: 100_000}


async def test_the_proof_names_a_balance_that_was_tampered_with(database: Database) -> None:
    await post(database, deposit(100))
    async with database.unit_of_work() as uow:
        await uow.connection.execute("UPDATE ledger_accounts SET balance_milli = 90000 WHERE account = 'wallet:anna'")
    async with database.unit_of_work() as uow:
        proof = await transfers.proof(uow)
    assert not proof.balanced
    assert proof.problems == (
        "wallet:anna in USD holds 90000 but its transfers sum to 100000",
        "balances in USD sum to -10000, not to zero",
    )


# The database's own guards: what no code of ours would write.


async def insert_raw(database: Database, legs: list[tuple[str, int, str, str, int]], *, transfer: bool = True) -> None:
    """A transfer and its legs written past `transfers.post`, in one unit of work and one statement for all legs."""
    async with database.unit_of_work() as uow:
        if transfer:
            await uow.connection.execute(
                "WITH t AS (INSERT INTO ledger_transfers (transfer_id, at) VALUES ('t', now()) RETURNING seq)"
                " INSERT INTO ledger_legs SELECT l.id, l.leg, t.seq, l.account, l.currency, l.amount FROM t,"
                " unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::bigint[])"
                " AS l(id, leg, account, currency, amount)",
                *(list(column) for column in zip(*legs, strict=True)),
            )
        else:
            await uow.connection.executemany("INSERT INTO ledger_legs VALUES ($1, $2, 1, $3, $4, $5)", legs)


@pytest.mark.parametrize(
    "legs",
    [
        pytest.param([("t", 0, "a", DOLLAR, -5), ("t", 1, "b", DOLLAR, 4)], id="money is lost"),
        pytest.param([("t", 0, "a", DOLLAR, -5), ("t", 1, "b", "INR", 5)], id="one currency becomes another"),
        pytest.param([("t", 0, "a", DOLLAR, 5)], id="money from nowhere"),
    ],
)
async def test_the_database_refuses_legs_that_do_not_sum_to_zero_per_currency(
    database: Database, legs: list[tuple[str, int, str, str, int]]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="do not sum to zero"):
        await insert_raw(database, legs)


async def test_the_database_refuses_legs_without_their_transfer_and_a_transfer_without_legs(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await insert_raw(database, [("t", 0, "a", DOLLAR, -5), ("t", 1, "b", DOLLAR, 5)], transfer=False)
    with pytest.raises(asyncpg.CheckViolationError, match="has no legs"):
        async with database.unit_of_work() as uow:
            await uow.connection.execute("INSERT INTO ledger_transfers (transfer_id, at) VALUES ('bare', now())")


async def test_the_database_refuses_more_legs_for_a_transfer_that_is_in_the_books(database: Database) -> None:
    await insert_raw(database, [("t", 0, "a", DOLLAR, -5), ("t", 1, "b", DOLLAR, 5)])
    with pytest.raises(asyncpg.CheckViolationError, match="takes no more legs"):
        async with database.unit_of_work() as uow:
            await uow.connection.execute(
                "INSERT INTO ledger_legs SELECT 't', leg, 1, account, 'USD', amount FROM"
                " (VALUES (2, 'a', -1), (3, 'b', 1)) AS l(leg, account, amount)"
            )


async def test_the_database_refuses_a_leg_of_nothing(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="ledger_leg_moves"):
        await insert_raw(database, [("t", 0, "a", DOLLAR, 0), ("t", 1, "b", DOLLAR, 0)])


# Overdrafts.


async def test_an_overdraft_lets_a_wallet_go_so_far_and_no_further(database: Database) -> None:
    await post(database, deposit(1))
    purse, escrow = ledger.wallet("anna"), ledger.escrow("order-1")
    async with database.unit_of_work() as uow:
        assert await transfers.available(uow, purse, DOLLAR) == 1_000
        await transfers.allow_overdraft(uow, purse, DOLLAR, overdraft_milli=500)
        assert await transfers.available(uow, purse, DOLLAR) == 1_500
    with pytest.raises(transfers.InsufficientFunds):
        await post(database, move("order-1/reserve", purse, escrow, 1_501))
    await post(database, move("order-1/reserve", purse, escrow, 1_500))
    assert await held(database, purse) == -500
    async with database.unit_of_work() as uow:
        assert (await transfers.proof(uow)).balanced
        assert await transfers.overdrafts(uow, purse) == {DOLLAR: 500}


async def test_an_overdraft_that_is_used_cannot_be_taken_back_and_one_without_limit_has_none(
    database: Database,
) -> None:
    purse = ledger.wallet("anna")
    async with database.unit_of_work() as uow:
        await transfers.allow_overdraft(uow, purse, DOLLAR, overdraft_milli=None)
        assert await transfers.available(uow, purse, DOLLAR) is None
        assert await transfers.available(uow, ledger.wallet("ben"), DOLLAR) == 0
        assert await transfers.available(uow, ledger.external(), "INR") is None
    await post(database, move("order-1/reserve", purse, ledger.escrow("order-1"), 10**12))
    with pytest.raises(transfers.InsufficientFunds):
        async with database.unit_of_work() as uow:
            await transfers.allow_overdraft(uow, purse, DOLLAR, overdraft_milli=10**12 - 1)


async def test_one_transfer_may_have_many_legs_in_many_currencies(database: Database) -> None:
    await post(database, deposit(100), deposit(5, currency="XWH", reference="2", account_id="ben"))
    legs = (
        Leg("wallet:anna", DOLLAR, -50_000),
        Leg("wallet:ben", DOLLAR, 49_000),
        Leg("platform", DOLLAR, 1_000),
        Leg("wallet:ben", "XWH", -5_000),
        Leg("wallet:anna", "XWH", 5_000),
    )
    swap = Transfer("swap", "", "energy for money", EVENING_BEFORE, legs)
    assert await post(database, swap) == ["swap"]
    assert await post(database, replace(swap, legs=legs[::-1])) == []
    async with database.unit_of_work() as uow:
        assert await transfers.get(uow, "swap") == swap
        assert await transfers.get(uow, "other") is None
        assert (await transfers.statement(uow, "wallet:ben", limit=1)) == [swap]
        assert await transfers.balances(uow, "wallet:anna") == {DOLLAR: 50_000, "XWH": 5_000}
        assert (await transfers.proof(uow)).balanced
