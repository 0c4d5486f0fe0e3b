"""What the rules alone make of a day: the recorded meters shared over the contracts that were made, without any node.

The nodes exchange allocations in signed letters, each knowing only its own meters. Here both ends of every contract lie
on one table, so the day can be settled again in one go: under one round (what the network's policy asks for), and under
three, to see what the further rounds would have brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from energy_catalog.fontana import Home
from trade.allocation import Joint, iterated

#: Rounds of the iterated rule.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract between two homes: what is owed in each of the day's hours, Wh."""

    buyer: int
    provider: int
    contracted_wh: Sequence[int]


@dataclass(frozen=True, slots=True)
class Resettled:
    """Energy of a day in each hour, Wh, settled by the rules alone, and what each side fell short of its contracts."""

    one_round_wh: tuple[int, ...]
    three_rounds_wh: tuple[int, ...]
    not_injected_wh: tuple[int, ...]
    not_drawn_wh: tuple[int, ...]


def resettle(contracts: Iterable[Contract], *, homes: Mapping[int, Home], hours: range) -> Resettled:
    """Settle a day's contracts on the recorded meters; `homes` by number."""
    made = list(contracts)
    found = [_hour(made, homes=homes, hour=hour, index=index) for index, hour in enumerate(hours)]
    return Resettled(*zip(*found, strict=True))


def _hour(contracts: Sequence[Contract], *, homes: Mapping[int, Home], hour: int, index: int) -> tuple[int, ...]:
    """One hour: settled in one round, in three, not injected, not drawn."""
    joints = {
        str(number): Joint(str(contract.buyer), str(contract.provider), contract.contracted_wh[index])
        for number, contract in enumerate(contracts)
        if contract.contracted_wh[index]
    }
    drawn = {joint.buyer_meter: homes[int(joint.buyer_meter)].deficit_wh(hour) for joint in joints.values()}
    fed = {joint.seller_meter: homes[int(joint.seller_meter)].surplus_wh(hour) for joint in joints.values()}
    owed = sum(joint.contracted_wh for joint in joints.values())

    def settled(*, rounds: int, import_wh: Mapping[str, int] = drawn, export_wh: Mapping[str, int] = fed) -> int:
        return sum(iterated(joints, import_wh=import_wh, export_wh=export_wh, rounds=rounds).values())

    # With the other side's meters running without end, what is settled is what this side alone allocates.
    injected = settled(rounds=1, import_wh=dict.fromkeys(drawn, owed))
    taken = settled(rounds=1, export_wh=dict.fromkeys(fed, owed))
    return settled(rounds=1), settled(rounds=ROUNDS), owed - injected, owed - taken
