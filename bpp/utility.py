"""What a utility decides: how much a meter may still trade in each slot, what carrying it costs. Plain functions.

A meter may trade at most a share of its *sanctioned load*, the power its owner has a connection for:

    most Wh in a slot = sanctioned_load_w x limit_percent / 100 x slot_s / 3600       (or less: a limit of its own)

as the network's policy has it (half the load). Trades come in slots of 15, 30 or 60 minutes that may overlap on one
meter, so what is used is kept per quarter of an hour, in joules: a slot's energy is spread evenly over its quarters,
and a joule left over goes to the first ones. One Wh is 3600 J, so nothing is ever lost to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from bpp import refusals, serving
from bpp.refusals import UnableTo
from trade.money import Series, kwh_from_wh

#: What usage is kept in.
QUARTER_S = 900
J_PER_WH = 3600
QUARTER = timedelta(seconds=QUARTER_S)

#: The one thing a utility offers: carrying a trade's energy over its grid.
SERVICE_ID = "wheeling"

#: A flow of one meter in one quarter of an hour.
Place = tuple[str, str, datetime]


class TradeState(StrEnum):
    """Where a trade stands at its utility."""

    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"


class UnableToCarry(UnableTo):
    """The utility does not carry this trade."""


@dataclass(frozen=True, slots=True)
class GridMeter:
    """A meter on this utility's grid: how much it may trade, and what carrying costs, in one currency."""

    meter_id: str
    sanctioned_load_w: int
    limit_percent: int
    export_limit_w: int | None
    import_limit_w: int | None
    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    currency: str

    def limit_w(self, flow: str) -> int:
        """The most power this meter may trade in a direction, W: its share of the sanctioned load, or less."""
        own = self.export_limit_w if flow == "EXPORT" else self.import_limit_w
        share = self.sanctioned_load_w * self.limit_percent // 100
        return share if own is None else min(own, share)

    def limit_j(self, flow: str) -> int:
        """The same as energy in a quarter of an hour, J."""
        return self.limit_w(flow) * QUARTER_S


@dataclass(frozen=True, slots=True)
class Request:
    """What a seller's node asks its utility to carry."""

    seller_meter_id: str
    buyer_meter_id: str
    energy_wh: Series
    currency: str
    order_id: str = ""

    @property
    def meter_ids(self) -> list[str]:
        """The meters it concerns, in the order in which they are locked everywhere."""
        return sorted({meter for meter in (self.seller_meter_id, self.buyer_meter_id) if meter})


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that the utility has logged: it carries it, and its limit is used. The id is the seller's node's own."""

    trade_id: str
    bpp_id: str
    order_id: str
    transaction_id: str
    state: TradeState
    request: Request
    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    created_at: datetime
    updated_at: datetime
    #: What the utility says was injected and taken, where it replaces a side's own figure.
    seller_alloc_wh: Series | None = None
    buyer_alloc_wh: Series | None = None


@dataclass(frozen=True, slots=True)
class Clearance:
    """What the utility answers: charges of both sides, and what both meters could still trade in these slots."""

    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    remaining_wh: Series
    sanctioned_load_w: int


def quarters(energy_wh: Series) -> dict[datetime, int]:
    """The energy of a series in each quarter of an hour that it touches, J; raises UnableToCarry for other slots."""
    start_s = int(energy_wh.start.timestamp())
    if energy_wh.slot_s % QUARTER_S or start_s % QUARTER_S:
        raise UnableToCarry(
            refusals.INVALID_REQUEST,
            f"The utility counts in quarters of an hour; a slot of {energy_wh.slot_s} s from"
            f" {serving.instant(energy_wh.start)} is not made of them.",
        )
    pieces = energy_wh.slot_s // QUARTER_S
    found: dict[datetime, int] = {}
    for slot, wh in energy_wh.items():
        each, left = divmod(wh * J_PER_WH, pieces)
        for piece in range(pieces):
            if joules := each + (piece < left):
                found[slot.start.astimezone(UTC) + piece * QUARTER] = joules
    return found


def places(request: Request, meters: Mapping[str, GridMeter]) -> dict[Place, int]:
    """Every quarter of an hour of the request's slots on each of its meters, with the limit there, J."""
    whole = replace(request, energy_wh=Series.flat(request.energy_wh, 1))
    return limits(usage(whole, meters), meters)


def limits(wanted: Mapping[Place, int], meters: Mapping[str, GridMeter]) -> dict[Place, int]:
    """The limit at each of these places, J."""
    return {place: meters[place[0]].limit_j(place[1]) for place in wanted}


def usage(request: Request, meters: Mapping[str, GridMeter]) -> dict[Place, int]:
    """What a trade uses of its meters' limits, J, as far as the meters are on this grid."""
    sides = ((request.seller_meter_id, "EXPORT"), (request.buyer_meter_id, "IMPORT"))
    return {
        (meter_id, flow, at): joules
        for meter_id, flow in sides
        if meter_id in meters
        for at, joules in quarters(request.energy_wh).items()
    }


def change(old: Mapping[Place, int], new: Mapping[Place, int]) -> dict[Place, int]:
    """What to add to the usage to get from one to the other, J; places where nothing changes are left out."""
    return {place: delta for place in {**old, **new} if (delta := new.get(place, 0) - old.get(place, 0))}


def check(request: Request, meters: Mapping[str, GridMeter], used: Mapping[Place, int]) -> Clearance:
    """What carrying the request costs, and what remains; raises UnableToCarry naming meter, slot and what is left."""
    seller, buyer = meters.get(request.seller_meter_id), meters.get(request.buyer_meter_id)
    if seller is None:
        raise UnableToCarry(
            refusals.ENTITY_NOT_FOUND,
            f"Meter '{request.seller_meter_id}' is not on this utility's grid; register it there first.",
        )
    for meter in (seller, buyer):
        rates = meter and (meter.wheeling_buyer_micro_per_kwh or meter.wheeling_seller_micro_per_kwh)
        if meter is not None and rates and meter.currency != request.currency:
            raise UnableToCarry(
                refusals.INVALID_REQUEST,
                f"The utility charges for meter '{meter.meter_id}' in {meter.currency}, not in {request.currency};"
                f" trade in {meter.currency}.",
            )
    remaining = [_remaining(seller, "EXPORT", request.energy_wh, used)]
    if buyer is not None:
        remaining.append(_remaining(buyer, "IMPORT", request.energy_wh, used))
    return Clearance(
        (buyer or seller).wheeling_buyer_micro_per_kwh,
        seller.wheeling_seller_micro_per_kwh,
        request.energy_wh.with_values(tuple(map(min, zip(*(series.values for series in remaining), strict=True)))),
        seller.sanctioned_load_w,
    )


def _remaining(meter: GridMeter, flow: str, energy_wh: Series, used: Mapping[Place, int]) -> Series:
    """What the meter may still trade in each slot, Wh; raises UnableToCarry when less than is asked for."""
    quarters(energy_wh)  # refuses slots that are not made of quarters
    pieces, limit_j, left = energy_wh.slot_s // QUARTER_S, meter.limit_j(flow), []
    for slot, wanted_wh in energy_wh.items():
        places = [(meter.meter_id, flow, slot.start.astimezone(UTC) + piece * QUARTER) for piece in range(pieces)]
        least_j = min(max(0, limit_j - used.get(place, 0)) for place in places)
        left_wh = least_j * pieces // J_PER_WH
        if wanted_wh > left_wh:
            most_wh = limit_j * pieces // J_PER_WH
            verb = "export" if flow == "EXPORT" else "import"
            raise UnableToCarry(
                refusals.QUANTITY_UNAVAILABLE,
                f"Meter '{meter.meter_id}' may {verb} {kwh_from_wh(most_wh)} kWh by trade in the slot from"
                f" {serving.instant(slot.start)}, of which {kwh_from_wh(left_wh)} kWh are left; order that or less.",
            )
        left.append(left_wh)
    return energy_wh.with_values(tuple(left))


def resize(trade: Trade, energy_wh: Series, *, now: datetime) -> Trade:
    """The trade over other energy in its own slots; raises UnableToCarry once it is cancelled, or for other slots."""
    if trade.state is not TradeState.ACTIVE:
        raise UnableToCarry(refusals.UPDATE_IMPOSSIBLE, f"Trade '{trade.order_id}' is {trade.state} and cannot change.")
    if not energy_wh.is_aligned(trade.request.energy_wh):
        own = trade.request.energy_wh
        raise UnableToCarry(
            refusals.UPDATE_INCONSISTENT,
            f"Trade '{trade.order_id}' has {len(own.values)} slots of {own.slot_s} s from {serving.instant(own.start)};"
            " send these.",
        )
    return replace(trade, request=replace(trade.request, energy_wh=energy_wh), updated_at=now)


def cancel(trade: Trade, *, now: datetime) -> Trade:
    """The trade, no longer carried; its limit is free again."""
    return replace(trade, state=TradeState.CANCELLED, updated_at=now)


def replace_allocation(trade: Trade, side: str, allocated_wh: Series, *, now: datetime) -> Trade:
    """The trade with the utility's own figure for a side (SELLER or BUYER); raises UnableToCarry for other slots."""
    own = trade.request.energy_wh
    if not allocated_wh.is_aligned(own) or min(allocated_wh.values) < 0:
        raise UnableToCarry(
            refusals.UPDATE_INCONSISTENT,
            f"The trade has {len(own.values)} slots of {own.slot_s} s from {serving.instant(own.start)}; send 0 Wh or"
            " more for each of them.",
        )
    if side == "SELLER":
        return replace(trade, seller_alloc_wh=allocated_wh, updated_at=now)
    return replace(trade, buyer_alloc_wh=allocated_wh, updated_at=now)
