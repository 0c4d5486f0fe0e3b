"""Values as the wire writes them: decimal strings, energy with its unit, money, prices, instants, durations, windows.

Everything becomes a whole number (Wh, thousandths of a minor unit, micro-units of the currency per kWh, seconds) or is
refused by name: nothing is rounded, nothing is guessed. A well-formed letter can still hold values nobody can trade on,
so every reader here states its bounds; the sentences are for the sender.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

#: Largest energy in one value: 1 TWh.
ENERGY_WH_MAX = 10**12

#: Largest amount of money in one value, in thousandths of a minor unit: ten thousand million of a currency with cents.
#: Far inside 64 bits, and inside what every JSON reader keeps exactly.
AMOUNT_MILLI_MAX = 10**15

#: Decimal places of an amount beyond those of its currency.
AMOUNT_PLACES = 3

#: Largest price: a million units of currency per kWh.
PRICE_MICRO_MAX = 10**12

#: Longest duration that means anything here: ten years.
DURATION_S_MAX = 10 * 366 * 86_400

#: Instants outside these years are mistakes.
YEAR_MIN, YEAR_MAX = 2000, 2100

#: The error code for a value that cannot be read (BECKN-005).
INVALID_REQUEST = "30000"

_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{1,18})?|\.[0-9]{1,18})", re.ASCII)
_DURATION = re.compile(
    r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?"
    r"(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:\.[0-9]{1,9})?S)?)?"
)
_DURATION_UNITS_S = (604_800, 86_400, 3600, 60, 1)

#: Power of ten that turns a value in this unit into Wh. Spelt out: "mWh" would be a thousandth, not a million.
_ENERGY_UNITS = {
    **dict.fromkeys(("kWh", "kwh", "KWH", "kWH", "KWh", "Kwh"), 3),
    **dict.fromkeys(("Wh", "wh", "WH"), 0),
    **dict.fromkeys(("MWh", "MWH"), 6),
}


class WireRefusal(Exception):
    """A message that cannot be acted on: the protocol's error code, where, and a sentence for the sender."""

    def __init__(self, code: str, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.path, self.sentence = code, path, sentence

    def error(self) -> dict[str, str]:
        """The `error` member of a callback that tells the sender."""
        error = {"code": self.code, "message": self.sentence}
        if self.path:
            error["paths"] = self.path
        return error


def refuse(path: str, sentence: str, *, code: str = INVALID_REQUEST) -> WireRefusal:
    """A WireRefusal whose sentence begins with the path, ready to raise."""
    return WireRefusal(code, path, f"{path} {sentence}")


# --- Numbers -------------------------------------------------------------------------------------------------------


def decimal_from_wire(text: Any, *, path: str) -> Decimal:
    """A decimal string of at most 18 digits on either side of the point; raises WireRefusal."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise refuse(path, 'must be a decimal number in a string, such as "12.5".')
    return Decimal(text)


def whole_from_wire(text: Any, *, places: int, largest: int, smallest: int, unit: str, path: str) -> int:
    """A decimal string times 10**places, which must be whole and within bounds; raises WireRefusal."""
    scaled = decimal_from_wire(text, path=path).scaleb(places)
    if scaled != scaled.to_integral_value():
        raise refuse(path, f"is {text}, which is not a whole number of {unit}; write fewer decimals.")
    if not smallest <= scaled <= largest:
        raise refuse(path, f"is {text}, which is outside {smallest} to {largest} {unit}.")
    return int(scaled)


def whole_to_wire(value: int, *, places: int, keep_zeros: bool = False) -> str:
    """`value` / 10**places as a decimal string, exactly; without needless zeros unless they are to be kept."""
    if not places:
        return str(value)
    whole, fraction = divmod(abs(value), 10**places)
    digits = f"{fraction:0{places}d}"
    if not keep_zeros:
        digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def energy_from_wire(measure: Any, *, path: str) -> int:
    """Wh of a measure in kWh, Wh or MWh; raises WireRefusal for another unit, a fraction of a Wh, less than none."""
    measure = measure if isinstance(measure, Mapping) else {}
    unit = measure.get("unit")
    places = _ENERGY_UNITS.get(unit) if isinstance(unit, str) else None
    if places is None:
        said = f'is "{unit}"' if unit else "is missing"
        raise refuse(f"{path}.unit", f"{said}; energy is understood in kWh, Wh or MWh.")
    return whole_from_wire(
        measure.get("value"), places=places, smallest=0, largest=ENERGY_WH_MAX, unit="Wh", path=f"{path}.value"
    )


def energy_to_wire(energy_wh: int) -> dict[str, Any]:
    """A measure in kWh: {"measure": {"value": "1.5", "unit": "kWh"}}."""
    return {"measure": {"value": whole_to_wire(energy_wh, places=3), "unit": "kWh"}}


def price_from_wire(text: Any, *, path: str) -> int:
    """Micro-units of the currency per kWh; raises WireRefusal for more than six decimals or a negative price."""
    return whole_from_wire(text, places=6, smallest=0, largest=PRICE_MICRO_MAX, unit="millionths", path=path)


def price_to_wire(price_micro: int) -> str:
    """A price per kWh as a decimal string: 210000 is "0.21"."""
    return whole_to_wire(price_micro, places=6)


def amount_from_wire(text: Any, *, exponent: int, path: str) -> int:
    """Thousandths of a minor unit of a currency with `exponent` decimals; raises WireRefusal for anything finer."""
    return whole_from_wire(
        text,
        places=exponent + AMOUNT_PLACES,
        smallest=-AMOUNT_MILLI_MAX,
        largest=AMOUNT_MILLI_MAX,
        unit="thousandths of a minor unit",
        path=path,
    )


def amount_to_wire(amount_milli: int, *, exponent: int) -> str:
    """An amount with all decimals of its currency, and up to three more that say something.

    30 cents are "0.30", 30.25 cents are "0.3025".
    """
    text = whole_to_wire(amount_milli, places=exponent + AMOUNT_PLACES, keep_zeros=True)
    idle = min(AMOUNT_PLACES, len(text) - len(text.rstrip("0")))
    return text[: len(text) - idle].rstrip(".")


def currency_from_wire(text: Any, *, path: str) -> str:
    """An ISO 4217 code; the "/kWh" some peers append to it is dropped. Raises WireRefusal."""
    code, _, per = text.partition("/") if isinstance(text, str) else ("", "", "")
    if len(code) != 3 or not (code.isascii() and code.isupper()) or per.lower() not in {"", "kwh"}:
        raise refuse(path, 'must be a currency code of three capital letters, such as "INR".')
    return code


# --- Time ----------------------------------------------------------------------------------------------------------


def instant_from_wire(text: Any, *, path: str) -> datetime:
    """An RFC 3339 instant in UTC; raises WireRefusal without a zone or outside the years 2000 to 2100."""
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise refuse(path, 'must be an RFC 3339 instant with a zone, such as "2026-01-15T10:00:00Z".')
    if not YEAR_MIN <= instant.year <= YEAR_MAX:
        raise refuse(path, f"lies outside the years {YEAR_MIN} to {YEAR_MAX}.")
    return instant.astimezone(UTC)


def instant_to_wire(instant: datetime) -> str:
    """RFC 3339 in UTC with Z; milliseconds only when there are any."""
    instant = instant.astimezone(UTC)
    precision = "milliseconds" if instant.microsecond >= 1000 else "seconds"
    return instant.isoformat(timespec=precision).replace("+00:00", "Z")


def parse_duration(text: str) -> int | None:
    """Whole seconds of an ISO 8601 duration of weeks, days, hours, minutes, seconds; None when it is not one.

    Years and months have no fixed length and are not understood.
    """
    match = _DURATION.fullmatch(text)
    if match is None or text[-1] in "PT":
        return None
    return sum(int(n) * unit for n, unit in zip(match.groups(), _DURATION_UNITS_S, strict=True) if n)


def duration_from_wire(text: Any, *, path: str) -> int:
    """Whole seconds of an ISO 8601 duration in weeks to seconds; raises WireRefusal (years, months have no length)."""
    seconds = parse_duration(text) if isinstance(text, str) else None
    if seconds is None:
        raise refuse(path, 'must be an ISO 8601 duration of weeks, days, hours, minutes or seconds, such as "PT15M".')
    if seconds > DURATION_S_MAX:
        raise refuse(path, f"is longer than {DURATION_S_MAX // 86_400} days.")
    return seconds


def duration_to_wire(seconds: int) -> str:
    """An ISO 8601 duration in the largest single unit up to hours that divides it: 900 is "PT15M"."""
    if seconds and seconds % 3600 == 0:
        return f"PT{seconds // 3600}H"
    if seconds and seconds % 60 == 0:
        return f"PT{seconds // 60}M"
    return f"PT{seconds}S"


def window_from_stops(stops: Any, *, path: str) -> tuple[datetime | None, datetime | None]:
    """The delivery window that a fulfillment's stops describe, as far as they do; raises WireRefusal.

    Two ways are in use: a `start` and an `end` stop with a timestamp each, or one stop with a time range.
    """
    start: datetime | None = None
    end: datetime | None = None
    for index, stop in enumerate(stops or ()):
        time = stop.get("time") or {}
        where = f"{path}[{index}].time"
        reach = time.get("range") or {}
        if "start" in reach:
            start = instant_from_wire(reach["start"], path=f"{where}.range.start")
        if "end" in reach:
            end = instant_from_wire(reach["end"], path=f"{where}.range.end")
        if "timestamp" in time:
            kind = str(stop.get("type", "")).lower()
            if kind == "start":
                start = instant_from_wire(time["timestamp"], path=f"{where}.timestamp")
            elif kind == "end":
                end = instant_from_wire(time["timestamp"], path=f"{where}.timestamp")
    if start is not None and end is not None and start >= end:
        raise refuse(path, "describe a window that ends before it starts.")
    return start, end


def window_to_stops(start: datetime, end: datetime) -> list[dict[str, Any]]:
    """A `start` and an `end` stop."""
    return [
        {"type": kind, "time": {"timestamp": instant_to_wire(instant)}}
        for kind, instant in (("start", start), ("end", end))
    ]


# --- Lists ---------------------------------------------------------------------------------------------------------


def only_one(entries: Iterable[Any] | None, *, path: str, what: str) -> dict[str, Any]:
    """The single entry of a list that must have exactly one; raises WireRefusal."""
    found = list(entries or ())
    if len(found) != 1:
        raise refuse(path, f"has {len(found)} entries; one {what} is traded at a time, so send exactly one.")
    entry: dict[str, Any] = found[0]
    return entry
