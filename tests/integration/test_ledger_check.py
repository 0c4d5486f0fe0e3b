"""`powershare ledger check` over two nodes' databases: what is right, and every way to be wrong.

Each test breaks one thing the way a bug or a hand in the database would, and the check names that row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import ledger as command
from cli.main import app
from cli.servers import Servers
from store import orders, transfers
from store.access import ClockRows
from store.db import Database
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE, SLOT_START, an_order, hours
from trade import ledger, settlement
from trade.ledger import Leg, Transfer
from trade.order import Order, OrderState, Side

BAP, BPP = "bap.example", "bpp.example"
AFTER = SLOT_START + timedelta(hours=3)


@dataclass
class Books:
    """Both nodes' databases."""

    buyer: Database
    seller: Database
    urls: dict[str, str]

    async def checked(self) -> command.Checked:
        return await command._check(self.urls)

    async def keep(self, side: Side, order: Order, *moved: Transfer) -> None:
        database = self.buyer if side is Side.BUYER else self.seller
        async with database.unit_of_work() as uow:
            await orders.insert(uow, order)
            await transfers.post(uow, moved)

    async def post(self, database: Database, *moved: Transfer) -> None:
        async with database.unit_of_work() as uow:
            await transfers.post(uow, moved)


@pytest.fixture
async def books(servers: Servers, migrated_template: str) -> AsyncIterator[Books]:
    """Both nodes with one order over 0.69, of which 0.667 was delivered, settled and booked on both sides."""
    urls = {
        BAP: servers.create_database("check_buyer", template=migrated_template),
        BPP: servers.create_database("check_seller", template=migrated_template),
    }
    opened = Books(await Database.connect(urls[BAP], pool_max=2), await Database.connect(urls[BPP], pool_max=2), urls)
    await set_clock(opened, AFTER)
    paid_in = ledger.deposit(account_id="anna", amount_minor=500, currency=DOLLAR, reference="1", at=EVENING_BEFORE)
    await opened.post(opened.buyer, paid_in)
    buyers, sellers = completed(Side.BUYER), completed(Side.SELLER)
    assert buyers.settlement and sellers.settlement
    await opened.keep(
        Side.BUYER,
        buyers,
        *ledger.reserve(buyers, at=EVENING_BEFORE),
        *ledger.buyer_settle(buyers, buyers.settlement, at=AFTER),
    )
    await opened.keep(Side.SELLER, sellers, *ledger.seller_settle(sellers, sellers.settlement, at=AFTER))
    yield opened
    await opened.buyer.close()
    await opened.seller.close()
    servers.drop_database("check_buyer")
    servers.drop_database("check_seller")


async def set_clock(books: Books, now: datetime) -> None:
    for database in (books.buyer, books.seller):
        await ClockRows(database).save(now)


def completed(side: Side, order_id: str = "order-1") -> Order:
    own = order_id if side is Side.BUYER else f"seller-{order_id}"
    order = an_order(side=side, order_id=own, wire_order_id=order_id, state=OrderState.COMPLETED)
    order = replace(order, transaction_id=f"transaction-of-{order_id}")
    return replace(order, settlement=settlement.settle(order, seller_alloc_wh=hours(1000, 1900), now=AFTER))


def move(transfer_id: str, source: str, target: str, amount_milli: int, *, order_id: str = "") -> Transfer:
    return ledger.between(
        transfer_id=transfer_id,
        source=source,
        target=target,
        amount_milli=amount_milli,
        currency=DOLLAR,
        memo="",
        at=AFTER,
        order_id=order_id,
    )


async def test_books_of_two_nodes_that_settled_an_order_are_right(books: Books) -> None:
    checked = await books.checked()
    assert checked.problems == ()
    assert checked.is_right and checked.first_broken == ""
    assert [(book.subscriber_id, book.transfers, book.moved) for book in checked.books] == [
        (BAP, 3, "6.38 USD"),  # 5.00 in, 0.69 reserved, 0.69 settled
        (BPP, 1, "0.667 USD"),
    ]


async def test_a_settlement_that_was_booked_for_another_amount_is_named_with_order_transfer_and_account(
    books: Books,
) -> None:
    order = completed(Side.BUYER, "order-2")
    assert order.settlement and order.quote
    wrong = Transfer(
        "order-2/settle/1",
        "order-2",
        "",
        AFTER,
        (
            Leg("escrow:order-2", DOLLAR, -69_000),
            Leg("payable:bpp.example", DOLLAR, 66_701),
            Leg("wallet:anna", DOLLAR, 2_299),
        ),
    )
    await books.keep(Side.BUYER, order, *ledger.reserve(order, at=EVENING_BEFORE), wrong)
    checked = await books.checked()
    assert checked.first_broken == (
        "node bap.example, order order-2, transfer order-2/settle/1, account payable:bpp.example"
    )
    assert checked.problems[0] == (
        "bap.example: order order-2: its settlement gives payable:bpp.example 66700, its transfers give it 66701"
    )
    assert not checked.is_right


async def test_a_completed_order_that_was_never_booked_is_uncovered(books: Books) -> None:
    await books.keep(Side.SELLER, completed(Side.SELLER, "order-3"))
    checked = await books.checked()
    assert [row.account for _, row in checked.broken] == [
        "provider:home-7",
        "receivable:bap.example",
        "utility",
    ]
    assert checked.first_broken.startswith("node bpp.example, order seller-order-3, transfer seller-order-3/settle/1")


async def test_a_correction_is_covered_by_both_transfers_together(books: Books) -> None:
    for side, database in ((Side.BUYER, books.buyer), (Side.SELLER, books.seller)):
        order = completed(side)
        first = order.settlement
        again = settlement.settle(order, seller_alloc_wh=hours(1000, 2000), now=AFTER, version=2)
        moved = (
            ledger.buyer_settle(order, again, earlier=first, at=AFTER, wallet_milli=1_000)
            if side is Side.BUYER
            else ledger.seller_settle(order, again, earlier=first, at=AFTER)
        )
        async with database.unit_of_work() as uow:
            await orders.save(uow, replace(order, settlement=again))
        uncovered = await books.checked()
        assert not uncovered.is_right
        await books.post(database, *moved)
    assert (await books.checked()).problems == ()
    async with books.buyer.unit_of_work() as uow:
        assert await transfers.balances(uow, "debt:anna") == {DOLLAR: -1_300}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (OrderState.CANCELLED, "whose order is CANCELLED"),
        (OrderState.EXPIRED, "whose order is EXPIRED"),
        (OrderState.COMPLETED, "whose order is COMPLETED"),
    ],
)
async def test_escrow_of_an_order_that_is_over_is_named(books: Books, state: OrderState, says: str) -> None:
    order = replace(completed(Side.BUYER, "order-4"), state=state)
    settled = replace(order.settlement, lines=(), flows=()) if order.settlement else None
    order = replace(order, settlement=settled if state is OrderState.COMPLETED else None)
    await books.keep(Side.BUYER, order, *ledger.reserve(order, at=EVENING_BEFORE))
    [(node, row)] = (await books.checked()).broken
    assert (node, row.account, row.order_id) == (BAP, "escrow:order-4", "order-4")
    assert row.sentence == f"escrow:order-4 holds 0.69 USD, {says}"


async def test_escrow_past_the_orders_last_instant_is_named_and_before_it_is_right(books: Books) -> None:
    order = replace(completed(Side.BUYER, "order-5"), state=OrderState.DELIVERING, settlement=None)
    await books.keep(Side.BUYER, order, *ledger.reserve(order, at=EVENING_BEFORE))
    assert (await books.checked()).is_right
    await set_clock(books, SLOT_START + timedelta(days=365))
    [(_, row)] = (await books.checked()).broken
    assert row.order_id == "order-5"
    assert "should have been settled by" in row.sentence


async def test_escrow_of_an_order_nobody_knows_is_named(books: Books) -> None:
    await books.post(books.buyer, move("order-6/reserve", "wallet:anna", "escrow:order-6", 10, order_id="order-6"))
    [(_, row)] = (await books.checked()).broken
    assert row.sentence == "escrow:order-6 holds 0.0001 USD, which no order of this node has"


async def test_the_order_about_which_two_nodes_differ_is_named_though_their_totals_agree(books: Books) -> None:
    """Two errors that cancel each other: the totals cannot show them, the orders do."""
    for number, amount_milli in (("7", 5), ("8", -5)):
        buyers = replace(completed(Side.BUYER, f"order-{number}"), state=OrderState.CANCELLED, settlement=None)
        sellers = replace(completed(Side.SELLER, f"order-{number}"), state=OrderState.CANCELLED, settlement=None)
        source, target = "wallet:anna", "payable:bpp.example"
        fee = move(f"order-{number}/cancel", source, target, 100, order_id=f"order-{number}")
        theirs = move(
            f"seller-order-{number}/cancel",
            "receivable:bap.example",
            "provider:home-7",
            100 + amount_milli,
            order_id=f"seller-order-{number}",
        )
        await books.keep(Side.BUYER, buyers, fee)
        await books.keep(Side.SELLER, sellers, theirs)
    checked = await books.checked()
    assert [row.order_id for _, row in checked.broken] == ["order-7", "order-8"]
    assert checked.problems[0].endswith("says it owes bpp.example 0.001 USD; bpp.example says it is owed 0.00105")
    assert checked.first_broken == (
        "node bap.example, order order-7, transfer order-7/cancel, account payable:bpp.example"
    )


async def test_an_order_that_one_node_never_booked_is_named(books: Books) -> None:
    sellers = replace(completed(Side.SELLER, "order-9"), state=OrderState.CANCELLED, settlement=None)
    fee = move("seller-order-9/cancel", "receivable:bap.example", "provider:home-7", 100, order_id="seller-order-9")
    await books.keep(Side.SELLER, sellers, fee)
    checked = await books.checked()
    assert checked.first_broken == (
        "node bpp.example, order seller-order-9, transfer seller-order-9/cancel, account receivable:bap.example"
    )
    assert len(checked.broken) == 2  # the order, and the totals


async def test_a_balance_that_a_hand_changed_is_the_first_row_named(books: Books) -> None:
    async with books.buyer.unit_of_work() as uow:
        await uow.connection.execute("UPDATE ledger_accounts SET balance_milli = 1 WHERE account = 'wallet:anna'")
    assert (await books.checked()).first_broken == "node bap.example, account wallet:anna"


async def test_the_command_ends_with_one_and_names_the_row(books: Books, tmp_path: Path) -> None:
    named = [f"{node}={url}" for node, url in books.urls.items()]
    arguments = ["ledger", "check", *named, "--directory", str(tmp_path)]
    right = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert (right.exit_code, "every order is covered" in right.output) == (0, True)
    await books.post(books.buyer, move("order-6/reserve", "wallet:anna", "escrow:order-6", 10, order_id="order-6"))
    wrong = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert wrong.exit_code == 1
    assert "First row that breaks: node bap.example, account escrow:order-6" in wrong.output
    assert "The books are NOT right." in wrong.output
