"""How a provider says its price: each way becomes a series over the offer's slots by its rule in `trade`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trade import price_rules
from trade.money import Series
from trade.price_rules import Point, PriceInvalid, PriceKind, PriceModel, Tier
from trade.pricing import Band, TariffInvalid, tou_series

_CLOCK_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


def minute_of_day(clock_time: str) -> int:
    """Minutes since midnight of "HH:MM", 00:00 to 24:00; raises TariffInvalid."""
    found = _CLOCK_TIME.fullmatch(clock_time)
    minute = int(found[1]) * 60 + int(found[2]) if found else -1
    if not 0 <= minute <= 24 * 60:
        raise TariffInvalid(f"{clock_time[:20]!r} is not a time between 00:00 and 24:00")
    return minute


def zone_named(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as "Asia/Kolkata"; raises TariffInvalid."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise TariffInvalid(f"{name[:60]!r} is not a known time zone") from None


@dataclass(frozen=True, slots=True)
class Flat:
    """One price for every slot."""

    price_micro_per_kwh: int

    def series(self, like: Series) -> Series:
        """The price over the slots of `like`."""
        return Series.flat(like, self.price_micro_per_kwh)


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """Prices by the local time of day; see `pricing.tou_series` for the rule and its errors."""

    zone: ZoneInfo
    bands: tuple[Band, ...]

    def series(self, like: Series) -> Series:
        """The prices over the slots of `like`."""
        return tou_series(like, self.bands, self.zone)


@dataclass(frozen=True, slots=True)
class Block:
    """Tiers of energy of one order; see `price_rules.block_series`.

    The offer itself shows the first tier's price: which tiers an order reaches is known when it is quoted.
    """

    tiers: tuple[Tier, ...]

    def series(self, like: Series) -> Series:
        """The price of the first tier over the slots of `like`; raises PriceInvalid."""
        price_rules.check_tiers(self.tiers)
        return Series.flat(like, self.tiers[0].price_micro_per_kwh)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A published series plus a margin; see `price_rules.indexed_series`."""

    index: str
    points: tuple[Point, ...]
    margin_micro_per_kwh: int
    floor_micro_per_kwh: int = 0

    def series(self, like: Series) -> Series:
        """The prices over the slots of `like`; raises PriceInvalid where the index does not cover them."""
        try:
            over = price_rules.over_slots(self.points, like)
        except PriceInvalid as refusal:
            raise PriceInvalid(f"index '{self.index}' cannot price this: {refusal}") from refusal
        return price_rules.indexed_series(
            over, margin_micro_per_kwh=self.margin_micro_per_kwh, floor_micro_per_kwh=self.floor_micro_per_kwh
        )


@dataclass(frozen=True, slots=True)
class SupplyDemand:
    """A local price by how much is to be had and wanted; see `price_rules.supply_demand_price`."""

    supply_wh: Series
    demand_wh: Series
    export_micro_per_kwh: int
    import_micro_per_kwh: int

    def series(self, like: Series) -> Series:
        """The prices over the slots of `like`; raises PriceInvalid."""
        if not self.supply_wh.is_aligned(like):
            raise PriceInvalid("supply and demand cover the slots of the energy")
        return price_rules.supply_demand_series(
            self.supply_wh,
            self.demand_wh,
            export_micro=self.export_micro_per_kwh,
            import_micro=self.import_micro_per_kwh,
        )


Tariff = Flat | TimeOfUse | Block | Indexed | SupplyDemand


def model_of(tariff: Tariff | Series) -> PriceModel:
    """What an offer remembers of how its prices came about."""
    if isinstance(tariff, Block):
        return PriceModel(PriceKind.BLOCK, tiers=tariff.tiers)
    if isinstance(tariff, Indexed):
        return PriceModel(PriceKind.INDEXED, index=tariff.index, margin_micro_per_kwh=tariff.margin_micro_per_kwh)
    kinds = {Flat: PriceKind.FLAT, TimeOfUse: PriceKind.TIME_OF_USE, SupplyDemand: PriceKind.SUPPLY_DEMAND}
    return PriceModel(kinds.get(type(tariff), PriceKind.SERIES))
