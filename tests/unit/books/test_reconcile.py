"""Differences between two nodes' books are sentences that name the order, the slot or line, and both figures."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from books import reconcile
from tests.support.statement_cases import PENALISED, TwoBooks
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START


def lists() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Both nodes' lists of one settled and one cancelled order; they agree."""
    books = TwoBooks()
    books.deposit(1_000, EVENING_BEFORE)
    books.contract("order-1", 1000, 2000, 0, at=EVENING_BEFORE, under=PENALISED)
    books.contract("order-2", 500, 500, 500, at=EVENING_BEFORE)
    books.settle("order-1", (1000, 1500, 0), (900, 2000, 0), at=SLOT_START + timedelta(hours=5))
    books.cancel("order-2", at=SLOT_START)
    return (
        [reconcile.settled_document(o, between_nodes_milli=books.between(n)[0]) for n, o in books.bought.items()],
        [reconcile.settled_document(o, between_nodes_milli=books.between(n)[1]) for n, o in books.sold.items()],
    )


def sentences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    return [difference.sentence for difference in reconcile.compare(ours, theirs)]


def test_equal_books_have_no_differences() -> None:
    assert sentences(*lists()) == []


def change(path: tuple[Any, ...], value: Any) -> list[str]:
    """What is said when one figure of the seller's is another."""
    ours, theirs = lists()
    theirs = copy.deepcopy(theirs)
    target: Any = theirs
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return sentences(ours, theirs)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ((0, "currency"), "EUR", "Order order-1: its currency is USD at the buyer's node and EUR at the seller's."),
        (
            (0, "policy"),
            "plain@1",
            "Order order-1: its policy is penalised@1 at the buyer's node and plain@1 at the seller's.",
        ),
        (
            (0, "slots", 0, "contracted_wh"),
            900,
            "Order order-1, slot 2016-08-02T15:00:00Z: contracted is 1 kWh at the buyer's node"
            " and 0.9 kWh at the seller's.",
        ),
        (
            (0, "slots", 1, "final_wh"),
            1501,
            "Order order-1, slot 2016-08-02T16:00:00Z: final is 1.5 kWh at the buyer's node"
            " and 1.501 kWh at the seller's.",
        ),
        (
            (0, "slots", 0, "buyer_alloc_wh"),
            1000,
            "Order order-1, slot 2016-08-02T15:00:00Z: the buyer's allocation is 0.9 kWh at the buyer's node"
            " and 1 kWh at the seller's.",
        ),
        (
            (0, "slots", 0, "price_micro_per_kwh"),
            200_000,
            "Order order-1, slot 2016-08-02T15:00:00Z: the price is 0.21 at the buyer's node and 0.2 at the seller's.",
        ),
        ((0, "versions"), [], "Order order-1: the buyer's node has settled it 1 time(s), the seller's 0."),
        (
            (0, "versions", 0, "lines", 0, "amount_milli"),
            50_401,
            "Order order-1, line ENERGY: 0.504 USD at the buyer's node and 0.50401 USD at the seller's.",
        ),
        (
            (1, "cancellation"),
            None,
            "Order order-2: its cancellation fee is 0.07875 USD at the buyer's node and 0.00 USD at the seller's.",
        ),
    ],
)
def test_one_figure_that_differs_is_named_with_both_figures(path: tuple[Any, ...], value: Any, sentence: str) -> None:
    assert change(path, value) == [sentence]


def test_what_the_nodes_owe_each_other_is_compared_too() -> None:
    (sentence,) = change((0, "between_nodes_milli"), 1)
    assert sentence.endswith("the seller's is owed 0.00001 USD.")


def test_an_order_only_one_side_has_settled_is_named_and_keeps_its_id() -> None:
    ours, theirs = lists()
    (missing,) = reconcile.compare(ours, theirs[1:])
    assert missing.sentence == "Order order-1: the buyer's node has settled it, the seller's has not."
    assert (missing.buyers_order_id, missing.sellers_order_id) == ("order-1", "")
    (unknown,) = reconcile.compare(ours[1:], theirs)
    assert unknown.sentence == "Order order-1: the seller's node has settled it, the buyer's has not."


def test_an_allocation_one_side_never_heard_is_no_difference_of_its_own() -> None:
    assert change((0, "slots", 0, "buyer_alloc_wh"), None) == []


def test_one_order_is_charged_with_a_bounded_number_of_differences() -> None:
    ours, theirs = lists()
    long = [{**theirs[0]["slots"][0], "start": f"2016-08-02T15:{minute:02}:00Z"} for minute in range(60)]
    found = reconcile.compare(ours, [theirs[0] | {"slots": long}, theirs[1]])
    assert len(found) == reconcile.DIFFERENCES_MAX


def test_of_an_order_that_people_decided_only_what_is_owed_is_compared() -> None:
    ours, theirs = copy.deepcopy(lists())
    line = {"kind": "RESOLUTION", "title": "ADD_ON", "amount_milli": -5}
    theirs[0]["versions"][-1]["lines"].append(line)
    theirs[0]["versions"].append(theirs[0]["versions"][-1])
    theirs[0]["slots"][0]["price_micro_per_kwh"] = 1
    assert sentences(ours, theirs) == []
    theirs[0]["between_nodes_milli"] += 5
    [sentence] = sentences(ours, theirs)
    assert "the buyer's node owes" in sentence
