"""The stretch of time a statement speaks of: a civil day or month in a zone, said "2017-05-03" or "2017-05"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_SHAPE = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?", re.ASCII)
#: The first and the last year a statement may be asked for.
YEAR_MIN, YEAR_MAX = 2000, 2200


class PeriodInvalid(ValueError):
    """Text that names no civil day or month, or no zone; the sentence says what to send."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Period:
    """Half open: `start` belongs to it, `end` does not."""

    name: str
    zone: str
    start: datetime
    end: datetime
    is_month: bool = False


def zone_name(text: str) -> str:
    """The text, when it is the IANA name of a zone; raises PeriodInvalid."""
    try:
        return ZoneInfo(text).key
    except (ValueError, OSError, KeyError):
        raise PeriodInvalid("zone", f"There is no time zone {text[:64]!r}; send an IANA name such as UTC.") from None


def period(name: str, zone: str) -> Period:
    """The civil day or month of that name in an IANA zone; raises PeriodInvalid.

    A day of daylight saving has 23 or 25 hours: it goes from local midnight to local midnight.
    """
    local = ZoneInfo(zone_name(zone))
    shape = _SHAPE.fullmatch(name)
    try:
        if shape is None or not YEAR_MIN <= int(shape[1]) <= YEAR_MAX:
            raise ValueError
        first = date(int(shape[1]), int(shape[2]), int(shape[3] or 1))
    except ValueError:
        raise PeriodInvalid(
            "period", f"{name[:20]!r} is no period; send a month such as 2017-05 or a day such as 2017-05-03."
        ) from None
    following = first + timedelta(days=1) if shape[3] else (first + timedelta(days=32)).replace(day=1)
    return Period(name, zone, _midnight(first, local), _midnight(following, local), is_month=not shape[3])


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
