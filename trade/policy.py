"""The rules and rates a contract is settled by: versioned data of the network, named in every contract.

A contract keeps the whole policy it was made under, so that a newer version never changes an older contract. Rates are
whole micro-units of the contract's currency per kWh; shares are parts per million.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any


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

#: The policies every node knows. `deg-wave2` is the example policy of the published wave-2 devkit to the letter (rates
#: in rupees); `deviation` has the tariffs of the published worked example.
BUILT_IN: dict[str, Policy] = {
    policy.id: policy
    for policy in (
        PLAIN,
        Policy("street", 1, settlement=SettlementRule.MIN_OF_TWO),
        Policy("iterated", 1, settlement=SettlementRule.MIN_OF_TWO, allocation=AllocationRule.ITERATED, rounds=3),
        Policy(
            "deg-wave2",
            1,
            settlement=SettlementRule.MIN_OF_TWO,
            rounding=Rounding.ROUND2_CONTRACT,
            wheeling_buyer_micro_per_kwh=250_000,
            wheeling_seller_micro_per_kwh=300_000,
            penalty=PenaltyRule.SELLER,
            penalty_micro_per_kwh=500_000,
        ),
        Policy(
            "deviation",
            1,
            settlement=SettlementRule.DEVIATION,
            import_micro_per_kwh=8_000_000,
            export_micro_per_kwh=4_000_000,
        ),
    )
}


class PolicyInvalid(ValueError):
    """A document that is no policy: which field, and a sentence that says what would be right."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field, self.sentence = field, sentence


_DAY_S = 86_400
#: Highest rate, micro-units per kWh.
_RATE_MAX = 1_000_000_000
#: The least and the most of every number in a policy.
BOUNDS: dict[str, tuple[int, int]] = {
    "version": (1, 9999),
    "rounds": (1, 9),
    "loss_ppm": (0, 400_000),
    "tolerance_ppm": (0, 1_000_000),
    "tax_ppm": (0, 1_000_000),
    "allocation_due_s": (60, 30 * _DAY_S),
    "correction_s": (0, 400 * _DAY_S),
    "dispute_s": (60, 400 * _DAY_S),
    "rating_s": (0, 400 * _DAY_S),
    **{field.name: (0, _RATE_MAX) for field in fields(Policy) if field.name.endswith("_micro_per_kwh")},
}
_WORDS: dict[str, type[StrEnum]] = {
    "settlement": SettlementRule,
    "allocation": AllocationRule,
    "penalty": PenaltyRule,
    "rounding": Rounding,
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)


def parse(document: object) -> Policy:
    """The policy a JSON document says; fields it leaves out have their defaults.

    Raises PolicyInvalid for an unknown field, a value out of its bounds, and rules that contradict each other: nobody
    should learn from a settlement that a contract could be read in two ways.
    """
    if not isinstance(document, dict):
        raise PolicyInvalid("", "A policy is a JSON object with at least 'name' and 'version'.")
    known = [field.name for field in fields(Policy)]
    for name in document:
        if name not in known:
            raise PolicyInvalid(str(name), f"{str(name)[:60]!r} is no field of a policy; known are {', '.join(known)}.")
    for name in ("name", "version"):
        if name not in document:
            raise PolicyInvalid(name, f"{name!r} is missing; contracts name a policy by its name and version.")
    policy = Policy(**{name: _value(name, value) for name, value in document.items()})
    _check_together(policy)
    return policy


def _value(name: str, value: object) -> Any:
    if name == "name":
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise PolicyInvalid(name, "'name' is 1 to 40 small letters, digits and hyphens, a letter first.")
        return value
    if name in _WORDS:
        words = [str(word) for word in _WORDS[name]]
        if value not in words:
            raise PolicyInvalid(name, f"{name!r} is {str(value)[:40]!r}; it can be {', '.join(words)}.")
        return _WORDS[name](value)
    least, most = BOUNDS[name]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PolicyInvalid(name, f"{name!r} is {str(value)[:40]!r}; it is a whole number from {least} to {most}.")
    return value


def _check_together(policy: Policy) -> None:
    """Refuse fields that contradict each other."""
    is_iterated = policy.allocation is AllocationRule.ITERATED
    is_deviation = policy.settlement is SettlementRule.DEVIATION
    contradictions = (
        (
            is_iterated and policy.settlement is not SettlementRule.MIN_OF_TWO,
            "allocation",
            "ITERATED repeats what MIN_OF_TWO leaves unsettled; use it with settlement MIN_OF_TWO.",
        ),
        (
            is_iterated and policy.rounds == 1,
            "rounds",
            "ITERATED with 1 round is PRO_RATA; say 2 to 9 rounds, or PRO_RATA.",
        ),
        (
            not is_iterated and policy.rounds != 1,
            "rounds",
            f"PRO_RATA has 1 round, not {policy.rounds}; say ITERATED, or 1 round.",
        ),
        (
            is_deviation and policy.penalty_micro_per_kwh != 0,
            "penalty_micro_per_kwh",
            "DEVIATION charges what is missing at the retailer's tariff already; a penalty would charge it twice.",
        ),
        (
            not policy.penalty_micro_per_kwh and policy.tolerance_ppm != 0,
            "tolerance_ppm",
            "A tolerance forgives a penalty, and this policy has none; say penalty_micro_per_kwh, or no tolerance.",
        ),
        (
            is_deviation and not policy.import_micro_per_kwh,
            "import_micro_per_kwh",
            "DEVIATION needs the retailer's tariff: what import costs, above 0.",
        ),
    )
    for is_wrong, name, sentence in contradictions:
        if is_wrong:
            raise PolicyInvalid(name, sentence)


def document(policy: Policy) -> dict[str, Any]:
    """A policy as JSON values, every field by its own name; `parse` reads it."""
    said = {field.name: getattr(policy, field.name) for field in fields(policy)}
    return {name: str(value) if isinstance(value, StrEnum) else value for name, value in said.items()}


@lru_cache(maxsize=1000)
def digest(policy: Policy) -> str:
    """Sixteen hex digits that only this policy has: SHA-256 of its canonical JSON (keys sorted, no spaces)."""
    canonical = json.dumps(document(policy), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
