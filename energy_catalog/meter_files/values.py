"""Values as files write them: decimals with a unit, quality marks, instants with and without a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from energy_catalog.meter_files.entries import Unreadable
from trade.money import divide_half_away
from trade.reading import EDITED, ESTIMATED, MEASURED

#: Longest value that is read, characters: more digits than any meter has.
VALUE_CHARS_MAX = 40
#: Values are looked at to a billionth of their unit, which is finer than any meter.
_PLACES = 9
_SCALE = 10**_PLACES
_EXPONENT_MAX = 12

#: Unit -> (watts or watt-hours in one of it, whether it is mean power). Power times the slot is energy.
UNITS: dict[str, tuple[int, bool]] = {
    "Wh": (1, False),
    "kWh": (1000, False),
    "MWh": (1_000_000, False),
    "W": (1, True),
    "kW": (1000, True),
    "MW": (1_000_000, True),
}
#: How files write "nothing was measured".
EMPTY = frozenset({"", "null", "nan", "none", "na", "n/a", "-", "?"})

_QUALITIES = {
    **dict.fromkeys(("", "measured", "actual", "act", "a", "valid", "validated", "verified", "v", "good"), MEASURED),
    **dict.fromkeys(("estimated", "estimate", "est", "e", "substituted", "s", "predicted"), ESTIMATED),
    **dict.fromkeys(("edited", "manual", "corrected", "m", "c"), EDITED),
}


def unit_named(text: str) -> str:
    """The unit of that name in the writing of UNITS; raises Unreadable."""
    for unit in UNITS:
        if unit.lower() == text.strip().lower():
            return unit
    raise Unreadable(f"the unit {text[:20]!r} is not known; say one of {', '.join(UNITS)}")


def energy_wh(text: str, *, unit: str, slot_s: int) -> int:
    """A value of a slot as Wh, rounded once, half away from zero; raises ValueError with the reason."""
    nano = _billionths(text)
    each, is_power = UNITS[unit]
    if is_power:
        return divide_half_away(nano * each * slot_s, 3600 * _SCALE)
    return divide_half_away(nano * each, _SCALE)


def _billionths(text: str) -> int:
    if len(text) > VALUE_CHARS_MAX:
        raise ValueError(f"the value {text[:VALUE_CHARS_MAX]!r}... is longer than {VALUE_CHARS_MAX} characters")
    whole, _, fraction = text.partition(".")
    if text.isascii() and whole.isdigit() and len(whole) <= _EXPONENT_MAX and (fraction.isdigit() or not fraction):
        return int(whole + fraction[:_PLACES].ljust(_PLACES, "0"))
    if not text.isascii() or "_" in text:
        raise ValueError(f"the value {text!r} is no number; send digits with a decimal point")
    try:
        value = Decimal(text)
        if not value.is_finite() or value.adjusted() > _EXPONENT_MAX:
            raise ValueError
        return int(value.scaleb(_PLACES).to_integral_value()) if value.adjusted() > -_PLACES else 0
    except (InvalidOperation, ValueError):
        raise ValueError(f"the value {text!r} is no number that a meter can show; send digits") from None


def quality(text: str) -> str:
    """The quality a file's mark means; raises ValueError."""
    found = _QUALITIES.get(text.strip().lower())
    if found is None:
        raise ValueError(f"the quality {text[:20]!r} is not known; say MEASURED, ESTIMATED or EDITED")
    return found


def zone_named(name: str) -> ZoneInfo:
    """The IANA zone; raises Unreadable."""
    try:
        if re.fullmatch(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,2}", name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise Unreadable(f"the zone {name[:40]!r} is not known; send an IANA name such as Europe/Paris")


_NO_TIME, _MINUTE = timedelta(0), timedelta(minutes=1)
_BEYOND = "{!r} is no instant that can be reckoned with; correct the year"
_HOUR_24 = re.compile(r"[T ]24:00(:00)?$")
_DATED = re.compile(r"(\d{1,2})([./])(\d{1,2})[./](\d{4})(.*)")
_HOUR_ENDING = re.compile(r"(?:HE ?)?(\d{1,2})", re.IGNORECASE)


class Instants:
    """Reads the instants of one file, in its order: with an offset as they are, local ones in the file's zone.

    The hour that a clock shows twice in autumn is told apart by order: a label that does not follow the one before
    belongs to the second pass. An hour the clock skips in spring does not exist and is refused, but for the label at
    which the hour before it ends. `is_falling`: the newest comes first; `day_first` says how 03/04/2026 is meant.
    """

    def __init__(
        self, zone: ZoneInfo | None, *, is_end: bool = False, is_falling: bool = False, day_first: bool | None = None
    ) -> None:
        self._zone, self._is_end, self._is_falling, self._day_first = zone, is_end, is_falling, day_first
        self._last: dict[str, datetime] = {}

    def read(self, text: str, series: str) -> datetime:
        """The UTC instant; `series` names what the label must follow. Raises ValueError with the reason."""
        try:
            stated = datetime.fromisoformat(text)
        except ValueError:
            stated = self._stated(text)
        if stated.tzinfo is not None:
            return _in_utc(stated, text)
        if self._zone is None:
            raise ValueError(f"the instant {text[:40]!r} has no zone; name the file's zone in the mapping")
        instant = self._resolved(stated, text, self._last.get(series))
        self._last[series] = instant
        return instant

    def _stated(self, text: str) -> datetime:
        """What a text says that is not ISO 8601, naive or with its offset."""
        plain = text.strip()
        days = 0
        if _HOUR_24.search(plain):  # the end of the day, as hour-ending labels write it
            plain, days = _HOUR_24.sub(" 00:00", plain), 1
        if found := _DATED.fullmatch(plain):
            one, mark, other, year, rest = found.groups()
            if mark == "/" and self._day_first is None:
                raise ValueError(f"{text[:40]!r} can be two dates; say day_first true or false in the mapping")
            day, month = (one, other) if mark == "." or self._day_first else (other, one)
            plain = f"{year}-{month.zfill(2)}-{day.zfill(2)}{rest}"
        if plain.endswith(" UTC"):
            plain = f"{plain[:-4]}+00:00"
        try:
            return datetime.fromisoformat(plain) + timedelta(days=days)
        except (ValueError, OverflowError):
            raise ValueError(
                f"{text[:40]!r} is no instant; send RFC 3339 with a zone, such as 2026-01-15T10:00:00Z"
            ) from None

    def _resolved(self, stated: datetime, text: str, last: datetime | None) -> datetime:
        zone = self._zone
        assert zone is not None  # noqa: S101 - asked for by `read`
        try:
            offset, other = zone.utcoffset(stated), zone.utcoffset(stated.replace(fold=1))
            first = (stated - (offset or _NO_TIME)).replace(tzinfo=UTC)
            if offset == other:
                return first
            second = (stated - (other or _NO_TIME)).replace(tzinfo=UTC)
            before = stated - _MINUTE
            is_gap_start = zone.utcoffset(before) == zone.utcoffset(before.replace(fold=1))
        except OverflowError:
            raise ValueError(_BEYOND.format(text[:40])) from None
        if first > second:  # the clock skips this label
            if self._is_end and is_gap_start:
                return first
            raise ValueError(f"the clock of {zone} never shows {text[:40]!r}: that hour is skipped in spring")
        if self._is_falling:
            return first if last is not None and first < last <= second else second
        return second if last is not None and first <= last < second else first


def _in_utc(value: datetime, text: str) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(_BEYOND.format(text[:40])) from None


def with_time(day: str, time: str) -> str:
    """A date and a time of day in two columns as one text; `HE 24` and a bare hour are hour endings."""
    if found := _HOUR_ENDING.fullmatch(time.strip()):
        return f"{day.strip()} {int(found[1]):02d}:00"
    return f"{day.strip()} {time.strip()}"
