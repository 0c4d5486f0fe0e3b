"""Whether a buyer's and a seller's node tell the same of the orders between them, line by line, slot by slot.

Both nodes list their settled orders with each other as `settled_document`s, in order of the id that is on the wire; an
operator of both, or two operators who exchange the lists, compare them here. Every difference is a sentence that names
the order, the slot or line, and both figures: the reason of a dispute, readable on either side. Of an order whose
dispute was decided only what is owed is compared, for whoever gave in keeps the lines of its own calculation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from books import statements
from trade.money import amount_from_milli, kwh_from_wh, price_from_micro
from trade.order import Order, Side
from trade.quote import LineKind

#: Differences that one order is charged with at most; the first ones tell the story.
DIFFERENCES_MAX = 20

_SLOT_FIGURES = (
    ("contracted_wh", "contracted", False),
    ("final_wh", "final", False),
    ("buyer_alloc_wh", "the buyer's allocation", True),
    ("seller_alloc_wh", "the seller's allocation", True),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What two nodes do not agree on about one order; an id is empty where that node does not know it."""

    wire_order_id: str
    buyers_order_id: str
    sellers_order_id: str
    sentence: str


def settled_document(order: Order, *, between_nodes_milli: int) -> dict[str, Any]:
    """An order as both nodes list it: all its settlements, and what the buyer's node owes the seller's for it.

    `between_nodes_milli` is positive by what the ledger says is owed, on either node.
    """
    results = [*order.superseded, *([order.settlement] if order.settlement else [])]
    moved = {f"{order.order_id}/settle/{result.version}" for result in results}
    fee_milli = -between_nodes_milli if order.side is Side.BUYER else between_nodes_milli
    document = statements.order_document(order, period=None, moved=moved, cancelled_milli=fee_milli)
    return document | {"between_nodes_milli": between_nodes_milli}


def compare(buyers: Iterable[Mapping[str, Any]], sellers: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Every difference between two nodes' lists of the orders between them, by wire id."""
    ours = {order["wire_order_id"]: order for order in buyers}
    theirs = {order["wire_order_id"]: order for order in sellers}
    found = []
    for wire_order_id in sorted(ours.keys() | theirs.keys()):
        buyer, seller = ours.get(wire_order_id), theirs.get(wire_order_id)
        for _, sentence in zip(range(DIFFERENCES_MAX), _sentences(wire_order_id, buyer, seller), strict=False):
            found.append(
                Difference(
                    wire_order_id,
                    buyer["order_id"] if buyer else "",
                    seller["order_id"] if seller else "",
                    sentence,
                )
            )
    return found


def _sentences(wire_order_id: str, buyer: Mapping[str, Any] | None, seller: Mapping[str, Any] | None) -> Iterator[str]:
    name = f"Order {wire_order_id}"
    if buyer is None:
        yield f"{name}: the seller's node has settled it, the buyer's has not."
        return
    if seller is None:
        yield f"{name}: the buyer's node has settled it, the seller's has not."
        return
    for field in ("currency", "policy"):
        if buyer[field] != seller[field]:
            yield f"{name}: its {field} is {buyer[field]} at the buyer's node and {seller[field]} at the seller's."
            return
    if not any(_is_decided(order) for order in (buyer, seller)):
        yield from _slots(name, buyer, seller)
        yield from _versions(name, buyer, seller)
    owes, owed = buyer["between_nodes_milli"], seller["between_nodes_milli"]
    if owes != owed:
        yield f"{name}: the buyer's node owes {_money(owes, buyer)} for it, the seller's is owed {_money(owed, buyer)}."


def _is_decided(order: Mapping[str, Any]) -> bool:
    """True when a dispute was decided here: each side keeps its own lines then, and only what is owed has to agree."""
    return any(line["kind"] == LineKind.RESOLUTION for version in order["versions"][-1:] for line in version["lines"])


def _slots(name: str, buyer: Mapping[str, Any], seller: Mapping[str, Any]) -> Iterator[str]:
    ours = {slot["start"]: slot for slot in buyer["slots"]}
    theirs = {slot["start"]: slot for slot in seller["slots"]}
    for start in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(start, {}), theirs.get(start, {})
        for field, words, may_be_unknown in _SLOT_FIGURES:
            left, right = mine.get(field), other.get(field)
            if may_be_unknown and (left is None or right is None):
                continue  # one side has not heard of it: what follows from it is compared as final
            if (left or 0) != (right or 0):
                yield (
                    f"{name}, slot {start}: {words} is {kwh_from_wh(left or 0)} kWh at the buyer's node"
                    f" and {kwh_from_wh(right or 0)} kWh at the seller's."
                )
        left, right = mine.get("price_micro_per_kwh"), other.get("price_micro_per_kwh")
        if left is not None and right is not None and left != right:
            yield (
                f"{name}, slot {start}: the price is {price_from_micro(left)} at the buyer's node"
                f" and {price_from_micro(right)} at the seller's."
            )


def _versions(name: str, buyer: Mapping[str, Any], seller: Mapping[str, Any]) -> Iterator[str]:
    if len(buyer["versions"]) != len(seller["versions"]):
        yield (
            f"{name}: the buyer's node has settled it {len(buyer['versions'])} time(s),"
            f" the seller's {len(seller['versions'])}."
        )
    for mine, other in list(zip(buyer["versions"], seller["versions"], strict=False))[-1:]:
        ours, theirs = _by_kind(mine["lines"]), _by_kind(other["lines"])
        for kind in sorted(ours.keys() | theirs.keys()):
            left, right = ours.get(kind, 0), theirs.get(kind, 0)
            if left != right:
                yield (
                    f"{name}, line {kind}: {_money(left, buyer)} at the buyer's node"
                    f" and {_money(right, buyer)} at the seller's."
                )
        if mine["total_milli"] != other["total_milli"]:
            yield (
                f"{name}: its total is {_money(mine['total_milli'], buyer)} at the buyer's node"
                f" and {_money(other['total_milli'], buyer)} at the seller's."
            )
    fees = [order["cancellation"]["total_milli"] if order["cancellation"] else 0 for order in (buyer, seller)]
    if fees[0] != fees[1]:
        yield (
            f"{name}: its cancellation fee is {_money(fees[0], buyer)} at the buyer's node"
            f" and {_money(fees[1], buyer)} at the seller's."
        )


def _by_kind(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line["kind"]] = sums.get(line["kind"], 0) + line["amount_milli"]
    return sums


def _money(amount_milli: int, order: Mapping[str, Any]) -> str:
    return f"{amount_from_milli(amount_milli, order['currency'])} {order['currency']}"
