"""How prices come about: one pure rule for each model, all giving whole micro-units per kWh over an offer's slots.

    flat            one price for every slot
    time of use     the price of the band of the local day in which a slot begins (`pricing.tou_series`)
    block           the more an order takes, the further its energy runs through tiers of other prices
    indexed         a published series, such as day-ahead prices, plus a margin
    supply/demand   between what the retailer pays for export and asks for import, by how much is to be had

Every rule divides exactly and rounds once, half away from zero, where a price becomes a whole micro-unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from trade.money import Series, Slot, divide_half_away

#: Most tiers of a block price.
TIERS_MAX = 50


class PriceInvalid(ValueError):
    """A price that cannot be worked out; the sentence says what is wrong."""


class PriceKind(StrEnum):
    """How the prices of an offer came about."""

    SERIES = "SERIES"  # said slot by slot
    FLAT = "FLAT"
    TIME_OF_USE = "TIME_OF_USE"
    BLOCK = "BLOCK"
    INDEXED = "INDEXED"
    SUPPLY_DEMAND = "SUPPLY_DEMAND"


@dataclass(frozen=True, slots=True)
class Tier:
    """One block of a block price: the energy of an order up to `up_to_wh` (None: without end) costs this."""

    up_to_wh: int | None
    price_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class PriceModel:
    """What must be remembered of how prices came about: the tiers of a block price, the index and its margin."""

    kind: PriceKind = PriceKind.SERIES
    tiers: tuple[Tier, ...] = ()
    index: str = ""
    margin_micro_per_kwh: int = 0


#: Prices said slot by slot: nothing to be remembered.
PER_SLOT = PriceModel()


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Refuse tiers that do not rise or do not end without end; raises PriceInvalid."""
    if not 1 <= len(tiers) <= TIERS_MAX:
        raise PriceInvalid(f"a block price has 1 to {TIERS_MAX} tiers, and {len(tiers)} were given")
    limits = [tier.up_to_wh for tier in tiers[:-1]]
    bounds = [0, *(limit or 0 for limit in limits)]
    if tiers[-1].up_to_wh is not None or None in limits or any(a >= b for a, b in pairwise(bounds)):
        raise PriceInvalid("each tier ends above the one before it, and the last has no end")
    if min(tier.price_micro_per_kwh for tier in tiers) < 0:
        raise PriceInvalid("the price of a tier is 0 or more")


def block_cost_nano(tiers: Sequence[Tier], energy_wh: int) -> int:
    """What `energy_wh` of one order cost by incremental blocks, in billionths of the currency; never rounded.

    cost(E) = sum over tiers k of price_k x (min(E, limit_k) - min(E, limit_k-1)): an inclining or declining block
    rate, each block's price for the energy inside it only (as residential block tariffs are written, for instance
    Borenstein, "The Redistributional Impact of Nonlinear Electricity Pricing", AEJ: Economic Policy 4(3), 2012).
    """
    cost, below = 0, 0
    for tier in tiers:
        upto = energy_wh if tier.up_to_wh is None else min(energy_wh, tier.up_to_wh)
        cost += (upto - below) * tier.price_micro_per_kwh
        below = upto
    return cost


def block_series(tiers: Sequence[Tier], energy_wh: Series) -> Series:
    """The prices of an order's slots when its energy, in order of time, runs through the tiers.

    price_t = (cost(E_1 + ... + E_t) - cost(E_1 + ... + E_t-1)) / E_t, with `block_cost_nano`: a slot that crosses a
    boundary has the mean of both prices by energy. A slot without energy has the price of the next Wh.
    """
    prices, before = [], 0
    for wh in energy_wh.values:
        after = before + wh
        if wh:
            nano = block_cost_nano(tiers, after) - block_cost_nano(tiers, before)
            prices.append(divide_half_away(nano, wh))
        else:
            prices.append(block_cost_nano(tiers, before + 1) - block_cost_nano(tiers, before))
        before = after
    return energy_wh.with_values(tuple(prices))


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a published series: it holds from `start` for `slot_s` seconds."""

    start: datetime
    slot_s: int
    value: int

    @property
    def end(self) -> datetime:
        """When the next value begins, if there is one."""
        return self.start + timedelta(seconds=self.slot_s)


def over_slots(points: Iterable[Point], like: Series) -> Series:
    """A published series over the slots of `like`: in each the mean by time, rounded half away from zero.

    A published day may have slots of other lengths than the offer, and change them (day-ahead markets went from 60 to
    15 minutes). Raises PriceInvalid naming the first slot that the points do not cover whole: nothing is guessed.
    """
    ordered = sorted(points, key=lambda point: point.start)
    values, first = [], 0
    for slot in like.slots():
        while first < len(ordered) and ordered[first].end <= slot.start:
            first += 1
        values.append(_mean_within(ordered, first, slot))
    return like.with_values(tuple(values))


def _mean_within(ordered: Sequence[Point], first: int, slot: Slot) -> int:
    weighed, covered_until, at = 0, slot.start, first
    while at < len(ordered) and ordered[at].start <= covered_until < slot.end:
        until = min(ordered[at].end, slot.end)
        weighed += ordered[at].value * int((until - covered_until).total_seconds())
        covered_until, at = max(until, covered_until), at + 1
    if covered_until < slot.end:
        raise PriceInvalid(f"it has no value for all of the slot from {slot.start:%Y-%m-%dT%H:%M:%SZ}")
    return divide_half_away(weighed, int((slot.end - slot.start).total_seconds()))


def indexed_series(
    index_micro_per_kwh: Series, *, margin_micro_per_kwh: int, floor_micro_per_kwh: int | None = 0
) -> Series:
    """A published price plus a margin: price_t = max(floor, index_t + margin); without a floor it may be negative.

    How retailers pass day-ahead prices on. Day-ahead prices are negative in some hours; a floor of 0 says that energy
    is then given away and nobody is paid to take it.
    """
    prices = (value + margin_micro_per_kwh for value in index_micro_per_kwh.values)
    if floor_micro_per_kwh is not None:
        prices = (max(price, floor_micro_per_kwh) for price in prices)
    return index_micro_per_kwh.with_values(tuple(prices))


def supply_demand_price(*, supply_wh: int, demand_wh: int, export_micro: int, import_micro: int) -> int:
    """The internal selling price by the supply/demand ratio, between the retailer's export and import tariffs.

        SDR = supply / demand
        price = export x import / ((import - export) x SDR + export)   for SDR < 1
        price = export                                                 for SDR >= 1

    Liu, Yu, Wang, Li, Ma, Lei, "Energy-Sharing Model With Price-Based Demand Response for Microgrids of Peer-to-Peer
    Prosumers", IEEE Transactions on Power Systems 32(5), 2017, equation (5). It falls as supply grows: `import_micro`
    where nothing is offered, `export_micro` where all demand is met, and where nobody wants anything.
    """
    if supply_wh < 0 or demand_wh < 0:
        raise PriceInvalid("supply and demand are 0 Wh or more")
    if not 0 <= export_micro <= import_micro:
        raise PriceInvalid("the export tariff is 0 or more and not above the import tariff")
    if supply_wh >= demand_wh:
        return export_micro
    if not supply_wh or export_micro == import_micro:
        return import_micro
    ratio = Fraction(supply_wh, demand_wh)
    exact = Fraction(export_micro * import_micro) / ((import_micro - export_micro) * ratio + export_micro)
    return divide_half_away(exact.numerator, exact.denominator)


def supply_demand_series(supply_wh: Series, demand_wh: Series, *, export_micro: int, import_micro: int) -> Series:
    """`supply_demand_price` in every slot; raises PriceInvalid for series over different slots."""
    if not supply_wh.is_aligned(demand_wh):
        raise PriceInvalid("supply and demand cover the same slots")
    return supply_wh.with_values(
        tuple(
            supply_demand_price(supply_wh=s, demand_wh=d, export_micro=export_micro, import_micro=import_micro)
            for s, d in zip(supply_wh.values, demand_wh.values, strict=True)
        )
    )
