"""Two nodes' books are compared by what one owes and the other is owed."""

from __future__ import annotations

from typing import Any

from books import proof
from store.transfers import AccountProof, Broken, LedgerProof
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import ledger, settlement
from trade.ledger import Transfer
from trade.order import Side

BAP, BPP = "bap.example", "bpp.example"


def proven(transfers: list[Transfer], *, problems: tuple[str, ...] = ()) -> dict[str, Any]:
    accounts = tuple(
        AccountProof(account, currency, balance, balance)
        for (account, currency), balance in ledger.balances(transfers).items()
    )
    broken = tuple(Broken(sentence) for sentence in problems)
    return proof.document(LedgerProof(not problems, accounts, broken, len(transfers), {"USD": 1}))


def both_books() -> tuple[list[Transfer], list[Transfer]]:
    buyers, sellers = an_order(), an_order(side=Side.SELLER)
    result = settlement.settle(buyers, seller_alloc_wh=hours(900, 2000), now=SLOT_START)
    reserved = ledger.reserve(buyers, at=EVENING_BEFORE)
    paid = ledger.buyer_settle(buyers, result, at=SLOT_START)
    return [*reserved, *paid], ledger.seller_settle(sellers, result, at=SLOT_START)


def test_a_settlement_that_only_the_buyer_booked_is_a_disagreement() -> None:
    buyers, _ = both_books()
    assert proof.disagreements({BAP: proven(buyers), BPP: proven([])}) == [
        "bap.example says it owes bpp.example 0.667 USD; bpp.example says it is owed 0.00"
    ]


def test_a_settlement_that_only_the_seller_booked_is_a_disagreement() -> None:
    _, sellers = both_books()
    assert proof.disagreements({BAP: proven([]), BPP: proven(sellers)}) == [
        "bap.example says it owes bpp.example 0.00 USD; bpp.example says it is owed 0.667"
    ]


def test_a_seller_that_booked_a_settlement_twice_is_a_disagreement() -> None:
    buyers, sellers = both_books()
    assert proof.disagreements({BAP: proven(buyers), BPP: proven([*sellers, *sellers])})


def test_books_of_the_same_history_agree() -> None:
    buyers, sellers = both_books()
    assert proof.disagreements({BAP: proven(buyers), BPP: proven(sellers)}) == []


def test_debts_to_a_node_whose_books_nobody_showed_are_passed_over() -> None:
    buyers, _ = both_books()
    assert proof.disagreements({BAP: proven(buyers), "bpp-east.example": proven([])}) == []


def test_a_proof_document_says_what_is_wrong() -> None:
    found = proven([], problems=("wallet:anna in USD is overdrawn by 5",))
    assert (found["balanced"], found["problems"]) == (False, ["wallet:anna in USD is overdrawn by 5"])
