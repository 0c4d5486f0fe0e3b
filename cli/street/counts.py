"""What the nodes say of themselves at the end: letters by action, the proof of their books, and whether books agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from books import proof as proofs
from cli.street.calls import Node
from cli.street.figures import HomeFigures, NodeFigures, usd
from cli.street.stage import Stage
from energy_catalog import fontana
from trade.money import milli_from_minor

_RECEIVED = "beckn_letters_received_total"
_TAKEN = frozenset({"accepted", "duplicate"})


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


async def of_nodes(stage: Stage) -> tuple[list[NodeFigures], list[str]]:
    """Every node's counters and the proof of its books, and where the books of two nodes contradict each other."""
    books: dict[str, dict[str, Any]] = {}

    async def of_node(name: str, node: Node) -> NodeFigures:
        acks, nacks = letters(await node.metrics())
        if name not in stage.bookkeepers:
            return NodeFigures(name, acks, nacks, balanced=None)
        books[stage.bookkeepers[name]] = proof = await node.get("/api/ledger/proof")
        problems = tuple(f"{name}: {problem}" for problem in proof["problems"])
        return NodeFigures(name, acks, nacks, balanced=bool(proof["balanced"]), problems=problems)

    nodes = await asyncio.gather(*(of_node(name, node) for name, node in stage.operators.items()))
    return list(nodes), proofs.disagreements(books)


async def disagreements(stage: Stage, homes: Iterable[HomeFigures]) -> list[str]:
    """Homes whose money, added up over their orders, is not what the nodes' books hold."""
    found = await asyncio.gather(*(_disagreements_of(stage, home) for home in homes))
    return [sentence for sentences in found for sentence in sentences]


async def _disagreements_of(stage: Stage, home: HomeFigures) -> list[str]:
    member = next(member for member in stage.members if member.number == home.number)
    account, balance = await asyncio.gather(
        stage.app.get(f"/api/accounts/{stage.accounts[home.number]}"),
        stage.prosumers[home.number].get(f"/api/providers/{member.provider_id}/balance"),
    )
    sentences = []
    paid = milli_from_minor(stage.deposit_minor) - account["balance_milli"]
    reserved = account["reserved_milli"]
    if (paid, reserved) != (home.paid_milli, 0):
        sentences.append(
            f"{member.name} paid {usd(home.paid_milli)} USD by its orders; by its wallet {usd(paid)}, with"
            f" {usd(reserved)} reserved"
        )
    if (earned := _amount(balance)) != home.earned_milli:
        sentences.append(
            f"{member.name} earned {usd(home.earned_milli)} USD by its orders; by the books of {member.seller}"
            f" {usd(earned)}"
        )
    return sentences


def _amount(balance: Mapping[str, Any]) -> int:
    """A provider's balance in the street's currency."""
    return sum(entry["balance_milli"] for entry in balance["items"] if entry["currency"] == fontana.CURRENCY)
