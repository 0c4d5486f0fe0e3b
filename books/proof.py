"""The proof of a node's books, as a document, and whether the books of two nodes tell the same story.

Each node proves its own ledger (`store.transfers.proof`): every balance is what its transfers add up to, and every
currency sums to zero. No node sees another's ledger. Whoever may read the proofs of several, an operator or a demo,
compares them here: what a buyer's node owes a seller's node is exactly what that node is owed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from store.transfers import LedgerProof
from trade import ledger
from trade.money import amount_from_milli


def document(proof: LedgerProof) -> dict[str, Any]:
    """The proof as both the buyer's and the seller's JSON API answer it."""
    return {
        "balanced": proof.balanced,
        "transfers": proof.transfers,
        "moved_milli": dict(proof.moved_milli),
        "accounts": [
            {"account": entry.account, "currency": entry.currency, "balance_milli": entry.balance_milli}
            for entry in proof.accounts
        ],
        "problems": list(proof.problems),
        "broken": [asdict(row) for row in proof.broken],
    }


def disagreements(proofs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where the books of these nodes contradict each other, a sentence each; empty when they agree.

    `proofs` are proof documents by subscriber id. Debts to nodes that are not among them cannot be judged and are
    passed over. Letters that are still under way show as a difference until they have arrived.
    """
    books = {subscriber_id: _balances(proof) for subscriber_id, proof in proofs.items()}
    sentences = []
    for buyer_id, buyers in sorted(books.items()):
        for seller_id, sellers in sorted(books.items()):
            owed, due = ledger.payable(seller_id), ledger.receivable(buyer_id)
            in_buyers = {currency for account, currency in buyers if account == owed}
            in_sellers = {currency for account, currency in sellers if account == due}
            for currency in sorted(in_buyers | in_sellers):
                owes, is_owed = buyers.get((owed, currency), 0), -sellers.get((due, currency), 0)
                if owes != is_owed:
                    sentences.append(
                        f"{buyer_id} says it owes {seller_id} {amount_from_milli(owes, currency)} {currency};"
                        f" {seller_id} says it is owed {amount_from_milli(is_owed, currency)}"
                    )
    return sentences


def _balances(proof: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    return {(entry["account"], entry["currency"]): int(entry["balance_milli"]) for entry in proof["accounts"]}
