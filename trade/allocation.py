"""Who gets which watt-hour of a meter: one reading shared over the contracts on the meter, in whole Wh, exactly.

A contract speaks of the energy its SELLER injects. What arrives at the buyer is that less the loss on the way, so a
buyer's meter is first shared in the energy that arrives and each share is then said in the energy injected for it
(`injected_wh`). Every figure that leaves this module is energy injected, and so are the figures both sides exchange.

An allocation counts all rounds up to its own: what earlier rounds settled is in it. So a contract is settled at the
lesser of the two sides' newest allocations, after the first round as after the last, and never needs a sum of rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from trade.money import Series, divide_half_away

#: Parts in a whole, as shares and losses count them.
PPM = 1_000_000


def pro_rata(metered_wh: int, contracted: Mapping[str, int]) -> dict[str, int]:
    """The Wh each contract gets of one slot's reading: contract x min(1, M / sum), by largest remainder.

    The rule that the published guides of energy trading recommend. The shares sum to min(metered, contracted) exactly
    and none exceeds its contract. Equal remainders are served in order of id, so both nodes and every repeat get the
    same. Raises ValueError for negative energy.
    """
    if metered_wh < 0 or any(wh < 0 for wh in contracted.values()):
        raise ValueError("energy is never negative: an export is a positive reading")
    total_wh = sum(contracted.values())
    if metered_wh >= total_wh:
        return dict(contracted)
    shares = {order_id: wh * metered_wh // total_wh for order_id, wh in contracted.items()}
    by_remainder = sorted(contracted, key=lambda order_id: (-(contracted[order_id] * metered_wh % total_wh), order_id))
    for order_id in by_remainder[: metered_wh - sum(shares.values())]:
        shares[order_id] += 1
    return shares


def residual_round(
    metered_wh: int,
    contracted: Mapping[str, int],
    settled: Mapping[str, int],
    offered: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """One side's allocation after a round: what is settled already, and pro rata of what its meter has left.

    What is left (metered - sum settled) goes first, pro rata, to what the other side allocated beyond the settled
    figure in its last round (`offered`), because only there can it be settled at once; then, pro rata, to all else that
    is unsettled. With nothing settled and offered this is the first round, plain pro-rata. A corrected reading below
    what was settled is shared in proportion to that. The allocations never exceed the reading in sum, nor any contract.
    Raises ValueError for negative energy and for more settled than contracted.
    """
    given = {order_id: settled.get(order_id, 0) for order_id in contracted}
    if any(not 0 <= given[order_id] <= wh for order_id, wh in contracted.items()):
        raise ValueError("what earlier rounds settled lies between 0 and the contract")
    if metered_wh < sum(given.values()):
        return pro_rata(metered_wh, given)
    for wanted in (contracted if offered is None else offered, contracted):
        open_wh = {key: max(0, min(wanted.get(key, 0), wh) - given[key]) for key, wh in contracted.items()}
        more = pro_rata(metered_wh - sum(given.values()), open_wh)
        given = {key: wh + more[key] for key, wh in given.items()}
    return given


# Losses.


def received_wh(energy_wh: int, loss_ppm: int) -> int:
    """What arrives of energy injected: q x (1 - loss), in whole Wh, half away from zero."""
    return divide_half_away(energy_wh * (PPM - loss_ppm), PPM)


def injected_wh(energy_wh: int, loss_ppm: int) -> int:
    """The injected energy of which this much arrives: q / (1 - loss), rounded up.

    Rounded up, so that a buyer whose meter counted everything that arrived is never short for the rounding of its
    meter: injected_wh(received_wh(q)) >= q for every loss below one half.
    """
    return -(-energy_wh * PPM // (PPM - loss_ppm))


# Series.


@dataclass(frozen=True, slots=True)
class Claim:
    """One contract on a meter: what is contracted, what earlier rounds settled, what is lost on the way to this meter.

    `settled_wh` is the lesser of both sides' last allocations and `offered_wh` the other side's own; None before there
    are any. `loss_ppm` is the policy's loss on a buyer's meter and 0 on a seller's.
    """

    contracted_wh: Series
    settled_wh: Series | None = None
    loss_ppm: int = 0
    offered_wh: Series | None = None


def allocate(metered_wh: Series, claims: Mapping[str, Claim]) -> dict[str, Series]:
    """Every contract's allocation of this round, in energy injected, each over its contract's own slots.

    `metered_wh` is what the meter counted in the direction that matters: a seller's export, a buyer's import. The
    contracts may cover any run of its grid; slots the readings do not cover get nothing. In each slot the rule is
    `residual_round`. Raises ValueError when a contract uses other slots than the readings.
    """
    offsets = {order_id: _offset(metered_wh, claim.contracted_wh) for order_id, claim in claims.items()}
    values = {order_id: [0] * len(claim.contracted_wh.values) for order_id, claim in claims.items()}
    for index, metered in enumerate(metered_wh.values):
        contracted: dict[str, int] = {}
        settled: dict[str, int] = {}
        offered: dict[str, int] = {}
        for order_id, claim in claims.items():
            at = index - offsets[order_id]
            if 0 <= at < len(claim.contracted_wh.values) and claim.contracted_wh.values[at]:
                contracted[order_id] = received_wh(claim.contracted_wh.values[at], claim.loss_ppm)
                if claim.settled_wh is not None:
                    settled[order_id] = received_wh(claim.settled_wh.values[at], claim.loss_ppm)
                said = claim.offered_wh or claim.contracted_wh
                offered[order_id] = received_wh(said.values[at], claim.loss_ppm)
        for order_id, wh in residual_round(metered, contracted, settled, offered).items():
            at, claim = index - offsets[order_id], claims[order_id]
            values[order_id][at] = min(injected_wh(wh, claim.loss_ppm), claim.contracted_wh.values[at])
    return {order_id: claims[order_id].contracted_wh.with_values(tuple(found)) for order_id, found in values.items()}


def _offset(grid: Series, series: Series) -> int:
    """How many slots after the grid a series begins."""
    offset, rest = divmod(int((series.start - grid.start).total_seconds()), grid.slot_s)
    if rest or series.slot_s != grid.slot_s:
        raise ValueError("contracts on one meter use the slots of its readings")
    return offset


def refined(series: Series, slot_s: int) -> Series:
    """The same energy over slots `slot_s` long: each slot's spread evenly, what is left over put first.

    `slot_s` divides the series' own slots. It lets contracts in hours and in quarters of hours share one meter.
    """
    parts = series.slot_s // slot_s
    if parts == 1:
        return series
    values = [wh // parts + (part < wh % parts) for wh in series.values for part in range(parts)]
    return Series(series.start, slot_s, tuple(values))


def coarsened(series: Series, like: Series) -> Series:
    """The same energy over the slots of `like`, each of which is a whole number of the series' own."""
    parts = like.slot_s // series.slot_s
    return like.with_values(tuple(sum(series.values[at : at + parts]) for at in range(0, len(series.values), parts)))


def common_slot_s(series: Iterable[Series], start: datetime) -> int:
    """The longest slot, counted from `start`, that all these series can be said in without cutting through theirs."""
    slot_s = 0
    for entry in series:
        slot_s = math.gcd(slot_s, entry.slot_s, abs(int((entry.start - start).total_seconds())))
    return slot_s


# Both sides at once.


@dataclass(frozen=True, slots=True)
class Joint:
    """A contract of one slot between two meters."""

    buyer_meter: str
    seller_meter: str
    contracted_wh: int


def iterated(
    contracts: Mapping[str, Joint], *, import_wh: Mapping[str, int], export_wh: Mapping[str, int], rounds: int
) -> dict[str, int]:
    """What is settled after so many rounds: each side allocates what its meters have left, the lesser figure counts.

    One round is the published default (pro-rata on each side, then the minimum); every further round shares the rest
    of both meters over what is still unsettled, knowing what the other side allocated in the round before. What is
    settled never falls from round to round, never exceeds a contract, and in sum never exceeds a meter. A meter without
    a reading counts as zero; there is no loss here.
    """
    buyers: dict[str, dict[str, int]] = {}
    sellers: dict[str, dict[str, int]] = {}
    for key, joint in contracts.items():
        buyers.setdefault(joint.buyer_meter, {})[key] = joint.contracted_wh
        sellers.setdefault(joint.seller_meter, {})[key] = joint.contracted_wh
    settled = dict.fromkeys(contracts, 0)
    bought: dict[str, int] | None = None
    sold: dict[str, int] | None = None
    for _ in range(rounds):
        bought, sold = (
            _side(buyers, import_wh, settled, offered=sold),
            _side(sellers, export_wh, settled, offered=bought),
        )
        settled = {key: min(bought[key], sold[key]) for key in contracts}
    return settled


def _side(
    meters: Mapping[str, Mapping[str, int]],
    metered_wh: Mapping[str, int],
    settled: Mapping[str, int],
    *,
    offered: Mapping[str, int] | None,
) -> dict[str, int]:
    """One side's allocations of a round, over all its meters."""
    allocated: dict[str, int] = {}
    for meter, contracted in meters.items():
        allocated |= residual_round(metered_wh.get(meter, 0), contracted, settled, offered)
    return allocated
