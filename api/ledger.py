"""The proof of a node's books, for its operator: the same calls on the buyer's and the seller's node."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.desk import Call, Desk
from api.paging import ListOf, Page, cursor, read_cursor
from store import ledger_checks, transfers


class BalanceOut(BaseModel):
    """The balance of one account of the ledger."""

    account: str
    currency: str
    balance_milli: int


class BrokenOut(BaseModel):
    """Something that is not right, and the row to look at; empty where it has no such row."""

    sentence: str
    account: str
    transfer_id: str
    order_id: str


class ProofOut(BaseModel):
    """Whether the books are right: every balance equals its transfers, and every currency sums to zero."""

    balanced: bool
    transfers: int
    moved_milli: dict[str, int] = Field(description="Sum of all that moved, by currency")
    accounts: list[BalanceOut]
    problems: list[str]
    broken: list[BrokenOut]


class OwedOut(BaseModel):
    """What one order made its buyer's node owe its seller's node, as this node's books have it."""

    order_id: str
    wire_order_id: str
    side: str = Field(description="Whose copy of the order this is: BUYER or SELLER")
    counterparty_id: str
    state: str
    currency: str
    owed_milli: int
    transfer_id: str = Field(description="The last transfer that says so")


def add_routes(desk: Desk) -> None:
    """Give the desk the calls that prove the books."""

    @desk.route("GET", "/api/ledger/proof", role="operator", answer=ProofOut, tags=["ledger"])
    async def prove_ledger(call: Call[None]) -> ProofOut:
        """Add up every transfer anew and compare with the balances kept."""
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            proven = await transfers.proof(uow)
        return ProofOut.model_validate(proven, from_attributes=True)

    @desk.route("GET", "/api/ledger/orders", role="operator", query=Page, answer=ListOf[OwedOut], tags=["ledger"])
    async def list_owed(call: Call[None]) -> ListOf[OwedOut]:
        """List what each order made one node owe the other, by order id.

        Held beside the same list of the other node it shows the order about which the books differ. A page holds the
        orders among the next `limit` that moved anything between the nodes, so it may be short or empty and still
        have a next.
        """
        after = read_cursor(call.query.after, count=1)
        async with call.node.database.unit_of_work(snapshot=True) as uow:
            rows, last = await ledger_checks.owed(uow, after=str(after[0]) if after else "", limit=call.query.limit)
        items = [OwedOut.model_validate(row, from_attributes=True) for row in rows]
        return ListOf[OwedOut](items=items, next=cursor(last) if last else None)
