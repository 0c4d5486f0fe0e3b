"""How a provider says its price: one price, or bands of the day. Both become a series over the offer's slots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trade.money import Series
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


Tariff = Flat | TimeOfUse
