"""Money, energy and the series they form over delivery slots.

Energy is whole watt-hours, money is whole thousandths of a minor unit (1.25 cents are 1250: "milli"), a price is whole
micro-units of the currency per kilowatt-hour (0.21 USD/kWh is 210_000). Nothing here is a float, and money is rounded
in one place only, `milli_from_nano`: once per delivery slot, half away from zero. A bank moves whole minor units; an
amount becomes minor units (`minor_from_milli`) only where it leaves the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

#: Energy credits (major unit kWh) and carbon credits (major unit kgCO2e): ISO 4217 leaves codes that begin with X to
#: things that are no country's money, so that barter and carbon are accounts and amounts like any other.
ENERGY_CREDIT, CARBON_CREDIT = "XWH", "XCO"

#: Decimal places of the minor unit, by ISO 4217 code, for currencies that do not have two. The minor unit of an
#: energy credit is a watt-hour, of a carbon credit a gram.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"), 0),
    **dict.fromkeys(("PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND", ENERGY_CREDIT, CARBON_CREDIT), 3),
}

#: Decimal places that an amount has beyond those of its currency: it counts thousandths of a minor unit.
MILLI_PLACES = 3
MILLI_PER_MINOR = 1000


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
    """A whole number of thousandths of a minor unit of one currency; positive means "receives"."""

    amount_milli: int
    currency: str

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"cannot add {other.currency} to {self.currency}")
        return Money(self.amount_milli + other.amount_milli, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_milli, self.currency)

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
        # Series are made by the thousand, nearly all with this very zone: a comparison first, then the question.
        if self.start.tzinfo is not UTC and self.start.utcoffset() != timedelta(0):
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

    @property
    def span(self) -> Slot:
        """From the start of the first slot with a value to the end of the last; the whole series when all are 0."""
        used = [index for index, value in enumerate(self.values) if value] or [0, len(self.values) - 1]
        step = timedelta(seconds=self.slot_s)
        return Slot(self.start + used[0] * step, self.start + (used[-1] + 1) * step)

    def within(self, start: datetime | None, end: datetime | None) -> range:
        """The indices of the slots that lie wholly between two instants; None is no limit."""
        step, count = timedelta(seconds=self.slot_s), len(self.values)
        first = 0 if start is None else max(0, -((self.start - start) // step))
        after = count if end is None else min(count, (end - self.start) // step)
        return range(first, max(first, after))

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


def milli_from_nano(nano: int, currency: str) -> int:
    """Thousandths of a minor unit from billionths of a major one: where money is rounded, half away from zero.

    Wh x micro/kWh = 1e-3 kWh x 1e-6 per kWh = 1e-9 major units; a minor unit is 10**-exponent of a major one.
    """
    return divide_half_away(nano, 10 ** (9 - MILLI_PLACES - currency_exponent(currency)))


def nano_from_milli(amount_milli: int, currency: str) -> int:
    """Billionths of a major unit from thousandths of a minor one, exactly."""
    return amount_milli * int(10 ** (9 - MILLI_PLACES - currency_exponent(currency)))


def milli_from_minor(amount_minor: int) -> int:
    """What a bank moved, in the ledger's thousandths."""
    return amount_minor * MILLI_PER_MINOR


def minor_from_milli(amount_milli: int) -> int:
    """An amount in whole minor units, half away from zero: for an invoice's total and for a stranger's figure."""
    return divide_half_away(amount_milli, MILLI_PER_MINOR)


def payable_minor(amount_milli: int) -> int:
    """The whole minor units an account can pay out; what is left over stays on the account. 0 when it owes."""
    return max(0, amount_milli) // MILLI_PER_MINOR


def is_same_or_rounded(said_milli: int, ours_milli: int) -> bool:
    """True when another party's figure is ours, or ours in whole minor units (by a node that does not count finer)."""
    return said_milli in (ours_milli, milli_from_minor(minor_from_milli(ours_milli)))


def cost_milli(*, energy_wh: Series, price_micro_per_kwh: Series, currency: str) -> int:
    """Cost of a series of energy at a series of prices, in thousandths of a minor unit: slots rounded, then summed."""
    if not energy_wh.is_aligned(price_micro_per_kwh):
        raise ValueError("energy and price cover different slots")
    slots = zip(energy_wh.values, price_micro_per_kwh.values, strict=True)
    return sum(milli_from_nano(energy * price, currency) for energy, price in slots)


#: Decimal places of a kilowatt-hour said in Wh, and of a price said in micro-units.
_KWH_PLACES, _PRICE_PLACES = 3, 6
#: A decimal as people and peers write it: no exponent, no "NaN", no digits of other scripts.
_DECIMAL = re.compile(r"[+-]?(\d{1,12}(\.\d{0,18})?|\.\d{1,18})", re.ASCII)


class DecimalRefused(ValueError):
    """Text that is not a plain decimal, or one finer than whole units can say. Nothing is rounded in silence."""


def whole_units(text: str, *, places: int) -> int:
    """A plain decimal such as "2.50" as whole units of 10**-places; raises DecimalRefused."""
    if not _DECIMAL.fullmatch(text):
        raise DecimalRefused(f"{text[:40]!r} is not a plain decimal number of at most 12 digits before the point")
    integer, _, fraction = text.lstrip("+-").partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > places:
        raise DecimalRefused(f"{text[:40]!r} has more than {places} decimal places")
    units = int(integer + fraction.ljust(places, "0") or "0")
    return -units if text.startswith("-") else units


def decimal_text(units: int, *, places: int) -> str:
    """Whole units of 10**-places as a plain decimal, with exactly that many places."""
    digits = str(abs(units)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if units < 0 else text


def _without_idle_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def wh_from_kwh(text: str) -> int:
    """Wh from a decimal number of kWh ("1.25" is 1250); raises DecimalRefused."""
    return whole_units(text, places=_KWH_PLACES)


def kwh_from_wh(energy_wh: int) -> str:
    """kWh as the shortest plain decimal (1250 is "1.25")."""
    return _without_idle_zeros(decimal_text(energy_wh, places=_KWH_PLACES))


def micro_from_price(text: str) -> int:
    """Micro-units per kWh from a decimal price ("0.21" is 210_000); raises DecimalRefused."""
    return whole_units(text, places=_PRICE_PLACES)


def price_from_micro(price_micro_per_kwh: int) -> str:
    """A price per kWh as the shortest plain decimal (210_000 is "0.21")."""
    return _without_idle_zeros(decimal_text(price_micro_per_kwh, places=_PRICE_PLACES))


def amount_from_milli(amount_milli: int, currency: str) -> str:
    """An amount with the currency's own decimal places, and up to three more that say something.

    108432 of USD is "1.08432", 250000 is "2.50".
    """
    text = decimal_text(amount_milli, places=currency_exponent(currency) + MILLI_PLACES)
    idle = min(MILLI_PLACES, len(text) - len(text.rstrip("0")))
    return text[: len(text) - idle].rstrip(".") if idle else text
