"""The rules and rates a contract is settled by: versioned data of the network, named in every contract.

A contract keeps the whole policy it was made under, so that a newer version never changes an older contract. Rates are
whole micro-units of the contract's currency per kWh; shares are parts per million.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SettlementRule(StrEnum):
    """What counts as settled energy, and who pays for the difference."""

    ONE_SIDED = "ONE_SIDED"  # the seller's meter alone: min(contracted, allocated)
    MIN_OF_TWO = "MIN_OF_TWO"  # the lesser of what both meters say
    DEVIATION = "DEVIATION"  # the contract in full; each side's deviation at its retailer's tariff


class AllocationRule(StrEnum):
    """How a meter's energy is shared over the contracts on it."""

    PRO_RATA = "PRO_RATA"  # once, in proportion to the contracts
    ITERATED = "ITERATED"  # pro-rata and min repeated on what is left, `rounds` times


class PenaltyRule(StrEnum):
    """Who pays for energy that was contracted and not settled."""

    ATTRIBUTED = "ATTRIBUTED"  # the side that fell short, both in proportion when both did
    SELLER = "SELLER"  # always the seller (the wave-2 devkit's policy, to the letter)


class Rounding(StrEnum):
    """Where money is rounded."""

    SLOT = "SLOT"  # every flow of every slot, to thousandths of a minor unit
    ROUND2_CONTRACT = "ROUND2_CONTRACT"  # every flow of the whole contract, to minor units


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of one policy; `id` is how contracts name it."""

    name: str
    version: int
    settlement: SettlementRule = SettlementRule.ONE_SIDED
    allocation: AllocationRule = AllocationRule.PRO_RATA
    rounds: int = 1
    rounding: Rounding = Rounding.SLOT
    #: Grid charge of each side per settled kWh, where an offer or its utility names none.
    wheeling_buyer_micro_per_kwh: int = 0
    wheeling_seller_micro_per_kwh: int = 0
    #: Share of the injected energy that is lost on the way: the buyer receives injected * (1 - loss).
    loss_ppm: int = 0
    penalty: PenaltyRule = PenaltyRule.ATTRIBUTED
    penalty_micro_per_kwh: int = 0
    #: Shortfall up to this share of the contract is forgiven.
    tolerance_ppm: int = 0
    #: Tax on the value of the energy, paid by the buyer.
    tax_ppm: int = 0
    #: What the buyer's and the seller's platform keep, and what each side's utility charges beside wheeling.
    platform_buyer_micro_per_kwh: int = 0
    platform_seller_micro_per_kwh: int = 0
    utility_fee_buyer_micro_per_kwh: int = 0
    utility_fee_seller_micro_per_kwh: int = 0
    #: The retailer's tariff for energy outside the contract: what it asks for import and pays for export.
    import_micro_per_kwh: int = 0
    export_micro_per_kwh: int = 0
    #: How long after the last slot (trading clock) each round of allocations may take; a silent side counts as zero.
    allocation_due_s: int = 172_800
    #: How long after the last slot (trading clock) corrected readings still move money, and a dispute may be opened.
    correction_s: int = 30 * 86_400
    #: How long a dispute may last (trading clock) before the lesser figure holds.
    dispute_s: int = 14 * 86_400
    #: How long after settlement (trading clock) a rating may be given or changed.
    rating_s: int = 30 * 86_400

    @property
    def id(self) -> str:
        """How contracts name it, "name@version"."""
        return f"{self.name}@{self.version}"

    @property
    def is_two_sided(self) -> bool:
        """True when the buyer's meter counts as well."""
        return self.settlement is not SettlementRule.ONE_SIDED


#: What contracts of sellers that name no policy are settled by: the seller's meter, energy and wheeling, nothing else.
PLAIN = Policy("plain", 1)
