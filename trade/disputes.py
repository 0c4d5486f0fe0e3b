"""What two sides that do not agree do: say what each holds due, decide, and book the same.

A dispute is about one figure: what the buyer's node owes the seller's node for an order. What the buyer pays to its own
platform never leaves its node, so it is no part of it. Whoever gives in keeps the lines of its own calculation and adds
one RESOLUTION line for the difference; both then hold the same due, and the two books agree.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from trade.money import Series
from trade.order import Dispute
from trade.quote import TITLES, Flow, LineKind, Party, QuoteLine, SettlementResult


class Decision(StrEnum):
    """How a person may end a dispute."""

    ACCEPT_THEIRS = "ACCEPT_THEIRS"
    WITHDRAW = "WITHDRAW"


#: What holds when nobody decided in time.
LESSER = "LESSER"


def due_milli(result: SettlementResult) -> int:
    """What the buyer's node owes the seller's node by this settlement, thousandths of a minor unit.

    All that the buyer pays less what it is paid, without its own platform's share.
    """
    if not result.flows:
        return sum(line.amount_milli for line in result.lines if line.kind is not LineKind.PLATFORM_FEE)
    due = 0
    for flow in result.flows:
        if Party.BUYER_PLATFORM in (flow.payer, flow.payee):
            continue
        due += flow.amount_milli * ((flow.payer is Party.BUYER) - (flow.payee is Party.BUYER))
    return due


def at_due(
    own: SettlementResult | None, wanted_milli: int, *, like: Series, now: datetime, version: int
) -> SettlementResult:
    """A side's own settlement brought to the due that was decided, with one RESOLUTION line for the difference.

    `own` is None for a side that could work out nothing; then the whole due is the line, over no energy in the slots of
    `like`.
    """
    base = own or SettlementResult(Series.flat(like, 0), (), now)
    more = wanted_milli - due_milli(base)
    if not more:
        return replace(base, settled_at=now, version=version)
    line = QuoteLine(LineKind.RESOLUTION, TITLES[LineKind.RESOLUTION], more)
    payer, payee = (Party.BUYER, Party.SELLER) if more > 0 else (Party.SELLER, Party.BUYER)
    flows = base.flows or tuple(
        Flow(entry.kind, Party.BUYER, _payee(entry.kind), entry.amount_milli)
        for entry in base.lines
        if entry.amount_milli
    )
    return replace(
        base,
        lines=(*base.lines, line),
        flows=(*flows, Flow(LineKind.RESOLUTION, payer, payee, abs(more))),
        settled_at=now,
        version=version,
    )


def lesser_due_milli(dispute: Dispute) -> int:
    """What holds when nobody decides in time: the lesser of both sides' figures, nothing when a side named none."""
    if dispute.buyer_total_milli is None or dispute.seller_total_milli is None:
        return 0
    return min(dispute.buyer_total_milli, dispute.seller_total_milli)


def _payee(kind: LineKind) -> Party:
    """Who gets a line of a settlement that was made before settlements knew their flows."""
    named = {LineKind.WHEELING: Party.SELLER_UTILITY, LineKind.PLATFORM_FEE: Party.BUYER_PLATFORM}
    return named.get(kind, Party.SELLER)
