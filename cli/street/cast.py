"""Who lives on the street: every home with its seller's node, meter, tariff and made-up position.

Energy is recorded (`energy_catalog.fontana`); everything here is made up from a seed and says so: positions, prices,
and which node speaks for which home. One node belongs to a single home, a prosumer's own; two belong to aggregators.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date
from typing import Any

from cli.plan import SELLERS
from energy_catalog import fontana
from energy_catalog.fontana import Home, Street

#: Every seller's node needs a home to speak for.
HOMES_MIN, HOMES_MAX = len(SELLERS), 17
#: What carrying a kWh across the street costs the buyer, micro-USD; a line of its own in every quote.
WHEELING_MICRO_PER_KWH = 20_000
#: Clock hours (street time) of the retail tariff's peak; time-of-use sellers have the same bands, cheaper.
PEAK_HOURS = (15, 20)


@dataclass(frozen=True, slots=True)
class Tariff:
    """A home's price: the same at all hours, or another one in the peak. Micro-USD per kWh, wheeling not included."""

    off_peak_micro: int
    peak_micro: int

    @property
    def is_flat(self) -> bool:
        """True when the price is the same at all hours."""
        return self.off_peak_micro == self.peak_micro

    def to_json(self) -> dict[str, Any]:
        """The price as the seller's JSON API takes it."""
        if self.is_flat:
            return {"flat_price_per_kwh": _decimal(self.off_peak_micro)}
        bands = [(0, PEAK_HOURS[0], self.off_peak_micro), (*PEAK_HOURS, self.peak_micro)]
        bands.append((PEAK_HOURS[1], 24, self.off_peak_micro))
        return {
            "time_of_use": {
                "zone": fontana.ZONE_NAME,
                "bands": [
                    {"from": f"{start:02d}:00", "to": f"{end:02d}:00", "price_per_kwh": _decimal(price)}
                    for start, end, price in bands
                ],
            }
        }


@dataclass(frozen=True, slots=True)
class Member:
    """A home with its place on the network."""

    home: Home
    seller: str
    gps: str
    tariff: Tariff

    @property
    def number(self) -> int:
        """The home's number in the recording."""
        return self.home.number

    @property
    def name(self) -> str:
        """What people call it."""
        return f"Home {self.number}"

    @property
    def provider_id(self) -> str:
        """Its id as a provider."""
        return f"home-{self.number:02d}"

    @property
    def meter_id(self) -> str:
        """The id of its own meter."""
        return f"meter-{self.number:02d}"

    def offer_id(self, day: date) -> str:
        """The id of its offer for a day: made before it is sent, so a repeated publication is the same offer."""
        return f"{self.provider_id}-{day.isoformat()}"


def _decimal(micro: int) -> str:
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def _tariff(number: int, seed: int) -> Tariff:
    """A seeded price below the retail tariff (at least 0.21 off peak, 0.40 in the peak) even with wheeling."""
    dice = random.Random(f"tariff-{seed}-{number}")  # noqa: S311 - repeatable on purpose, guards nothing
    off_peak = dice.randrange(100, 166) * 1000
    if number % 2:
        return Tariff(off_peak, off_peak)
    return Tariff(off_peak, dice.randrange(220, 341) * 1000)


def cast(street: Street, *, homes: int, seed: int) -> tuple[Member, ...]:
    """The first `homes` homes of the recording with their sellers, prices and positions.

    The first home keeps its own node; the aggregators share the others. Raises ValueError for too few or too many.
    """
    if not HOMES_MIN <= homes <= HOMES_MAX:
        raise ValueError(f"the street has {HOMES_MIN} to {HOMES_MAX} homes, not {homes}")
    place = fontana.positions(seed=seed)
    east = 1 + homes // 2
    members = []
    for index, home in enumerate(street.homes[:homes]):
        seller = SELLERS[0] if index == 0 else SELLERS[1] if index < east else SELLERS[2]
        members.append(Member(home, seller, place[home.number], _tariff(home.number, seed)))
    return tuple(members)
