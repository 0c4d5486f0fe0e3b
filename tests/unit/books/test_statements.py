"""Statements add up, on both nodes, in every period, and the nodes' statements of one order agree."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from books import pdf, reconcile, statement_csv, statements
from books.statements import BooksDisagree, Holder, Movement, StatementTooLong
from tests.support.statement_cases import PENALISED, TwoBooks, histories
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, hours
from trade import ledger, periods
from trade.order import Order
from trade.periods import Period, PeriodInvalid, period
from trade.quote import SettlementResult

ANNA = Holder("account", "anna", "Anna")
HOME = Holder("provider", "home-7", "Home 7")
ZONE = "America/New_York"


def inside(movements: Sequence[Movement], when: Period) -> list[Movement]:
    return [movement for movement in movements if when.start <= movement.at < when.end]


def statement(
    holder: Holder, movements: Sequence[Movement], orders: Sequence[Order], when: Period | None
) -> dict[str, Any]:
    """A statement as a node would build it from all its books."""
    before = [movement for movement in movements if when and movement.at < when.start]
    brought = {"USD": sum(movement.amount_milli for movement in before)} if before else {}
    return statements.build(
        node_id="node.example",
        holder=holder,
        period=when,
        brought_milli=brought,
        movements=inside(movements, when) if when else movements,
        orders=orders,
    )


def a_corrected_history() -> TwoBooks:
    """Two orders of 2 August; one is corrected on the 3rd, one cancelled."""
    books = TwoBooks()
    books.deposit(1_000, EVENING_BEFORE)
    books.contract("order-1", 1000, 2000, 0, at=EVENING_BEFORE)
    books.contract("order-2", 500, 500, 500, at=EVENING_BEFORE)
    books.settle("order-1", (1000, 1500, 0), (0, 0, 0), at=SLOT_START + timedelta(hours=5))
    books.cancel("order-2", at=SLOT_START)
    books.settle("order-1", (1000, 1800, 0), (0, 0, 0), at=SLOT_START + timedelta(hours=29))
    return books


# --- Periods ----------------------------------------------------------------------------------------------------------


def test_a_day_of_daylight_saving_has_23_or_25_hours() -> None:
    spring, autumn = period("2017-03-12", ZONE), period("2017-11-05", ZONE)
    assert (spring.end - spring.start, autumn.end - autumn.start) == (timedelta(hours=23), timedelta(hours=25))
    assert period("2017-03-11", ZONE).end == spring.start


def test_a_month_ends_where_the_next_begins() -> None:
    assert period("2017-12", ZONE).end == period("2018-01", ZONE).start == datetime(2018, 1, 1, 5, tzinfo=UTC)
    assert period("2017-02", "UTC").end == datetime(2017, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["2017", "2017-13", "2017-02-29", "2017-1", "1999-01", "9999-12", "today", "2017-05-"])
def test_what_is_no_civil_day_or_month_is_refused(name: str) -> None:
    with pytest.raises(PeriodInvalid, match="send a month"):
        period(name, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "a" * 300])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(PeriodInvalid) as refusal:
        period("2017-05", zone)
    assert refusal.value.field == "zone"


# --- What a statement says --------------------------------------------------------------------------------------------


def test_a_corrected_settlement_shows_the_first_and_the_difference() -> None:
    books = a_corrected_history()
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), None)
    order = next(order for order in made["orders"] if order["order_id"] == "order-1")
    # 1 kWh and 1.5 kWh at 0.21 and wheeling at 0.02, then 0.3 kWh more; thousandths of a cent.
    assert [version["total_milli"] for version in order["versions"]] == [57_500, 64_400]
    assert [version["difference_milli"] for version in order["versions"]] == [-57_500, -6_900]
    assert [slot["final_wh"] for slot in order["slots"]] == [1000, 1800]


def test_a_correction_is_of_the_day_it_was_booked() -> None:
    books = a_corrected_history()
    orders, moved = list(books.bought.values()), books.movements_of_anna()
    first = statement(ANNA, moved, orders, period("2016-08-02", "UTC"))
    second = statement(ANNA, moved, orders, period("2016-08-03", "UTC"))
    assert first["totals"][0]["corrected_milli"] == 0
    (total,) = second["totals"]
    assert (total["settled_milli"], total["corrected_milli"], total["due_milli"]) == (0, -6_900, 6_900)
    assert total["brought_forward_milli"] == first["totals"][0]["carried_forward_milli"]
    assert [order["order_id"] for order in second["orders"]] == ["order-1"]


def test_reserving_money_is_no_movement_of_a_consumer() -> None:
    books = TwoBooks()
    books.deposit(1_000, EVENING_BEFORE)
    books.contract("order-1", 1000, 0, 0, at=EVENING_BEFORE)
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), None)
    assert [movement["memo"].split()[0] for movement in made["movements"]] == ["deposit"]
    assert made["orders"] == []


def test_the_invoice_total_is_rounded_once_and_the_rest_is_named() -> None:
    books = a_corrected_history()
    (total,) = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), None)["totals"]
    assert total["due_milli"] == total["invoice_total_minor"] * 1000 + total["rounding_milli"]
    assert abs(total["rounding_milli"]) <= 500
    # 0.575 + 0.069 dollars and a quarter of 1.5 kWh at 0.21 as fee: 0.64400 + 0.07875
    assert (total["due_milli"], total["invoice_total_minor"], total["rounding_milli"]) == (72_275, 72, 275)


def test_an_order_settled_at_nothing_is_shown_on_its_day() -> None:
    books = TwoBooks()
    books.deposit(1_000, EVENING_BEFORE)
    books.contract("order-1", 1000, 0, 0, at=EVENING_BEFORE)
    books.settle("order-1", (0, 0, 0), (0, 0, 0), at=SLOT_START + timedelta(hours=5))
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08-02", "UTC"))
    assert [version["total_milli"] for version in made["orders"][0]["versions"]] == [0]


def test_a_cancellation_fee_that_a_dispute_changed_is_of_the_day_it_was_booked() -> None:
    # The fee of 1.5 kWh at 0.21 was a quarter; a week later both agree on nothing, and the seller gives it back.
    books = a_corrected_history()
    order, paid_back = books.sold["order-2"], SLOT_START + timedelta(days=7)
    assert order.quote is not None
    booked = SettlementResult(hours(0, 0, 0), order.quote.lines, SLOT_START, version=0)
    none = SettlementResult(hours(0, 0, 0), (), paid_back)
    books.sellers += ledger.seller_settle(order, none, earlier=booked, at=paid_back)
    books.sold["order-2"] = replace(order, quote=replace(order.quote, lines=()))
    moved, orders = books.movements_of_home(), list(books.sold.values())
    first = statement(HOME, moved, orders, period("2016-08-02", "UTC"))
    later = statement(HOME, moved, orders, period("2016-08-09", "UTC"))
    assert first["totals"][0]["cancellation_fees_milli"] == 7_875
    assert later["totals"][0]["cancellation_fees_milli"] == -7_875
    assert later["orders"][0]["cancellation"]["lines"][0]["kind"] == "CANCELLATION_FEE"


def test_books_that_disagree_are_not_printed_over() -> None:
    books = a_corrected_history()
    missing = books.movements_of_anna()[:-1]
    broken = [replace(missing[1], amount_milli=missing[1].amount_milli - 1), *missing[2:]]
    with pytest.raises(BooksDisagree, match="order-"):
        statement(ANNA, broken, list(books.bought.values()), None)
    with pytest.raises(BooksDisagree, match="no settlement says"):
        statement(ANNA, books.movements_of_anna(), [], None)


def test_a_statement_is_bounded_and_says_what_to_ask_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    books = a_corrected_history()
    monkeypatch.setattr(statements, "MOVEMENTS_MAX", 2)
    with pytest.raises(StatementTooLong, match="days one by one"):
        statement(ANNA, books.movements_of_anna(), list(books.bought.values()), None)
    monkeypatch.setattr(statements, "MOVEMENTS_MAX", 100)
    monkeypatch.setattr(statements, "ORDERS_MAX", 1)
    with pytest.raises(StatementTooLong, match="more than 1 orders"):
        statement(ANNA, books.movements_of_anna(), list(books.bought.values()), None)


@given(histories())
def test_statements_add_up_to_the_ledgers_legs_in_every_period(books: TwoBooks) -> None:
    for holder, movements, orders in (
        (ANNA, books.movements_of_anna(), list(books.bought.values())),
        (HOME, books.movements_of_home(), list(books.sold.values())),
    ):
        whole = statement(holder, movements, orders, None)
        moved = sum(movement.amount_milli for movement in movements)
        assert sum(total["carried_forward_milli"] for total in whole["totals"]) == moved
        carried = 0
        for day in range(1, 15):
            made = statement(holder, movements, orders, period(f"2016-08-{day:02}", ZONE))
            for total in made["totals"]:
                assert total["brought_forward_milli"] == carried
                carried = total["carried_forward_milli"]
        month = statement(holder, movements, orders, period("2016-08", ZONE))
        assert sum(total["carried_forward_milli"] for total in month["totals"]) == carried
    held = ledger.balances(books.buyers)
    own = (ledger.wallet("anna"), ledger.debt("anna"), *(ledger.escrow(name) for name in books.bought))
    assert sum(m.amount_milli for m in books.movements_of_anna()) == sum(held.get((name, "USD"), 0) for name in own)


@given(histories())
def test_both_nodes_statements_of_every_order_agree(books: TwoBooks) -> None:
    ours = [
        reconcile.settled_document(order, between_nodes_milli=books.between(name)[0])
        for name, order in books.bought.items()
    ]
    theirs = [
        reconcile.settled_document(order, between_nodes_milli=books.between(name)[1])
        for name, order in books.sold.items()
    ]
    assert reconcile.compare(ours, theirs) == []


# --- Forms ------------------------------------------------------------------------------------------------------------


def test_the_same_books_give_the_same_bytes_in_every_form() -> None:
    first, second = (
        statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08", ZONE))
        for books in (a_corrected_history(), a_corrected_history())
    )
    for form in (statements.json_bytes, statement_csv.csv_bytes, pdf.pdf_bytes):
        assert form(first) == form(second)


def test_the_table_adds_up_by_itself() -> None:
    books = a_corrected_history()
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08", ZONE))
    rows = list(csv.DictReader(io.StringIO(statement_csv.csv_bytes(made).decode())))
    balances = [int(row["balance_milli"]) for row in rows if row["record"] == "BALANCE"]
    moved = sum(int(row["amount_milli"]) for row in rows if row["record"] == "MOVEMENT")
    assert balances[0] + moved == balances[1]
    settled = sum(int(row["amount_milli"]) for row in rows if row["record"] == "ORDER")
    assert settled == -made["totals"][0]["due_milli"]
    assert sum(int(row["contracted_wh"]) for row in rows if row["record"] == "SLOT") == 4_500


def test_a_table_says_what_it_is_and_whose() -> None:
    books = a_corrected_history()
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08", ZONE))
    for document, kind in ((made, "statement"), (made | {"invoice_number": 7}, "invoice 7")):
        first = next(csv.DictReader(io.StringIO(statement_csv.csv_bytes(document).decode())))
        said = (first["record"], first["kind"], first["title"], first["counterparty"])
        assert said == ("DOCUMENT", kind, made["holder"]["id"], made["node"])


def test_a_print_keeps_the_tables_of_several_currencies_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running balance of another currency than the line above it would mislead."""
    books = a_corrected_history()
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08", ZONE))
    foreign = [movement | {"currency": "XWH"} for movement in made["movements"][:1]]
    headings: list[str] = []
    monkeypatch.setattr(pdf.Paper, "heading", lambda _, text: headings.append(text))
    pdf.pdf_bytes(made | {"movements": [*made["movements"], *foreign]})
    assert [text for text in headings if text.startswith("Movements")] == ["Movements in USD", "Movements in XWH"]
    headings.clear()
    pdf.pdf_bytes(made)
    assert headings[-1] == "Movements"


def test_text_of_strangers_is_no_formula_in_a_spreadsheet() -> None:
    books = a_corrected_history()
    orders = [replace(order, counterparty_id="=cmd|' /C calc'!A0") for order in books.bought.values()]
    made = statement(ANNA, books.movements_of_anna(), orders, None)
    assert b"'=cmd" in statement_csv.csv_bytes(made)
    assert b",=cmd" not in statement_csv.csv_bytes(made)


def test_a_print_has_numbered_pages_and_repeats_its_heads() -> None:
    books = TwoBooks()
    books.deposit(100_000, EVENING_BEFORE)
    for number in range(60):
        books.contract(f"order-{number}", 100, 200, 300, at=EVENING_BEFORE, under=PENALISED)
        books.settle(f"order-{number}", (90, 200, 300), (100, 150, 300), at=SLOT_START + timedelta(hours=5))
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08-02", "UTC"))
    printed = pdf.pdf_bytes(made | {"holder": {"kind": "account", "id": "anna", "name": "Änna \u4f60"}})
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 8
    assert len(printed) < 300_000


def test_slots_beyond_what_is_printed_are_left_to_the_other_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    books = a_corrected_history()
    made = statement(ANNA, books.movements_of_anna(), list(books.bought.values()), period("2016-08-02", "UTC"))
    whole = pdf.pdf_bytes(made)
    monkeypatch.setattr(pdf, "SLOTS_PRINTED_MAX", 1)
    assert pdf.pdf_bytes(made) != whole


def test_hours_are_as_the_wall_shows_them_in_the_statements_zone() -> None:
    assert periods.period("2016-08-02", ZONE).start == datetime(2016, 8, 2, 4, tzinfo=UTC)
    assert hours(1).start == SLOT_START
