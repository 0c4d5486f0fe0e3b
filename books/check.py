"""What `powershare ledger check` proves beyond the sums (`store.transfers.proof`): that orders and money fit together.

1. Every completed order is covered: its settlements moved exactly what its settlement says, account by account.
2. No escrow is held for an order that is over, that passed the last instant at which it is settled, or that is unknown.
3. Every order made both nodes' books say the same: what the buyer's owes is what the seller's is owed.

The rows that break are named in the order they are found, by account, transfer and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from store import ledger_checks
from store.db import UnitOfWork
from store.ledger_checks import Escrow, Owed
from store.transfers import Broken
from trade import deadlines, ledger
from trade.money import amount_from_milli
from trade.order import Order, OrderState

#: Orders read at once.
PAGE = 2000
#: Broken rows named at most, of each kind: the first is what a person looks at.
BROKEN_MAX = 100
#: Accounts whose part in a settlement depends on what the buyer had, not on what was settled.
_PURSES = ("wallet:", "escrow:", "debt:")


async def orders(uow: UnitOfWork, *, now_trading: datetime) -> list[Broken]:
    """Where one node's orders and money do not fit together."""
    return [*await _uncovered(uow), *_overstayed(await ledger_checks.escrows(uow), now_trading)][:BROKEN_MAX]


async def owed(uow: UnitOfWork) -> list[Owed]:
    """What every order of a node made one node owe the other."""
    found: list[Owed] = []
    after: str | None = ""
    while after is not None:
        rows, after = await ledger_checks.owed(uow, after=after, limit=PAGE)
        found += rows
    return found


def contradictions(owed_by_node: Mapping[str, Sequence[Owed]]) -> list[tuple[str, Broken]]:
    """Orders about which two nodes' books differ, each with the node whose row is named.

    `owed_by_node` has the rows of each node by its subscriber id. Orders with nodes that are not among them cannot
    be judged and are passed over.
    """
    sides: dict[tuple[str, str, str, str], dict[str, Owed]] = {}
    for node, rows in owed_by_node.items():
        for row in rows:
            if row.counterparty_id in owed_by_node:
                buyer, seller = (node, row.counterparty_id) if row.side == "BUYER" else (row.counterparty_id, node)
                sides.setdefault((buyer, seller, row.wire_order_id, row.currency), {})[row.side] = row
    found = []
    for (buyer, seller, wire_order_id, currency), pair in sorted(sides.items()):
        owes, due = (pair[side].owed_milli if side in pair else 0 for side in ("BUYER", "SELLER"))
        if owes == due:
            continue
        row = pair.get("BUYER") or pair["SELLER"]
        account = ledger.payable(seller) if row.side == "BUYER" else ledger.receivable(buyer)
        sentence = (
            f"order {wire_order_id}: {buyer} says it owes {seller} {amount_from_milli(owes, currency)} {currency};"
            f" {seller} says it is owed {amount_from_milli(due, currency)}"
        )
        node = buyer if row.side == "BUYER" else seller
        found.append((node, Broken(sentence, account, row.transfer_id, row.order_id)))
    return found[:BROKEN_MAX]


async def _uncovered(uow: UnitOfWork) -> list[Broken]:
    broken: list[Broken] = []
    after = ""
    while rows := await ledger_checks.settled(uow, after=after, limit=PAGE):
        for order, moved in rows:
            broken += _faults_of(order, moved)
        after = rows[-1][0].order_id
    return broken


def _faults_of(order: Order, moved: Mapping[str, int]) -> list[Broken]:
    if order.settlement is None:
        return [Broken(f"order {order.order_id} is completed without a settlement", order_id=order.order_id)]
    due = ledger.dues(order, order.settlement)
    booked = {account: amount for account, amount in moved.items() if amount and not account.startswith(_PURSES)}
    transfer_id = f"{order.order_id}/settle/{order.settlement.version}"
    return [
        Broken(
            f"order {order.order_id}: its settlement gives {account} {due.get(account, 0)}, its transfers give it"
            f" {booked.get(account, 0)}",
            account,
            transfer_id,
            order.order_id,
        )
        for account in sorted(due.keys() | booked.keys())
        if due.get(account, 0) != booked.get(account, 0)
    ]


def _overstayed(escrows: Sequence[Escrow], now_trading: datetime) -> list[Broken]:
    broken = []
    for held in escrows:
        order, why = held.order, ""
        if order is None:
            why = "which no order of this node has"
        elif held.is_over:
            why = f"whose order is {order.state}"
        elif (until := _until(order)) < now_trading:
            why = f"whose order should have been settled by {until.isoformat()}"
        if why:
            sentence = (
                f"{held.account} holds {amount_from_milli(held.balance_milli, held.currency)} {held.currency}, {why}"
            )
            broken.append(Broken(sentence, held.account, order_id=order.order_id if order else ""))
    return broken


def _until(order: Order) -> datetime:
    """The last instant at which an escrow may be held: the settlement's, or the end of a dispute."""
    if order.state is OrderState.DISPUTED and order.dispute is not None:
        return order.dispute.until
    return deadlines.settle_by(order)
