"""Money, energy and the series they form over delivery slots.

Energy is whole watt-hours, money is whole minor units (cents, paise), a price is whole micro-units of the
currency per kilowatt-hour (0.21 USD/kWh is 210_000). Nothing here is a float and nothing rounds except
`cost_minor`, which rounds once, half away from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

#: Decimal places of the minor unit, by ISO 4217 code, for currencies that do not have two.
_EXPONENTS = {"JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3, "OMR": 3, "TND": 3}


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were combined."""


def currency_exponent(currency: str) -> int:
    """Number of decimal places of the currency's minor unit (ISO 4217)."""
    return _EXPONENTS.get(currency, 2)


def divide_half_away(numerator: int, denominator: int) -> int:
    """Integer division that rounds half away from zero (`denominator` > 0)."""
    quotient, remainder = divmod(abs(numerator), denominator)
    rounded = quotient + (2 * remainder >= denominator)
    return rounded if numerator >= 0 else -rounded


@dataclass(frozen=True, slots=True)
class Money:
    """A whole number of minor units of one currency; positive means "receives"."""

    amount_minor: int
    currency: str

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"cannot add {other.currency} to {self.currency}")
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return self + (-other)


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A half-open stretch of time [start, end), both UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """Whole numbers over equal, adjoining, half-open delivery slots.

    `values[i]` belongs to [start + i*slot_s, start + (i+1)*slot_s). What the numbers mean (Wh, micro-currency per
    kWh) is said by the name of the field that holds the series.
    """

    start: datetime
    slot_s: int
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.start.utcoffset() != timedelta(0):
            raise ValueError("a series starts at a UTC instant")
        if self.slot_s <= 0 or not self.values:
            raise ValueError("a series has at least one slot of positive length")

    @classmethod
    def flat(cls, like: Series, value: int) -> Series:
        """A series over the same slots as `like`, with one value everywhere."""
        return cls(like.start, like.slot_s, (value,) * len(like.values))

    @property
    def end(self) -> datetime:
        """The end of the last slot (exclusive)."""
        return self.start + timedelta(seconds=self.slot_s * len(self.values))

    @property
    def total(self) -> int:
        """Sum over all slots."""
        return sum(self.values)

    def slots(self) -> Iterator[Slot]:
        """The slots in order of time."""
        step = timedelta(seconds=self.slot_s)
        for index in range(len(self.values)):
            yield Slot(self.start + index * step, self.start + (index + 1) * step)

    def items(self) -> Iterator[tuple[Slot, int]]:
        """Pairs of slot and value in order of time."""
        return zip(self.slots(), self.values, strict=True)

    def is_aligned(self, other: Series) -> bool:
        """True when both series cover exactly the same slots."""
        return (self.start, self.slot_s, len(self.values)) == (other.start, other.slot_s, len(other.values))

    def with_values(self, values: tuple[int, ...]) -> Self:
        """The same slots with other values; the count must match."""
        if len(values) != len(self.values):
            raise ValueError("as many values as slots")
        return replace(self, values=values)


def utc(value: datetime) -> datetime:
    """The same instant in UTC; a naive value is a programmer's error and refused."""
    if value.tzinfo is None:
        raise ValueError("an instant needs a zone")
    return value.astimezone(UTC)


def cost_minor(*, energy_wh: Series, price_micro_per_kwh: Series, currency: str) -> int:
    """Cost of a series of energy at a series of prices in minor units, rounded once, half away from zero.

    Wh x micro/kWh = 1e-9 major units; a minor unit is 10**-exponent of a major one.
    """
    if not energy_wh.is_aligned(price_micro_per_kwh):
        raise ValueError("energy and price cover different slots")
    nano = sum(e * p for e, p in zip(energy_wh.values, price_micro_per_kwh.values, strict=True))
    return divide_half_away(nano, 10 ** (9 - currency_exponent(currency)))
