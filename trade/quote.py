"""What an order costs and why: lines, quotes, terms, and the money that parties owe each other once it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from trade.money import Series


class LineKind(StrEnum):
    """What a line of a quote or a settlement is for."""

    ENERGY = "ENERGY"
    WHEELING = "WHEELING"
    TAX = "TAX"
    PLATFORM_FEE = "PLATFORM_FEE"
    UTILITY_FEE = "UTILITY_FEE"
    PENALTY = "PENALTY"  # contracted energy that was not settled
    DEVIATION = "DEVIATION"  # energy outside the contract, at the retailer's tariff
    CANCELLATION_FEE = "CANCELLATION_FEE"
    RESOLUTION = "RESOLUTION"  # what a side gave in on, when a dispute was decided


#: What each line is called in a quote: the words the energy network's Layer 2 allows. Grid charges and fees share one;
#: the kind itself travels beside the title.
TITLES = {
    LineKind.ENERGY: "ENERGY",
    LineKind.WHEELING: "DISCOM_FEES",
    LineKind.TAX: "TAX",
    LineKind.PLATFORM_FEE: "ADD_ON",
    LineKind.UTILITY_FEE: "DISCOM_FEES",
    LineKind.PENALTY: "DISCOM_FEES",
    LineKind.DEVIATION: "DISCOM_FEES",
    LineKind.CANCELLATION_FEE: "DISCOM_FEES",
    LineKind.RESOLUTION: "ADD_ON",
}


class Party(StrEnum):
    """Who pays and who is paid in a settlement."""

    BUYER = "BUYER"
    SELLER = "SELLER"
    BUYER_UTILITY = "BUYER_UTILITY"
    SELLER_UTILITY = "SELLER_UTILITY"
    BUYER_PLATFORM = "BUYER_PLATFORM"
    SELLER_PLATFORM = "SELLER_PLATFORM"
    TAX = "TAX"


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """One line of a quote or settlement; a fee that the buyer pays is positive."""

    kind: LineKind
    title: str
    amount_milli: int
    energy_wh: int | None = None
    price_micro_per_kwh: int | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order will cost the buyer, and until when the offer stands (wall clock)."""

    quote_id: str
    currency: str
    lines: tuple[QuoteLine, ...]
    expires_at: datetime
    ttl_s: int

    @property
    def total_milli(self) -> int:
        """Sum of the lines: what the buyer pays."""
        return sum(line.amount_milli for line in self.lines)


@dataclass(frozen=True, slots=True)
class CancellationTerm:
    """Cancelling at least `notice_s_min` before delivery (trading clock) costs `fee_percent` of the energy lines."""

    notice_s_min: int
    fee_percent: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Money that one party owes another for one reason; the flows of a settlement sum to zero by their making."""

    kind: LineKind
    payer: Party
    payee: Party
    amount_milli: int


@dataclass(frozen=True, slots=True)
class SettlementResult:
    """What was settled: energy per slot, the buyer's lines at settled energy, when (trading clock).

    `flows` are all that is owed, the buyer's lines among them. A correction makes a new result with the next version.
    """

    delivered_wh: Series
    lines: tuple[QuoteLine, ...]
    settled_at: datetime
    flows: tuple[Flow, ...] = ()
    version: int = 1

    @property
    def total_milli(self) -> int:
        """What the buyer pays in the end."""
        return sum(line.amount_milli for line in self.lines)
