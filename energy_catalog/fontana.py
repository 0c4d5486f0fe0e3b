"""The recorded street: one year of hourly load and solar power of seventeen real homes in Fontana, California.

The numbers stand in `data/fontana/street.csv.gz` (its README tells origin, columns, units and traps; the licence is
beside it); `python -m cli.street.rebuild` makes that file again from its source. Everything is a whole number:
energy in Wh per hour, prices in micro-USD per kWh, carbon intensity in mg CO2 per kWh.

The street's clock is fixed at UTC-8 all year. Its first recorded hour is 23:00 to 24:00 on 31 July 2016, so its
first whole day is 1 August 2016 and its last day, 31 July 2017, has 23 hours. The data has no coordinates:
`positions` are made up.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from importlib import resources

from trade.money import Series

#: The street's clock: no daylight saving in the data.
ZONE = timezone(timedelta(hours=-8), "UTC-8")
#: The same zone as the tz database writes it (its sign is the other way round).
ZONE_NAME = "Etc/GMT+8"
#: Start of the first recorded hour: 31 July 2016, 23:00 at UTC-8.
RECORDED_FROM = datetime(2016, 8, 1, 7, tzinfo=UTC)
HOURS = 8760
#: The first day that is recorded whole, and the last day (which lacks its last hour).
FIRST_DAY, LAST_DAY = date(2016, 8, 1), date(2017, 7, 31)
CURRENCY = "USD"

#: Middle of the city of Fontana, around which positions are made up.
_CENTRE = (34.0922, -117.4350)
#: Half the side of the square in which the made-up positions lie, in degrees (about 220 m).
_SPREAD_DEGREES = 0.002


class OutsideTheRecording(ValueError):
    """A day or an hour was asked for that the recording does not have."""


@dataclass(frozen=True, slots=True)
class Home:
    """One recorded home: its number in the source, the rated power of its panels, and its year by the hour."""

    number: int
    pv_rated_w: int
    load_wh: Sequence[int]
    pv_wh: Sequence[int]

    def surplus_wh(self, hour: int) -> int:
        """What the home exports in an hour without storage: solar power above its own load."""
        return max(self.pv_wh[hour] - self.load_wh[hour], 0)

    def deficit_wh(self, hour: int) -> int:
        """What the home imports in an hour: load above its own solar power."""
        return max(self.load_wh[hour] - self.pv_wh[hour], 0)


@dataclass(frozen=True, slots=True)
class Street:
    """The whole recording."""

    homes: tuple[Home, ...]
    price_micro_per_kwh: Sequence[int]
    carbon_mg_per_kwh: Sequence[int]

    def hours_of(self, day: date) -> range:
        """The recorded hours of a day on the street's clock; raises OutsideTheRecording."""
        midnight = datetime.combine(day, time(), ZONE)
        first = int((midnight - RECORDED_FROM).total_seconds()) // 3600
        if not FIRST_DAY <= day <= LAST_DAY:
            raise OutsideTheRecording(f"{day} is not recorded; choose {FIRST_DAY} to {LAST_DAY}")
        return range(first, min(first + 24, HOURS))

    def series(self, hours: range, values: Sequence[int]) -> Series:
        """Values that belong to adjoining recorded hours as a series over their slots."""
        return Series(starts_at(hours.start), 3600, tuple(values))


def starts_at(hour: int) -> datetime:
    """The UTC instant at which a recorded hour begins."""
    return RECORDED_FROM + timedelta(hours=hour)


@lru_cache(maxsize=1)
def load_street() -> Street:
    """Read the recording (about 0.2 s; read once per process)."""
    packed = resources.files("energy_catalog").joinpath("data/fontana/street.csv.gz").read_bytes()
    return street_from_csv(gzip.decompress(packed).decode("ascii"))


def street_from_csv(text: str) -> Street:
    """Take the committed file's text apart; raises ValueError when it is not one whole year."""
    lines = csv.reader(io.StringIO(text))
    header = next(lines)
    columns = [tuple(map(int, column)) for column in zip(*lines, strict=True)]
    if len(columns) != len(header) or any(len(column) != HOURS for column in columns):
        raise ValueError(f"the recording has {HOURS} hours in every column")
    by_name = dict(zip(header, columns, strict=True))
    if by_name["hour"] != tuple(range(HOURS)):
        raise ValueError("the recording's hours are numbered without a gap")
    homes = []
    for name in header:
        if name.startswith("load_"):
            _, number, rated_w = name.split("_")
            homes.append(Home(int(number), int(rated_w), by_name[name], by_name[f"pv_{number}_{rated_w}"]))
    return Street(tuple(homes), by_name["price_micro_per_kwh"], by_name["carbon_mg_per_kwh"])


def positions(*, seed: int) -> dict[int, str]:
    """MADE-UP positions ("lat, lon") for homes 1 to 17, the same for the same seed: the recording has none."""
    dice = random.Random(f"fontana-positions-{seed}")  # noqa: S311 - repeatable on purpose, guards nothing
    place = {}
    for number in range(1, 18):
        north, east = (dice.uniform(-_SPREAD_DEGREES, _SPREAD_DEGREES) for _ in range(2))
        place[number] = f"{_CENTRE[0] + north:.6f}, {_CENTRE[1] + east:.6f}"
    return place


def shareable_wh(homes: Sequence[Home], hours: range) -> int:
    """The most energy that the homes could share hour by hour: the lesser of all surplus and all deficit."""
    return sum(min(sum(h.surplus_wh(t) for h in homes), sum(h.deficit_wh(t) for h in homes)) for t in hours)
