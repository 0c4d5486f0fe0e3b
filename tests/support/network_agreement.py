"""What must be true of a network when its letters have come to rest: nobody lost anything, nothing was sold twice."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from bap.buyer import CONTRACTED
from tests.support.network_rig import Network

#: States of a contract, at either side, once it was confirmed.
_CONTRACT = {str(state) for state in CONTRACTED} - {"CONFIRMING", "UNANSWERED"} | {"CANCELLED"}
_OVER = {"COMPLETED", "CANCELLED", "EXPIRED", "REFUSED"}


async def every(client: Any, path: str, **query: Any) -> list[dict[str, Any]]:
    """All entries of a list of a node's JSON API."""
    return [item async for item in client.every(path, limit=100, **query)]


async def under_way(network: Network) -> list[str]:
    """What has not come to rest yet, a line each."""
    waiting = []
    for member in network.members.values():
        for row in await member.rows("SELECT action, attempts, outcome FROM outbox WHERE state = 'QUEUED'"):
            waiting.append(f"{member.name} sends {dict(row)}")
        for row in await member.rows("SELECT action, attempts, error FROM inbox WHERE state = 'NEW'"):
            waiting.append(f"{member.name} processes {dict(row)}")
    for order in await every(network.bap.operator, "/api/orders"):
        if order["state"] not in _OVER or order["awaiting_answer"]:
            waiting.append(f"the buyer's order {order['order_id']} is {order['state']}: {order['dispute']}")
    for seller in network.sellers:
        for order in await every(seller.operator, "/api/orders"):
            if order["state"] not in _OVER:
                waiting.append(f"{seller.name}'s order {order['wire_order_id']} is {order['state']}")
    return waiting


async def check_letters(network: Network) -> Counter[str]:
    """Every letter was sent or is dead for a reason, and every letter received was worked on; how many of each."""
    fates: Counter[str] = Counter()
    for member in network.members.values():
        for row in await member.rows("SELECT state, action, outcome, attempts FROM outbox"):
            fates[row["state"]] += 1
            assert row["state"] in ("SENT", "DEAD"), dict(row)
            assert row["outcome"]["result"] == "ACK" or row["state"] == "DEAD", dict(row)
            if row["state"] == "DEAD":
                assert row["outcome"]["result"] in ("NACK", "GIVEN_UP", "FAILED"), dict(row)
                assert row["outcome"]["message"], dict(row)
        for row in await member.rows("SELECT state, action, error FROM inbox"):
            fates[row["state"]] += 1
            assert row["state"] == "DONE", dict(row)
    return fates


async def check_orders(network: Network) -> Counter[str]:
    """Both sides tell the same of every order; how many ended how."""
    bought = await every(network.bap.operator, "/api/orders")
    contracts = {(o["seller_id"], o["wire_order_id"]): o for o in bought if o["state"] in _CONTRACT}
    for seller in network.sellers:
        for theirs in await every(seller.operator, "/api/orders"):
            if theirs["state"] not in _CONTRACT:
                assert (seller.id, theirs["wire_order_id"]) not in contracts
                continue
            ours = contracts.pop((seller.id, theirs["wire_order_id"]))
            for name in ("state", "contracted", "price", "policy", "wheeling_micro_per_kwh", "cancelled_by"):
                assert ours[name] == theirs[name], (name, ours, theirs)
            assert _settled(ours) == _settled(theirs), (ours["settlement"], theirs["settlement"])
            assert ours["dispute"] is None
    assert not contracts, f"the buyer believes in contracts that no seller has: {list(contracts)}"
    return Counter(order["state"] for order in bought)


def _settled(order: dict[str, Any]) -> Any:
    settlement = order["settlement"]
    return settlement and (settlement["delivered"], settlement["lines"], settlement["total_milli"])


async def check_shelves(network: Network) -> int:
    """Every Wh on the shelves is free or sold to exactly one contract; how many were sold."""
    total = 0
    for seller in network.sellers:
        contracts = [o for o in await every(seller.operator, "/api/orders") if o["state"] in _CONTRACT - {"CANCELLED"}]
        for offer in await every(seller.operator, "/api/offers"):
            start, sold = offer["sold"]["start"], offer["sold"]["energy_wh"]
            assert not any(offer["held"]["energy_wh"]), offer
            assert all(s <= o for s, o in zip(sold, offer["energy"]["energy_wh"], strict=True)), offer
            owed = [0] * len(sold)
            for order in contracts:
                if order["offer_id"] == offer["offer_id"]:
                    offset = _slots_between(start, order["contracted"])
                    for index, energy_wh in enumerate(order["contracted"]["energy_wh"]):
                        owed[offset + index] += energy_wh
            assert owed == sold, (seller.name, offer["offer_id"], owed, sold)
            total += sum(sold)
    return total


def _slots_between(start: str, series: dict[str, Any]) -> int:
    gap = datetime.fromisoformat(series["start"]) - datetime.fromisoformat(start)
    return int(gap.total_seconds()) // int(series["slot_s"])


async def check_money(network: Network, *, deposited_minor: int) -> int:
    """The books balance and agree, no escrow is left, and sellers are owed just what was settled; how much that is."""
    proofs = await network.check_books()
    balances = {entry["account"]: entry["balance_milli"] for entry in proofs[network.bap.id]["accounts"]}
    assert all(balance == 0 for account, balance in balances.items() if account.startswith("escrow:")), balances
    owed = sum(balance for account, balance in balances.items() if account.startswith("payable:"))
    wallets = sum(balance for account, balance in balances.items() if account.startswith("wallet:"))
    assert owed + wallets == deposited_minor * 1000 == -balances["external"]
    earned = 0
    for seller in network.sellers:
        for entry in proofs[seller.id]["accounts"]:
            if not entry["account"].startswith("receivable:"):
                earned += entry["balance_milli"]
    assert earned == owed
    return owed
