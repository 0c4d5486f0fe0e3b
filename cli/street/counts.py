"""What the nodes say of themselves at the end: letters by action, the proof of their books, and whether books agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cli.street.calls import Node
from cli.street.figures import HomeFigures, NodeFigures
from cli.street.stage import Stage
from energy_catalog import fontana

_RECEIVED = "beckn_letters_received_total"
_TAKEN = frozenset({"accepted", "duplicate"})
#: Nodes that keep books; the registry and the gateway keep none.
_WITHOUT_BOOKS = frozenset({"registry", "gateway"})


def letters(exposition: str) -> tuple[dict[str, int], dict[str, int]]:
    """Letters acknowledged and letters refused, by action, out of a node's Prometheus page."""
    acks: dict[str, int] = {}
    nacks: dict[str, int] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == _RECEIVED:
                counts = acks if sample.labels["outcome"] in _TAKEN else nacks
                action = sample.labels["action"]
                counts[action] = counts.get(action, 0) + int(sample.value)
    return acks, nacks


async def of_nodes(stage: Stage) -> list[NodeFigures]:
    """Ask every node for its counters and, where it keeps books, for their proof."""

    async def of_node(name: str, node: Node) -> NodeFigures:
        acks, nacks = letters(await node.text("/metrics"))
        if name in _WITHOUT_BOOKS:
            return NodeFigures(name, acks, nacks, balanced=None)
        proof = await node.get("/api/ledger/proof")
        problems = tuple(f"{name}: {problem}" for problem in proof["problems"])
        return NodeFigures(name, acks, nacks, balanced=bool(proof["balanced"]), problems=problems)

    return list(await asyncio.gather(*(of_node(name, node) for name, node in stage.operators.items())))


async def disagreements(stage: Stage, homes: Iterable[HomeFigures]) -> list[str]:
    """Where the money that the orders add up to is not what the nodes' books hold."""
    found = await asyncio.gather(*(_disagreements_of(stage, home) for home in homes), _between_nodes(stage))
    return [sentence for sentences in found for sentence in sentences]


async def _disagreements_of(stage: Stage, home: HomeFigures) -> list[str]:
    member = next(member for member in stage.members if member.number == home.number)
    account, balance = await asyncio.gather(
        stage.app.get(f"/api/accounts/{stage.accounts[home.number]}"),
        stage.prosumers[home.number].get(f"/api/providers/{member.provider_id}/balance"),
    )
    sentences = []
    paid = stage.deposit_minor - account["balance_minor"]
    if (paid, account["reserved_minor"]) != (home.paid_minor, 0):
        sentences.append(
            f"{member.name} paid {home.paid_minor} cents by its orders; its wallet says {paid}, "
            f"with {account['reserved_minor']} still reserved"
        )
    earned = _amount(balance)
    if earned != home.earned_minor:
        sentences.append(
            f"{member.name} earned {home.earned_minor} cents by its orders; its seller's node says {earned}"
        )
    return sentences


def _amount(balance: Mapping[str, Any]) -> int:
    """A provider's balance in the street's currency."""
    return sum(entry["balance_minor"] for entry in balance["items"] if entry["currency"] == fontana.CURRENCY)


async def _between_nodes(stage: Stage) -> list[str]:
    """What the buyers' node owes each seller's node must be what that node is owed."""
    buyers = _accounts(await stage.operators["bap"].get("/api/ledger/proof"))
    sentences = []
    for seller, seller_id in stage.seller_ids.items():
        owed = buyers.get(f"payable:{seller_id}", 0)
        books = _accounts(await stage.operators[seller].get("/api/ledger/proof"))
        due = -sum(amount for account, amount in books.items() if account.startswith("receivable:"))
        if owed != due:
            sentences.append(f"the buyers' node owes {seller} {owed} cents; {seller} is owed {due}")
    return sentences


def _accounts(proof: Mapping[str, Any]) -> dict[str, int]:
    return {entry["account"]: int(entry["balance_minor"]) for entry in proof["accounts"]}
